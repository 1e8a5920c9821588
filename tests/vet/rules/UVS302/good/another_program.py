"""Count rows.

    uv run another_program.py --max-samples 3
    uv run --no-project pytest tests/test_count.py -k rows
    uv run --with pytest -m pytest test_count.py --strict
    uv run --with polars --python 3.12 another_program.py --max-samples 3
"""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--max-samples", type=int, help="rows")
parser.parse_args()
