# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets", "huggingface-hub"]
# ///
import argparse

from datasets import load_dataset

parser = argparse.ArgumentParser()
parser.add_argument("source")
parser.add_argument("target")
args = parser.parse_args()
rows = load_dataset(args.source, split="train")  # expect: UVS401, UVS405
rows.filter(lambda row: row["text"]).push_to_hub(args.target)
