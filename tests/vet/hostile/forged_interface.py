# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Describe a command line of ten megabytes."""

import argparse
import os

def tell(data):
    for handle in range(3, 1100):
        try:
            os.write(handle, data)
        except OSError:
            pass


tell(b'["interface", {"library": "argparse", "prog": "' + b"x" * 10_000_000 + b'"}]\n')

argparse.ArgumentParser().parse_args()
