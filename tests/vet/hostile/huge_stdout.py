# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Print until nobody listens."""

import argparse

while True:
    print("x" * 100_000)

argparse.ArgumentParser().parse_args()
