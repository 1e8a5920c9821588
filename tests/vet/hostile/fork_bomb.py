# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Fork for ever."""

import argparse
import os

while True:
    try:
        os.fork()
    except OSError:
        pass

argparse.ArgumentParser().parse_args()
