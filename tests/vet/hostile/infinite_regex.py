# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Match a pattern that backtracks for ever."""

import argparse
import re

re.match("(a+)+$", "a" * 60 + "b")

argparse.ArgumentParser().parse_args()
