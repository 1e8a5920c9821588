# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Close everything, then do as one likes."""

import argparse
import os

os.closerange(3, 2_000)
print("usage: nothing")
os._exit(0)

argparse.ArgumentParser().parse_args()
