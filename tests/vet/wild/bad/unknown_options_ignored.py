# /// script
# requires-python = ">=3.11"
# dependencies = ["pandas"]
# ///
import argparse

import pandas as pd

parser = argparse.ArgumentParser()
parser.add_argument("--file", default="a.csv")
args, rest = parser.parse_known_args()
print(pd.read_csv(args.file).describe())
# expect: UVS902 on line 1
