# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-dataset"
# ///
import argparse
import sys


class Output:
    def __init__(self, target: str) -> None:
        import fsspec

        self.fs, self.root = fsspec.url_to_fs(target if "://" in target else f"hf://datasets/{target}")

    def write(self, name: str, content: bytes) -> None:
        again(self.fs.pipe_file, f"{self.root}/{name}", content)


def again(call, *args):
    return call(*args)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    args = parser.parse_args()
    output = Output(args.output)
    output.write("a.txt", b"a")
    return 0


if __name__ == "__main__":
    sys.exit(main())
