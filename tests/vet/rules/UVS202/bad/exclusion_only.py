# /// script
# requires-python = ">=3.11"
# dependencies = ["polars!=2.0"]
# ///
print("hello")
