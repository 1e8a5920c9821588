"""Persists two files to a folder with block `persist_file`, and dies at the K-th touch of that folder.

python folder_child.py FOLDER --die-at K     (0: never)
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from jobshelf.blocks import load

persist = load("persist_file")
FILES = {"data/a.txt": b"a" * 100_000, "data/b.txt": b"b"}
TOUCHES = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.chmod"})


def die_at(touch: int, folder: str) -> None:
    """Install a hook that kills this process just before its `touch`-th system call on something in `folder`."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in TOUCHES and str(arguments[0]).startswith(folder):
            seen += 1
            if seen == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--die-at", type=int, default=0)
    arguments = parser.parse_args()
    die_at(arguments.die_at, arguments.folder)
    target = persist.parse_target(arguments.folder)
    run = persist.Run(script="x.py", request={"n": 1}, source="c0ffee")
    held = persist.look_at(target, token=None, private=False, public=False)
    if persist.already_there(target, held, run, None):
        print("already there")
        return
    persist.refuse_foreign(target, held, run, overwrite=False)
    persist.persist_files(target, FILES, run=run, overwrite=False, make_card=lambda old: old or "card\n", token=None)
    print("written")


if __name__ == "__main__":
    main()
