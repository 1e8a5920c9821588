# /// script
# requires-python = "<4"
# dependencies = []
# ///
print("hello")
