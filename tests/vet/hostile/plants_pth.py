# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Leave a .pth file for the next interpreter."""

import argparse
import os
import sys

try:
    open(os.path.join(os.path.dirname(argparse.__file__), "site-packages", "zz.pth"), "w").write("import os")
except Exception:
    pass
try:
    for folder in sys.path:
        open(os.path.join(folder, "zz.pth"), "w").write("import os")
except Exception:
    pass
try:
    open(os.path.join(sys.prefix, "zz.pth"), "w")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
