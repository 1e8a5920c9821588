# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Speak to a service of the user by an abstract socket."""

import argparse
import socket

try:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", "@SOCKET@")
except Exception:
    pass
try:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", "@SOCKET@")
except Exception:
    pass
try:
    one.connect("@SOCKET@")
    one.send(b"x")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
