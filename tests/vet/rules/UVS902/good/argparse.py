import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="file")
parser.parse_args()
