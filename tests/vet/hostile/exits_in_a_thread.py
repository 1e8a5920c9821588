# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""The same, in a thread."""

import argparse
import posix
import threading

print("usage: nothing", flush=True)
threading.Thread(target=posix._exit, args=(0,)).start()

argparse.ArgumentParser().parse_args()
