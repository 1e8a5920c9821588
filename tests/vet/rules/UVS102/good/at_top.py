# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Count."""
print(1)
