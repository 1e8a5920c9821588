# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Take all memory, and hold it."""

import argparse

kept = []
while True:
    try:
        kept.append(bytearray(b"x" * 10_000_000))
    except MemoryError:
        pass

argparse.ArgumentParser().parse_args()
