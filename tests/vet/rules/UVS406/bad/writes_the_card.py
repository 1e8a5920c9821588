import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("output", help="dataset")
parser.add_argument("--dry-run", action="store_true", help="write nothing")
args = parser.parse_args()
from pathlib import Path

Path(args.output).mkdir(parents=True, exist_ok=True)
Path(args.output, "README.md").write_text("# Rows")
