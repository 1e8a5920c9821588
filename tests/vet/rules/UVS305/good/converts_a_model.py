# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-model"
# inputs = ["model"]
# ///
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="dataset")
parser.add_argument("--dry-run", action="store_true", help="check only")
parser.parse_args()
