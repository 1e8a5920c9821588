# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# token = "none"
# ///
"""Count.

    uv run needless_secret.py a.csv
    hf jobs uv run --secrets HF_TOKEN https://example.org/needless_secret.py a.csv
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
