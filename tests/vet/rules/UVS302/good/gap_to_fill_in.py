"""Count.

    uv run gap_to_fill_in.py ... --max-samples $N
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
