import argparse

from datasets import load_dataset
from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("input", help="dataset")
parser.add_argument("output", help="dataset")
args = parser.parse_args()
rows = load_dataset(args.input, split="train")
HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
rows.push_to_hub(args.output)
