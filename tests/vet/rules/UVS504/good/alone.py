# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import sys

print(sys.path, globals().get("__file__"))
