import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("output", help="dataset")
parser.add_argument("--dry-run", action="store_true", help="write nothing")
args = parser.parse_args()
from datasets import load_dataset

load_dataset("user/rows", split="train").push_to_hub(args.output)
