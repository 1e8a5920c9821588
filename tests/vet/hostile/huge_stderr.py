# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Complain until nobody listens."""

import argparse
import sys

while True:
    sys.stderr.write("x" * 100_000)

argparse.ArgumentParser().parse_args()
