# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Hold memory that belongs to no address space."""

import argparse
import socket

kept = []
while True:
    try:
        one, two = socket.socketpair()
        one.setblocking(False)
        kept.append((one, two))
        while True:
            one.send(b"x" * 100_000)
    except BlockingIOError:
        pass
    except OSError:
        pass

argparse.ArgumentParser().parse_args()
