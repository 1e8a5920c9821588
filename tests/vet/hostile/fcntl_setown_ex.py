# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""The same with F_SETSIG and F_SETOWN_EX."""

import argparse
import fcntl
import os
import struct

try:
    read, write = os.pipe()
    fcntl.fcntl(read, 10, 9)
    fcntl.fcntl(read, 15, struct.pack("ii", 1, @PID@))
    fcntl.fcntl(read, fcntl.F_SETFL, 0o20000)
    os.write(write, b"x")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
