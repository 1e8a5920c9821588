# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import sys
from pathlib import Path

path = Path(sys.argv[1])
if not path.exists():
    print(f"Error: {path} does not exist")  # expect: UVS306
    sys.exit(1)
print(len(path.read_bytes()))
