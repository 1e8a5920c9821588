# /// script
# requires-python = ">=3.11"
# dependencies = ["huggingface-hub"]
# ///
"""Upload a folder of text files as a dataset, if there is a token."""

import argparse
import sys
from pathlib import Path

from huggingface_hub import HfApi, get_token


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what is uploaded")
    parser.add_argument("repo", help="owner/name")
    args = parser.parse_args()
    if get_token() is None:
        print("error: no Hub token. Run `hf auth login`, or add `--secrets HF_TOKEN`", file=sys.stderr)
        return 3
    api = HfApi()
    api.create_repo(args.repo, repo_type="dataset", exist_ok=True)
    api.upload_folder(repo_id=args.repo, repo_type="dataset", folder_path=args.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
