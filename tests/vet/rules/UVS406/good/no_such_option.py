import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("output", help="dataset")
args = parser.parse_args()
HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
