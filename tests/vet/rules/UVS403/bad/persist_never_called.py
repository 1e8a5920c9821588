# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-dataset"
# ///

import argparse


def persist(repo_id):
    from huggingface_hub import HfApi

    HfApi().upload_folder(folder_path='out', repo_id=repo_id)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    print(args.input)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
