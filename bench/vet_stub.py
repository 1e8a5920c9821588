"""Milliseconds of the stub tier, from one warmed process: every rule of it, with all its runs of a script (help, unknown option, nothing,
no token, each example of the docstring).

    uv run python bench/vet_stub.py [SCRIPT ...]

Without arguments: every catalogue script, each several times. Beside it, what four runs cost when a fresh interpreter is
started for each. Exits with 1 when the mean is above the limit.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from jobshelf.script import Script, read_script
from jobshelf.vet import Config, vet_scripts
from jobshelf.vet.rule import Tier
from jobshelf.vet.rules import all_rules

LIMIT_MS = 120.0
ROUNDS = 20
RUNS = 4
CATALOG = Path(__file__).parents[1] / "catalog"


def milliseconds(script: Script) -> list[float]:
    """Return the wall time of each of ROUNDS times of the stub tier, in ms; the first, which warms up, does not count."""
    config = Config(select=tuple(code for code, made in all_rules().items() if made.tier is Tier.STUB))
    vet_scripts([script], config)
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        vet_scripts([script], config)
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def fresh_interpreters() -> float:
    """Return the ms of starting the interpreter with argparse and json as often as one script is run."""
    start = time.perf_counter()
    for _ in range(RUNS):
        subprocess.run([sys.executable, "-I", "-c", "import argparse, json, re, pathlib, dataclasses"], check=True)
    return 1000 * (time.perf_counter() - start)


def main() -> int:
    """Print a line a script, then the mean against the limit."""
    paths = [Path(name) for name in sys.argv[1:]] or sorted(CATALOG.glob("*.py"))
    print(f"{'script':<28}{'median':>9}{'p90':>9}   ms, all runs on one core")
    everything: list[float] = []
    for path in paths:
        taken = sorted(milliseconds(read_script(path)))
        everything += taken
        print(f"{path.name:<28}{statistics.median(taken):>9.1f}{taken[int(0.9 * len(taken))]:>9.1f}")
    mean = statistics.fmean(everything)
    print(
        f"mean {mean:.1f} ms, limit {LIMIT_MS:.0f} ms; {RUNS} fresh interpreters alone: {fresh_interpreters():.1f} ms"
    )
    return 0 if mean <= LIMIT_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
