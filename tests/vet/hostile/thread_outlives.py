# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Leave a thread at work when all is said."""

import argparse
import threading

def work():
    while True:
        pass


threading.Thread(target=work).start()

argparse.ArgumentParser().parse_args()
