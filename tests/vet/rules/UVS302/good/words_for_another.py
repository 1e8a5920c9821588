"""Run a program and time it.

    uv run words_for_another.py ls -- --all
"""

import argparse
import subprocess
import time

parser = argparse.ArgumentParser()
parser.add_argument("program", nargs="+", help="what is run")
started = time.monotonic()
subprocess.run(parser.parse_args().program, check=True)
print(time.monotonic() - started)
