#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Find files with the same content.

    uv run argparse_duplicates.py ~/Pictures --smallest 4096
"""

import argparse
import hashlib
import sys
from collections import defaultdict
from pathlib import Path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description="Find files with the same content.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--smallest", type=int, default=1, help="ignore smaller files (default: %(default)s)")
    args = parser.parse_args()
    if not args.folder.is_dir():
        print(f"{args.folder} is no folder", file=sys.stderr)
        return 2
    groups = defaultdict(list)
    for path in args.folder.rglob("*"):
        if path.is_file() and path.stat().st_size >= args.smallest:
            groups[digest(path)].append(path)
    for paths in groups.values():
        if len(paths) > 1:
            print(*paths, sep="\n", end="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
