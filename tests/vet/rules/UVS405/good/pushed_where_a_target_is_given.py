# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets>=5,<6"]
# ///
"""Filters rows, and uploads them where it is told to."""

import argparse

from datasets import load_dataset

parser = argparse.ArgumentParser()
parser.add_argument("source", help="dataset")
parser.add_argument("--push-to", help="dataset on the Hub")
args = parser.parse_args()
rows = load_dataset(args.source, split="train").filter(lambda row: row["text"])
rows.to_parquet("rows.parquet")
if args.push_to:
    rows.push_to_hub(args.push_to)
