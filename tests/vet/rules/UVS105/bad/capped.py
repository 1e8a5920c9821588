# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = []
# ///
print("hello")
