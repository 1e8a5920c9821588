# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.hf-jobs]
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# token = "write"
# ///
"""Count.

    uv run secret_in_the_header.py a.csv
    hf jobs uv run https://example.org/secret_in_the_header.py a.csv
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
