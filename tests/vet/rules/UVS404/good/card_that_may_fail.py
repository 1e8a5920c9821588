# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets>=5,<6", "huggingface-hub>=2.4,<3"]
# ///
"""Uploads rows with retries; the card, which can be written again at any time, once."""

import argparse
import sys
import time

from datasets import load_dataset
from huggingface_hub import DatasetCard


def push(rows, output: str) -> int:
    for attempt in range(5):
        try:
            rows.push_to_hub(output)
        except OSError as error:
            print(f"push failed: {error}", file=sys.stderr)
            time.sleep(2**attempt)
        else:
            DatasetCard("# Rows").push_to_hub(output)
            return 0
    rows.save_to_disk("./out")
    return 6


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    return push(load_dataset(args.input), args.output)


if __name__ == "__main__":
    raise SystemExit(main())
