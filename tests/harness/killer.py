"""Does some work on a folder again and again, each time killed just before another touch of that folder, and done again.

python killer.py WORK FOLDER     WORK is a function of `harness.persisting`; prints {"kills": ..., "wrong": [...]} as JSON

Everything is imported once; each attempt is a fork of its own, which SIGKILL ends for real.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOUCHES = frozenset({"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.chmod", "os.truncate"})
MOST = 500
Work = Callable[[Path], None]


def die_at(touch: int, folder: Path) -> list[str]:
    """Kill this process just before its `touch`-th system call on something in `folder` (0: never); return those so far."""
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHES and str(arguments[0]).startswith(str(folder)):
            seen.append(event)
            if len(seen) == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def attempt(work: Work, folder: Path, *, touch: int = 0) -> int:
    """Do the work in a process of its own, killed at `touch` (0: never); return its exit code, -9 when it was killed."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        die_at(touch, folder)
        work(folder)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sweep(prepare: Work, work: Work, root: Path) -> tuple[int, list[str]]:
    """Return at how many touches the work was killed, and what was wrong after it was done again."""
    prepare(root / "whole")
    if attempt(work, root / "whole"):
        return 0, ["it fails without being killed"]
    whole, wrong = tree(root / "whole"), []
    for touch in range(1, MOST):
        folder = root / f"killed-{touch:03}"
        prepare(folder)
        if attempt(work, folder, touch=touch) != -signal.SIGKILL:
            return touch - 1, wrong
        code, found = attempt(work, folder), tree(folder)
        differ = sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))
        if code or differ:
            wrong.append(f"killed at touch {touch}, then exit code {code}; differing: {differ}")
    return MOST, [*wrong, "it does not come to an end"]


if __name__ == "__main__":
    # the folder of this file is on the path already, as `python killer.py` puts it there
    sys.path.insert(0, str(Path(__file__).parents[1]))
    module = importlib.import_module("harness.persisting")
    name, given = sys.argv[1:]
    kills, wrong = sweep(module.PREPARE.get(name, lambda folder: None), getattr(module, name), Path(given))
    print(json.dumps({"kills": kills, "wrong": wrong}))
