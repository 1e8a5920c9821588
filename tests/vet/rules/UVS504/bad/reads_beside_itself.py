# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
from pathlib import Path

print((Path(__file__).parent / "x.txt").read_text())
