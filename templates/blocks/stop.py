"""Ending a script: one line on stderr and an exit code."""

import sys
from typing import NoReturn


def stop(code: int, found: str, fix: str) -> NoReturn:
    """Print what was found and how to fix it on one line of stderr, and exit with `code`."""
    line = " ".join(f"error: {found[:500]}. Fix: {fix}".split())
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    raise SystemExit(code)
