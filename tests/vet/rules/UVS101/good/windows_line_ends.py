# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# ///
import polars

print(polars.__version__)
