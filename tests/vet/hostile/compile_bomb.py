# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Have the compiler fall over."""

import argparse

for text in ("(" * 90 + ")" * 90, "-" * 1_000_000 + "1", "x" + ".x" * 200_000, "1" + "+1" * 200_000):
    try:
        compile(text, "bomb", "exec")
    except (MemoryError, RecursionError, SyntaxError):
        pass
compile("".join(f"x{n} = ((({n},) * 200) * 200) * 20\n" for n in range(10_000)), "bomb", "exec")
raise SystemExit(1)

argparse.ArgumentParser().parse_args()
