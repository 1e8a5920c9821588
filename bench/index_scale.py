"""What an index of many scripts costs: `uv run python bench/index_scale.py [SCRIPTS ...]` (default: 1000 10000).

Makes a shelf of so many generated scripts, each different in length, options, dependencies and tasks, and measures in processes of their
own: a build with an empty cache (processor ms an entry, of all processes), a build when nothing changed (wall seconds), the most
memory that its largest process held (kB an entry). Says on stderr what it does and how far it is. Exits with 1 above a limit. Quick:
`bench/index_scale.py 500`; 10,000 scripts take about ten minutes on two cores that do nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
SAY_SECONDS = 15
FILES_AN_ENTRY = 2  # in the cache
LIMIT_COLD_MS = 100.0
LIMIT_WARM_SECONDS = 5.0
TASKS = ("text-generation", "dataset-statistics", "data-validation", "fine-tuning", "embedding", "conversion")
PACKAGES = {
    "datasets": "datasets>=5.2,<6",
    "huggingface_hub": "huggingface-hub>=2.4,<3",
    "polars": "polars>=2.1,<3",
    "yaml": "pyyaml>=6,<7",
}
PYPROJECT = """\
[project]
name = "synthetic"
version = "1.0.0"
description = "A synthetic shelf"

[tool.jobshelf.shelf]
name = "synthetic"
github = "jobshelf/synthetic"
dataset = "jobshelf/synthetic"
space = "jobshelf/synthetic-page"
"""
SCRIPT = '''\
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = {dependencies}
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "{flavor}"
# timeout = "{minutes}m"
#
# [tool.jobshelf]
# version = "{version}"
# title = "Number {number}"
# task = "{task}"
# tags = ["synthetic", "{task}"]
# inputs = ["dataset"]
# outputs = ["text"]
# persists = "none"
# token = "none"
# shardable = false
# license = "Apache-2.0"
# aliases = []
# status = "stable"
# rehearse = ["{{input}}"]
# ///
"""Count what number {number} of the synthetic shelf counts.

{prose}

    uv run https://huggingface.co/datasets/jobshelf/synthetic/resolve/main/{file} user/data
    hf jobs uv run https://huggingface.co/datasets/jobshelf/synthetic/resolve/main/{file} user/data
"""

from __future__ import annotations

import argparse
import sys


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="{file}", description=str(__doc__).partition("\\n")[0])
    parser.add_argument("input", metavar="INPUT", help="Hub dataset or local file")
{options}    return parser


{functions}def main(argv: list[str] | None = None) -> int:
    """Run it; return the exit code."""
    arguments = build_parser().parse_args(argv)
{imports}    print([module.__name__ for module in ({names},)], file=sys.stderr)
    print(f"counting {{arguments.input}}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
'''


def script(number: int, file: str) -> str:
    """Return a script of 70 to 400 lines that follows the rules."""
    draw = random.Random(number)
    options = "".join(
        f'    parser.add_argument("--option-{name}", type={draw.choice(("int", "str", "float"))}, '
        f'metavar="X", help="the {name}th number of {number}")\n'
        for name in range(draw.randint(2, 20))
    )
    functions = "".join(
        f'def step_{name}(rows: list[int]) -> list[int]:\n    """Keep the rows above {draw.randint(0, 999)}."""\n'
        f"    kept = [row for row in rows if row > {draw.randint(0, 999)}]\n"
        f"    return sorted(kept, key=lambda row: row % {draw.randint(2, 99)})\n\n\n"
        for name in range(draw.randint(1, 50))
    )
    used = sorted(draw.sample(sorted(PACKAGES), draw.randint(0, len(PACKAGES))))
    return SCRIPT.format(
        number=number,
        file=file,
        version=f"1.{number % 7}.{number % 11}",
        task=draw.choice(TASKS),
        flavor=draw.choice(("cpu-basic", "cpu-upgrade", "t4-small", "a10g-large")),
        minutes=draw.randint(5, 120),
        dependencies=json.dumps([PACKAGES[name] for name in used]),
        imports="".join(f"    import {name}\n" for name in used),
        names=", ".join(["sys", *used]),
        prose="\n".join(f"Line {line} says {draw.getrandbits(64):x}." for line in range(draw.randint(1, 12))),
        options=options,
        functions=functions,
    )


def make_shelf(root: Path, count: int) -> None:
    """Write a shelf of `count` scripts."""
    (root / "catalog").mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    for number in range(count):
        file = f"count-{number:05d}.py"
        (root / "catalog" / file).write_text(script(number, file), encoding="utf-8")


def adopt_orphans() -> None:
    """Make this process the parent of those whose parent has ended, so that their processor time is counted too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def rebuild(root: Path, cache: Path) -> tuple[float, float, float]:
    """Run `jobshelf index` once; return its wall seconds, the processor seconds of all its processes and the peak MB of the largest."""
    watched = "import resource, sys; from jobshelf.cli import main; code = main(['index']); "
    watched += (
        "print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)),"
    )
    watched += " file=sys.stderr); raise SystemExit(code)"
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as said:
        building = subprocess.Popen(
            [sys.executable, "-c", watched],
            cwd=root,
            env=os.environ | {"XDG_CACHE_HOME": str(cache)},
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        while not ended(building):
            kept = sum(len(files) for _, _, files in os.walk(cache)) // FILES_AN_ENTRY
            say(f"  {kept} entries made, {time.perf_counter() - began:.0f} s")
        taken = time.perf_counter() - began
        said.seek(0)
        last_words = said.read().decode()
    if building.returncode:
        raise SystemExit(last_words)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return taken, processor, int(last_words.split()[-1]) / 1024


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait for the process for a while; return whether it has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SAY_SECONDS)
    return process.returncode is not None


def say(text: str) -> None:
    """Tell who waits what is being done."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Print a line a size; return 1 when a limit is exceeded."""
    counts = [int(word) for word in sys.argv[1:]] or [1_000, 10_000]
    adopt_orphans()
    print(
        f"{'scripts':>8}{'cold ms/entry/core':>20}{'cold wall s':>13}{'warm s':>9}{'of a core s':>12}{'peak MB':>9}"
        f"{'kB/entry':>10}{'index MB':>10}",
        flush=True,
    )
    failed = False
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="index-scale-") as folder:
            root, cache = Path(folder) / "shelf", Path(folder) / "cache"
            say(f"{count} scripts: writing them")
            make_shelf(root, count)
            say(f"{count} scripts: index with an empty cache")
            wall, processor, cold_memory = rebuild(root, cache)
            first = (root / "index.json").read_bytes()
            say(f"{count} scripts: index when nothing changed")
            warm, warm_processor, warm_memory = rebuild(root, cache)
            if (root / "index.json").read_bytes() != first:
                raise SystemExit("the second build wrote other bytes than the first")
            each, memory = 1000 * processor / count, max(cold_memory, warm_memory)
            failed |= each > LIMIT_COLD_MS or warm > LIMIT_WARM_SECONDS
            figures = f"{count:>8}{each:>20.1f}{wall:>13.1f}{warm:>9.2f}{warm_processor:>12.2f}{memory:>9.0f}"
            print(f"{figures}{1024 * memory / count:>10.1f}{len(first) / 1e6:>10.1f}", flush=True)
    print(f"limits: {LIMIT_COLD_MS:.0f} ms of a core an entry, {LIMIT_WARM_SECONDS:.0f} s when nothing changed")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
