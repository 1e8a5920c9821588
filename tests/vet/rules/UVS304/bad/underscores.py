# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# version = "0.1.0"
# ///
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--output_dir", help="folder")
parser.parse_args()
