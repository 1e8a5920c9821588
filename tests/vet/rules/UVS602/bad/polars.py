# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# [tool.jobshelf]
# title = "Named"
# ///
import polars

print(polars.__version__)
