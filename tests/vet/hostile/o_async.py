# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Ask for signals about a pipe."""

import argparse
import fcntl
import os

try:
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETFL, 0o20000)
except Exception:
    pass

argparse.ArgumentParser().parse_args()
