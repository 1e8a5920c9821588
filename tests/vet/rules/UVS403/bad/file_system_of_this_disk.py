# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-dataset"
# ///
import fsspec


def main() -> int:
    fs, root = fsspec.url_to_fs("./out")
    fs.pipe_file(f"{root}/a.txt", b"a")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
