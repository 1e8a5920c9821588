import argparse
import sys

if len(sys.argv) == 1:
    print("usage: banner.py INPUT")
    sys.exit(0)
parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.parse_args()
