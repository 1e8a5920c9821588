import argparse

parser = argparse.ArgumentParser()
commands = parser.add_subparsers()
count = commands.add_parser("count", help="count rows")
count.add_argument("--split")
parser.parse_args()
