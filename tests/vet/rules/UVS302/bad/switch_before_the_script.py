"""Count rows.

    uv run --no-project --with polars -q switch_before_the_script.py --limit 3
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
