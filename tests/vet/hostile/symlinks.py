# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Write, and have the server delete, through links."""

import argparse
import os

try:
    os.symlink(os.path.dirname("@OUTSIDE@"), "folder")
    open("folder/canary", "w").write("changed")
except Exception:
    pass
try:
    os.rename("@OUTSIDE@", "here")
except Exception:
    pass
try:
    os.link("@OUTSIDE@", "link")
except Exception:
    pass

argparse.ArgumentParser().parse_args()
