# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Write more than a gigabyte to the record."""

import argparse
import os

block = bytes(1 << 20)
for _ in range(1_200):
    for handle in range(3, 1100):
        try:
            os.write(handle, block)
        except OSError:
            pass

argparse.ArgumentParser().parse_args()
