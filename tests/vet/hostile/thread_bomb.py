# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Start threads with small stacks."""

import argparse
import threading

threading.stack_size(32_768)
while True:
    try:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    except RuntimeError:
        pass

argparse.ArgumentParser().parse_args()
