# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=3,<2"]
# ///
print("hello")
