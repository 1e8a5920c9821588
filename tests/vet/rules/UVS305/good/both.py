# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-dataset"
# inputs = ["dataset"]
# ///
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="dataset")
parser.add_argument("--limit", type=int, help="rows")
parser.add_argument("--dry-run", action="store_true", help="check only")
parser.parse_args()
