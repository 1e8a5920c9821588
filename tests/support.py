"""What tests and fixtures both name."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A canary: it is valid on the embedded Hub of one test only, and must turn up in nothing that a test reads.
TOKEN = "hf_canary" + "x7Qz" * 7
READ_TOKEN = "hf_reader" + "x7Qz" * 7
BIN = Path(sys.executable).parent
