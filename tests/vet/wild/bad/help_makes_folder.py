# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import argparse
from pathlib import Path

Path("results").mkdir(exist_ok=True)

parser = argparse.ArgumentParser()
parser.add_argument("name")
args = parser.parse_args()
Path("results", args.name).write_text("done")
# expect: UVS901 on line 1
