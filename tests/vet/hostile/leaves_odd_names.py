# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Leave names and modes that confuse a clean-up."""

import argparse
import os

os.mkdir("a\nb")
os.mkdir("closed", 0)
os.mkdir("-rf")
os.symlink("/", "root")
open("a\nb/\udcff\x01", "w").close()
handle = os.open(".", os.O_RDONLY)
os.mkdir("deep")
for depth in range(30):
    os.chdir("deep" if not depth else "d" * 200)
    os.mkdir("d" * 200)

argparse.ArgumentParser().parse_args()
