# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Say hello."""

print("hello")
