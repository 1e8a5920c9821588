# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# token = "write"
# ///
"""Count.

    uv run no_secret.py a.csv
    hf jobs uv run https://example.org/no_secret.py a.csv
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
