# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import sys

sys.path += ["lib"]
