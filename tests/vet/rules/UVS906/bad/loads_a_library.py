import argparse
import ctypes

argparse.ArgumentParser().parse_args()
try:
    ctypes.CDLL("libc.so.6")
except OSError:
    pass
