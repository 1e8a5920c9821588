"""`jobshelf new` beside a bare `copier copy` of the same template, in pairs: `uv run python bench/scaffold.py`.

The template is a copy of the shelf: as an installed package holds it (a plain folder), and as a clone with a tag.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 15
LIMIT = 1.1
ANSWERS = {"name": "count-words", "kind": "dataset"}


def make_shelf(folder: Path) -> Path:
    """Return a copy of what an installed package carries."""
    for part in ("catalog", "templates"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("copier.yml", "pyproject.toml", "index.json"):
        shutil.copy(ROOT / file, folder)
    return folder


def make_clone(folder: Path) -> Path:
    """Return the same as a git repository with one tag."""
    make_shelf(folder)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "one"], ["tag", "v0.1.0"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return folder


def commands(shelf: Path) -> dict[str, list[str]]:
    """Return the two commands, each without the folder to write to."""
    data = [word for name, value in ANSWERS.items() for word in ("-d", f"{name}={value}")]
    flags = [word for name, value in ANSWERS.items() for word in (f"--{name}", value)]
    return {
        "copier copy": [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", *data, str(shelf)],
        "jobshelf new": [sys.executable, "-m", "jobshelf", "new", "--defaults", *flags],
    }


def seconds(argv: list[str], shelf: Path, home: Path) -> float:
    """Run the command in the shelf, writing to a fresh folder."""
    destination = tempfile.mkdtemp(dir=home)
    environment = os.environ | {"COPIER_CACHE_DIR": str(home / "cache"), "GIT_CONFIG_GLOBAL": os.devnull}
    began = time.perf_counter()
    subprocess.run([*argv, destination], cwd=shelf, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> int:
    """Print both medians and the median of the ratios of pairs, for both templates; 1 when a ratio is over the limit."""
    over = False
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, shelf in {"folder": make_shelf(home / "folder"), "clone": make_clone(home / "clone")}.items():
            taken: dict[str, list[float]] = {command: [] for command in commands(shelf)}
            for number in range(ROUNDS):
                # Whoever comes second finds a warmer machine.
                for command in sorted(taken, reverse=bool(number % 2)):
                    taken[command].append(seconds(commands(shelf)[command], shelf, home))
            ratio = statistics.median(
                ours / theirs for theirs, ours in zip(taken["copier copy"], taken["jobshelf new"], strict=True)
            )
            medians = ", ".join(
                f"{command} {statistics.median(times) * 1000:.0f} ms" for command, times in taken.items()
            )
            print(f"{name:<7} {medians}, ratio {ratio:.2f} (limit {LIMIT})")
            over = over or ratio > LIMIT
    return int(over)


if __name__ == "__main__":
    raise SystemExit(main())
