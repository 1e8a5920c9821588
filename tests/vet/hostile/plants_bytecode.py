# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Replace the cached bytecode of a standard module."""

import argparse
import importlib.util
import os

try:
    cached = importlib.util.cache_from_source(argparse.__file__)
    open(cached, "r+b").write(b"x")
except Exception:
    pass
try:
    os.makedirs("@OUTSIDE@.d/__pycache__")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
