# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Put another pipe in the place of the record."""

import argparse
import os

other = os.pipe()[1]
for handle in range(64, 2_000):
    try:
        os.close(handle)
        os.dup2(other, handle)
    except OSError:
        pass

argparse.ArgumentParser().parse_args()
