"""How fast `jobshelf vet` is: the static tier beside `ruff check --no-cache` on the same files, and its cost a script.

    uv run python bench/vet_speed.py [--scripts 1000] [--rounds 5]

Both run as processes, start included, in turns. The scripts are modules of this Python's standard library with a header
in front: real code of 5 to 40 kB. Prints the medians, their ratio (limit 8), and the cost a script from 10 to 5,000
(the cost of a run on one empty script subtracted). Exits 1 when the limit is broken.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from jobshelf.vet.ruff import ruff_binary

LIMIT = 8.0
SIZES = (10, 100, 1000, 5000)
HEADER = """\
# SPDX-License-Identifier: PSF-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""


def write_scripts(folder: Path, count: int) -> int:
    """Write `count` scripts and return how many lines they have together."""
    library = Path(sysconfig.get_path("stdlib"))
    bodies = [path.read_text("utf-8") for path in sorted(library.glob("*.py")) if 5_000 < path.stat().st_size < 40_000]
    folder.mkdir()
    lines = 0
    for number in range(count):
        text = HEADER + bodies[number % len(bodies)]
        (folder / f"script_{number:05}.py").write_text(text, "utf-8")
        lines += text.count("\n")
    return lines


def vet_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "jobshelf", "vet", "--no-stub", "--statistics", str(folder)]


def ruff_command(folder: Path) -> list[str]:
    # Isolated: with this repository's many rules ruff takes three times as long, which would flatter the ratio.
    return [ruff_binary(), "check", "--no-cache", "--isolated", "--quiet", str(folder)]


def seconds(command: list[str]) -> float:
    """Run the command and return its wall time; both tools exit 1 when they find something."""
    started = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    taken = time.perf_counter() - started
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} exited {done.returncode}: {done.stderr}")
    return taken


def side_by_side(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    pairs = [(seconds(ruff_command(folder)), seconds(vet_command(folder))) for _ in range(rounds)]
    return [ruff for ruff, _ in pairs], [vet for _, vet in pairs]


def cost_a_script(root: Path, rounds: int) -> list[tuple[int, float, float]]:
    """Return (scripts, seconds, milliseconds a script without the start) for each of SIZES."""
    single = root / "single"
    single.mkdir()
    (single / "script.py").write_text(HEADER, "utf-8")
    start = min(seconds(vet_command(single)) for _ in range(rounds))
    rows = []
    for size in SIZES:
        folder = root / f"size_{size}"
        write_scripts(folder, size)
        taken = min(seconds(vet_command(folder)) for _ in range(1 if size > 1000 else rounds))
        rows.append((size, taken, (taken - start) / size * 1000))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripts", type=int, default=1000, help="scripts of the comparison")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vet-speed-") as name:
        folder = Path(name, "scripts")
        lines = write_scripts(folder, options.scripts)
        ruff, vet = side_by_side(folder, options.rounds)
        ratio = statistics.median(vet) / statistics.median(ruff)
        print(f"{options.scripts} scripts, {lines / options.scripts:.0f} lines each, {options.rounds} rounds in turns")
        print(f"ruff check --no-cache   median {statistics.median(ruff):6.2f} s   best {min(ruff):6.2f} s")
        print(f"jobshelf vet (static)   median {statistics.median(vet):6.2f} s   best {min(vet):6.2f} s")
        print(f"ratio of the medians {ratio:.1f}, of the best {min(vet) / min(ruff):.1f}; limit {LIMIT:.0f}")
        print("scripts  seconds  ms a script (start subtracted)")
        for size, taken, each in cost_a_script(Path(name), min(options.rounds, 3)):
            print(f"{size:7d}  {taken:7.2f}  {each:7.2f}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    raise SystemExit(main())
