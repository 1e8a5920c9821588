# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets"]
# ///
"""Count the words of a dataset on the Hub."""

import argparse

from datasets import load_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--column", default="text")
    args = parser.parse_args()
    rows = load_dataset(args.dataset, split="train")
    print(sum(len(text.split()) for text in rows[args.column]))


if __name__ == "__main__":
    main()
