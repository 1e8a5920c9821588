# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Nest lists until a reader falls over."""

import argparse
import os

def tell(data):
    for handle in range(3, 1100):
        try:
            os.write(handle, data)
        except OSError:
            pass


tell(b"[" * 100_000 + b"\n")

argparse.ArgumentParser().parse_args()
