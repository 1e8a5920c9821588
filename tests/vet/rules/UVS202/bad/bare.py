# /// script
# requires-python = ">=3.11"
# dependencies = ["polars"]
# ///
print("hello")
