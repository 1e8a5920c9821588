# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-dataset"
# ///

import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    from huggingface_hub import HfApi

    HfApi().upload_folder(folder_path="out", repo_id=args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
