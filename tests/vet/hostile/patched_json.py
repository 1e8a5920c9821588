# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Change what the recorder uses."""

import argparse
import json
import sys

json.dumps = lambda *_, **__: '["interface", [[[[]]]]]'
json.JSONEncoder = None
sys.modules["json"] = sys.modules["os"] = None

argparse.ArgumentParser().parse_args()
