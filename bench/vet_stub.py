"""Milliseconds of the stub tier, wall and processor, from one warmed process: every rule of it, with all its runs of a script.

The runs are help, an unknown option, nothing, no token, each example of the docstring, and those with a made-up token.

    uv run python bench/vet_stub.py [SCRIPT ...]

Three rows, one script after the other in one process: scripts of the usual size, each seen once; the given scripts (without
arguments: the catalogue) in turns, each time as if it were new; the same again and again, as an editor asks. The usual ones are
modules of this Python's standard library with a docstring of two examples in front and a command line behind: 460 lines in
the middle, where those of the catalogue, which carry their blocks with them, have 2,300 to 7,000. Beside them, what four runs
cost when a fresh interpreter is started for each, measured between the rows.

The processor time is that of this process, the warmed one and its children. Exits with 1 when its mean for the usual ones is above the limit.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path

from jobshelf import interface
from jobshelf.script import Script, parse_script, read_script
from jobshelf.vet import Config, vet_scripts
from jobshelf.vet.rule import Tier
from jobshelf.vet.rules import all_rules

LIMIT_MS = 80.0
ROUNDS = 5
AGAIN = 20
RUNS = 4
CATALOG = Path(__file__).parents[1] / "catalog"
CONFIG = Config(select=tuple(code for code, made in all_rules().items() if made.tier is Tier.STUB))
FRONT = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets>=5,<6", "huggingface-hub>=2,<3"]
# ///
"""Count the rows of a dataset by a column.

Reads INPUT, writes a table of counts to OUTPUT.

    uv run {name} user/input user/output --max-samples 100
    hf jobs uv run --secrets HF_TOKEN {name} user/input user/output --max-samples 100
"""
'''
BACK = """

def main() -> int:
    import argparse
    import sys

    parser = argparse.ArgumentParser(description="Count the rows of a dataset by a column.")
    parser.add_argument("input_dataset", help="where the rows are")
    parser.add_argument("output_dataset", help="where the counts go")
    parser.add_argument("--config", default="default", help="configuration of the input")
    parser.add_argument("--split", default="train", help="split of the input")
    parser.add_argument("--column", default="source", help="column to count by")
    parser.add_argument("--max-samples", type=int, help="count only the first rows")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffling")
    parser.add_argument("--private", action="store_true", help="make the output private")
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    arguments = parser.parse_args()

    from datasets import load_dataset
    from huggingface_hub import get_token

    if not get_token():
        print("error: HF_TOKEN is not set: add --secrets HF_TOKEN", file=sys.stderr)
        return 3
    rows = load_dataset(arguments.input_dataset, arguments.config, split=arguments.split)
    rows.to_pandas().groupby(arguments.column).count().push_to_hub(arguments.output_dataset)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
"""


def usual_scripts() -> list[Script]:
    """Return a script for each module of 5 to 40 kB of the standard library that can stand in the middle of another."""
    scripts = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        body = path.read_text("utf-8")
        if 5_000 < len(body) < 40_000 and "__main__" not in body and "from __future__" not in body:
            text = FRONT.format(name=path.name) + body + BACK
            scripts.append(parse_script(text.encode(), path.name))
    return scripts


def after_static_tier(script: Script) -> Script:
    """Return the script, its tree and what the static tier has found out about that known, as when the stub tier begins."""
    vet_scripts([script], Config(stub=False))
    return script


def milliseconds(script: Script) -> tuple[float, float]:
    """Return the wall time and the processor time of the stub tier, in ms."""
    start, used = time.perf_counter(), processor_seconds()
    vet_scripts([script], CONFIG)
    return 1000 * (time.perf_counter() - start), 1000 * (processor_seconds() - used)


def processor_seconds() -> float:
    """Return what this process, the warmed one and its children have used; the latter two counted in hundredths."""
    if interface._running is None:
        return time.process_time()
    fields = Path(f"/proc/{interface._running._process.pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def fresh_interpreters() -> float:
    """Return the ms of starting the interpreter with argparse and json as often as one script is run."""
    start = time.perf_counter()
    for _ in range(RUNS):
        subprocess.run([sys.executable, "-I", "-c", "import argparse, json, re, pathlib, dataclasses"], check=True)
    return 1000 * (time.perf_counter() - start)


def show(name: str, taken: Iterable[tuple[float, float]]) -> float:
    """Print a row and return the mean processor time."""
    both = list(taken)
    ordered, processor = sorted(wall for wall, _ in both), statistics.fmean(used for _, used in both)
    median, late = statistics.median(ordered), ordered[int(0.9 * len(ordered))]
    print(f"{name:<42}{processor:>9.1f}{statistics.fmean(ordered):>8.1f}{median:>9.1f}{late:>8.1f}")
    return processor


def main() -> int:
    """Print a line a row and a line a script, then the means against the limit."""
    given = [Path(name) for name in sys.argv[1:]] or sorted(CATALOG.glob("*.py"))
    usual = usual_scripts()
    milliseconds(read_script(given[0]))  # starts the process and warms it up
    bare = [fresh_interpreters()]
    print(f"{'ms, all runs of a script on one core':<42}{'processor':>9}{'mean':>8}{'median':>9}{'p90':>8}")
    once = show(
        f"{len(usual)} scripts of usual size, seen once", [milliseconds(after_static_tier(one)) for one in usual]
    )
    bare.append(fresh_interpreters())
    show(
        f"{len(given)} given scripts, each time as if new",
        [milliseconds(after_static_tier(read_script(path))) for _ in range(ROUNDS) for path in given],
    )
    bare.append(fresh_interpreters())
    again: list[tuple[float, float]] = []
    for path in given:
        script = read_script(path)
        milliseconds(script)
        taken = [milliseconds(script) for _ in range(AGAIN)]
        again += taken
        show(f"  {path.name} again", taken)
    show(f"{len(given)} given scripts, again", again)
    bare.append(fresh_interpreters())
    print(
        f"limit {LIMIT_MS:.0f} ms of processor time; {RUNS} fresh interpreters alone: {statistics.fmean(bare):.1f} ms"
    )
    return 0 if once <= LIMIT_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
