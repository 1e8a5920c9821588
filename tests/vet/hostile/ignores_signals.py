# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Ignore all that can be ignored."""

import argparse
import signal

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass

argparse.ArgumentParser().parse_args()
