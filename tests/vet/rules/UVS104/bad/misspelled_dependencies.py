# /// script
# requires-python = ">=3.11"
# dependancies = ["polars>=2.1,<3"]
# ///
print("hello")
