# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import argparse
import os

parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--key", default=os.environ.get("HF_TOKEN"), help="key of the Hub")
print(len(parser.parse_args().key or ""))
