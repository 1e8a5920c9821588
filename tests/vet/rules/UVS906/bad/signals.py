import argparse
import os
import signal

argparse.ArgumentParser().parse_args()
try:
    os.kill(1, signal.SIGHUP)
except OSError:
    print("nothing happened")
