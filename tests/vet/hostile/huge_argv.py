# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Start a program with more arguments than fit."""

import argparse
import os

try:
    os.execv("/bin/true", ["x" * 100_000] * 1_000)
except Exception:
    pass

argparse.ArgumentParser().parse_args()
