# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Put a program where no path leads."""

import argparse
import os

try:
    handle = os.memfd_create("x")
    os.write(handle, b"\x7fELF")
    os.execve(handle, ["x"], {})
except Exception:
    pass

argparse.ArgumentParser().parse_args()
