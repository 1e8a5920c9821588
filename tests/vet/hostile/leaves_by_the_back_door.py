# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""End the process without the end of its record."""

import argparse
import posix

print("usage: nothing", flush=True)
posix._exit(0)

argparse.ArgumentParser().parse_args()
