import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input")
parser.parse_args()
