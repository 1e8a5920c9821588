# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Stop, and be waited for."""

import argparse
import os
import signal

os.kill(os.getpid(), signal.SIGSTOP)

argparse.ArgumentParser().parse_args()
