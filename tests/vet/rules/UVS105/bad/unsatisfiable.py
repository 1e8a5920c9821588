# /// script
# requires-python = ">=3.12,<3.11"
# dependencies = []
# ///
print("hello")
