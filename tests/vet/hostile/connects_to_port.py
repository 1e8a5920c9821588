# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Connect behind Python's back."""

import argparse
import ctypes
import gc
import types

for found in gc.get_objects():
    if isinstance(found, types.FunctionType) and found.__name__ == "hook" and "fence" in found.__code__.co_filename:
        for cell in found.__closure__:
            cell.cell_contents = {} if isinstance(cell.cell_contents, dict) else lambda *_: None

lib = ctypes.CDLL(None, use_errno=True)
address = bytes([2, 0]) + (@PORT@).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
lib.connect(lib.socket(2, 1, 0), address, 16)

argparse.ArgumentParser().parse_args()
