# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""The same by ioctl, on a pair of sockets."""

import argparse
import fcntl
import socket
import struct

try:
    one, two = socket.socketpair()
    fcntl.ioctl(one, 0x8901, struct.pack("i", @PID@))
    fcntl.ioctl(one, 0x5452, struct.pack("i", 1))
    two.send(b"x")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
