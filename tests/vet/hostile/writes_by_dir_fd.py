# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Write next to the canary through a handle of its folder."""

import argparse
import os

try:
    folder = os.open(os.path.dirname("@OUTSIDE@"), os.O_RDONLY | os.O_PATH)
    os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
except Exception:
    pass
try:
    os.open("@OUTSIDE@", os.O_WRONLY | os.O_TRUNC)
except Exception:
    pass
try:
    os.unlink("@OUTSIDE@")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
