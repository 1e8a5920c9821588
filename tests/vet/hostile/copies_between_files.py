# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Write without write: sendfile, splice, copy_file_range."""

import argparse
import ctypes
import gc
import os
import types

for found in gc.get_objects():
    if isinstance(found, types.FunctionType) and found.__name__ == "hook" and "fence" in found.__code__.co_filename:
        for cell in found.__closure__:
            cell.cell_contents = {} if isinstance(cell.cell_contents, dict) else lambda *_: None

lib = ctypes.CDLL(None, use_errno=True)
target = lib.open(b"@OUTSIDE@", os.O_WRONLY)
own = os.open(argparse.__file__, os.O_RDONLY)
for copy in (lambda: os.sendfile(target, own, 0, 9), lambda: os.copy_file_range(own, target, 9), lambda: os.splice(own, target, 9)):
    try:
        copy()
    except OSError:
        pass

argparse.ArgumentParser().parse_args()
