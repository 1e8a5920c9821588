# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Make the canary unreadable, and old."""

import argparse
import os

try:
    os.chmod("@OUTSIDE@", 0)
except Exception:
    pass
try:
    os.utime("@OUTSIDE@", (0, 0))
except Exception:
    pass
try:
    os.truncate("@OUTSIDE@", 0)
except Exception:
    pass

argparse.ArgumentParser().parse_args()
