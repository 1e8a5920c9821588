# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""The same behind Python's back, by a pair of sockets."""

import argparse
import ctypes
import gc
import socket
import types

for found in gc.get_objects():
    if isinstance(found, types.FunctionType) and found.__name__ == "hook" and "fence" in found.__code__.co_filename:
        for cell in found.__closure__:
            cell.cell_contents = {} if isinstance(cell.cell_contents, dict) else lambda *_: None

lib = ctypes.CDLL(None, use_errno=True)
one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
address = b"\x01\x00" + "@SOCKET@".encode()
lib.sendto(one.fileno(), b"x", 1, 0, address, len(address))

argparse.ArgumentParser().parse_args()
