#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Refuse a commit that holds a conflict marker."""

import subprocess
import sys

names = subprocess.run(["git", "diff", "--cached", "--name-only"], capture_output=True, text=True, check=True).stdout
for name in names.splitlines():
    try:
        text = open(name, encoding="utf-8").read()
    except (OSError, UnicodeDecodeError):
        continue
    if "<" * 7 in text:
        print(f"{name}: conflict marker", file=sys.stderr)
        sys.exit(1)
sys.exit(0)
