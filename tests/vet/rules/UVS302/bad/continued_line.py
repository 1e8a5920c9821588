r"""Count.

    hf jobs uv run --secrets HF_TOKEN https://example.org/continued_line.py \
        a.csv --rows 3
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
