# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Have the kernel send SIGIO to the victim."""

import argparse
import fcntl
import os

try:
    read, write = os.pipe()
    fcntl.fcntl(read, 8, @PID@)
    fcntl.fcntl(read, fcntl.F_SETFL, fcntl.fcntl(read, fcntl.F_GETFL) | 0o20000)
    os.write(write, b"x")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
