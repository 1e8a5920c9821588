# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# version = "0.1.0"
# ///
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--seed", "--random-seed", type=int, help="seed")
parser.add_argument("--model-name", "--model_name", help="model")
parser.add_argument("--old", help=argparse.SUPPRESS)
parser.parse_args()
