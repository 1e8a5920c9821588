# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "polars>=2.1,<3",
#     "trackio>=0.9,<0.10",
#     "fastexcel>=0.16,<0.17",  # used by: polars.read_excel
# ]
# ///
import polars

REPORT_TO = "trackio"
