# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Wait for ever."""

import argparse
import threading

threading.Event().wait()

argparse.ArgumentParser().parse_args()
