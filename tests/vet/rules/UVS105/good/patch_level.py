# /// script
# requires-python = ">=3.11.4"
# dependencies = []
# ///
print("hello")
