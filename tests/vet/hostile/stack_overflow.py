# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Recurse below Python."""

import argparse
import sys

sys.setrecursionlimit(10**9)
deep = []
for _ in range(10**6):
    deep = [deep]
repr(deep)

argparse.ArgumentParser().parse_args()
