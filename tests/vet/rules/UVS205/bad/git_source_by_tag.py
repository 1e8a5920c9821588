# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# [tool.uv.sources]
# polars = { git = "https://github.com/pola-rs/polars", tag = "v2" }
# ///
print("hello")
