# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-dataset"
# ///
from huggingface_hub import HfApi


class Output:
    def write(self, path: str) -> None:
        HfApi().upload_file(path_or_fileobj=path, path_in_repo=path, repo_id="user/rows")


def describe(call) -> str:
    return call.__name__


def main() -> int:
    print(describe(HfApi().upload_file))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
