# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# token = "write"
# rehearse = ["{input}", "{output}"]
# ///

import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    import sys

    from huggingface_hub import get_token

    if get_token() is None:
        print("not logged in", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
