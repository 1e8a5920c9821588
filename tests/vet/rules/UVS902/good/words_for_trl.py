import argparse

parser = argparse.ArgumentParser()
parser.add_argument("input", help="dataset")
parser.add_argument("output", help="model")
parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
args, rest = parser.parse_known_args()

from trl import SFTConfig, TrlParser

(config,) = TrlParser((SFTConfig,)).parse_args_and_config(rest)
print(config)
