r"""Count.

    uv run true_example.py a.csv --max-samples=3
    hf jobs uv run --flavor cpu-basic https://example.org/true_example.py \
        a.csv --max-samples 3
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
