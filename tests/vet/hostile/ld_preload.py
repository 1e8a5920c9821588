# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Have a program load a library."""

import argparse
import os

try:
    open("lib.so", "wb").write(b"\x7fELF")
    os.environ["LD_PRELOAD"] = os.path.abspath("lib.so")
    os.execv("/bin/true", ["true"])
except Exception:
    pass
try:
    os.posix_spawn("/bin/true", ["true"], os.environ)
except Exception:
    pass

argparse.ArgumentParser().parse_args()
