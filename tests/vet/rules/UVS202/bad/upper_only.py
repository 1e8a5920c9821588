# /// script
# requires-python = ">=3.11"
# dependencies = ["polars<3"]
# ///
print("hello")
