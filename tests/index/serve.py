"""Start the index by hand: `python tests/index/serve.py [-- COMMAND ...]`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
runpy.run_module("index", run_name="__main__", alter_sys=True)
