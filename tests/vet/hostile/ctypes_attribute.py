# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Load the C library."""

import argparse
import ctypes

try:
    ctypes.CDLL(None).kill(@PID@, 9)
except Exception:
    pass
try:
    ctypes.pythonapi.kill(@PID@, 9)
except Exception:
    pass

argparse.ArgumentParser().parse_args()
