# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-model"
# ///
from functools import partial

from huggingface_hub import HfApi


def main() -> int:
    upload = partial(HfApi().upload_large_folder, repo_id="user/model", repo_type="model")
    upload(folder_path="model")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
