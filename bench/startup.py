"""How long the tool takes to say --help, beside an interpreter that does nothing: `uv run python bench/startup.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 31
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "jobshelf --help": [sys.executable, "-m", "jobshelf", "--help"],
    "jobshelf list": [sys.executable, "-m", "jobshelf", "list"],
}


def seconds(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the median of interleaved rounds, in milliseconds, and the ratio to the bare interpreter."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, argv in COMMANDS.items():
            times[name].append(seconds(argv))
    bare = statistics.median(times["python -c pass"])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:<18} {median * 1000:6.1f} ms  {median / bare:4.1f}x  (min {min(taken) * 1000:.1f})")


if __name__ == "__main__":
    main()
