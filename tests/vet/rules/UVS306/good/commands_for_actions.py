# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Report what is wrong to GitHub Actions, which reads its commands from stdout."""

import sys

path = "script.py"
print("::error file=script.py,line=1::missing header")
print(f"::warning file={path}::no licence")
print("::error::" + path)
sys.exit(1)
