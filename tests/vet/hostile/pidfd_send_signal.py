# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Signal the victim through a handle."""

import argparse
import os
import signal

try:
    signal.pidfd_send_signal(os.pidfd_open(@PID@), 9)
except Exception:
    pass

argparse.ArgumentParser().parse_args()
