# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3", "requests>=2,<3"]
# ///
import polars
