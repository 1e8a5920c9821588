# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Count.

    hf jobs uv run -- https://example.org/kept_from_hf.py a.csv --json
    hf jobs uv run https://example.org/kept_from_hf.py -- a.csv --json
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.add_argument("--json", action="store_true", help="for programs")
parser.parse_args()
