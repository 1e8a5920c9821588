# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import shutil
import sys


def main() -> int:
    if shutil.disk_usage("/").free < 10**9:
        print("the disk is full", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()  # expect: UVS306
