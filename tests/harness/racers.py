"""Lets several processes do their share of one work on one folder at the same time, again and again, out of step.

python -m harness.racers WORK FOLDER ROUNDS     WORK is a function of `harness.persisting`; prints {"kills": ..., "wrong": [...]}

Every process pauses for a random time before each system call on the folder, so that who writes, who reads and who clears
up meet between any two of their steps. In every other round some are killed on the way, and started again at once while
the others go on. Round and process seed all of it.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.killer import TOUCHES, die_at, tree

RACERS = 8
LONGEST_PAUSE_S = 0.008
LAST_TOUCH = 60
Work = Callable[[Path, int, int], None]


def pause_at_touches(folder: Path, chance: random.Random, longest: float = LONGEST_PAUSE_S) -> None:
    """From now on, pause this process for up to `longest` seconds before each system call on something in `folder`."""
    stat = os.stat

    def pause(path: object) -> None:
        if str(path).startswith(str(folder)) and chance.random() < 0.5:
            time.sleep(chance.random() * longest)

    def paused_stat(path: Any, **options: Any) -> os.stat_result:
        pause(path)
        return stat(path, **options)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {*TOUCHES, "os.scandir", "os.listdir"}:
            pause(arguments[0])

    os.stat = paused_stat  # no audit event tells of it
    sys.addaudithook(hook)


def start(work: Work, folder: Path, racer: int, chance: random.Random, *, touch: int = 0) -> int:
    """Begin the share of number `racer` in a process of its own, killed at `touch` (0: never); return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        pause_at_touches(folder, chance)
        die_at(touch, folder)
        work(folder, racer, RACERS)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def race(work: Work, folder: Path, seed: int) -> tuple[int, list[int]]:
    """Run all shares at once; return how many were killed and started again, and the exit codes of the others."""
    chances = [random.Random(f"{seed} {racer}") for racer in range(RACERS)]
    doomed = range(RACERS // 2) if seed % 2 else ()
    touches = [chances[racer].randint(1, LAST_TOUCH) if racer in doomed else 0 for racer in range(RACERS)]
    running = {start(work, folder, n, chances[n], touch=touches[n]): n for n in range(RACERS)}
    kills, codes = 0, []
    while running:
        pid, status = os.wait()
        racer, code = running.pop(pid), os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            kills += 1
            running[start(work, folder, racer, chances[racer])] = racer
        else:
            codes.append(code)
    return kills, codes


def races(prepare: Callable[[Path], None], work: Work, root: Path, rounds: int) -> tuple[int, list[str]]:
    """Return how many were killed, and what was wrong: one that failed, or another folder than those in a row leave."""
    prepare(root / "quiet")
    for racer in range(RACERS):
        work(root / "quiet", racer, RACERS)
    quiet, kills, wrong = tree(root / "quiet"), 0, []
    for seed in range(rounds):
        folder = root / f"round-{seed:03}"
        prepare(folder)
        killed, codes = race(work, folder, seed)
        kills += killed
        found = tree(folder)
        differ = sorted(name for name in quiet.keys() | found.keys() if quiet.get(name) != found.get(name))
        if any(codes) or differ:
            wrong.append(f"round {seed}: exit codes {codes}; differing: {differ}")
    return kills, wrong


if __name__ == "__main__":
    module = importlib.import_module("harness.persisting")
    name, given, rounds = sys.argv[1:]
    kills, wrong = races(module.PREPARE.get(name, lambda folder: None), getattr(module, name), Path(given), int(rounds))
    print(json.dumps({"kills": kills, "wrong": wrong}))
