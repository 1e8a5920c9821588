import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="dataset")
parser.add_argument("--split", default="train", help="split (default: %(default)s)")
parser.parse_args()
