# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""The same by the module beneath."""

import _ctypes
import argparse
import ctypes

try:
    handle = _ctypes.dlopen(None, 0)
    _ctypes.call_function(_ctypes.dlsym(handle, "kill"), (@PID@, 9))
except Exception:
    pass
try:
    _ctypes.dlsym(ctypes.pythonapi._handle, "fork")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
