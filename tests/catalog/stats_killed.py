"""Runs finepdfs-stats.py on INPUT again and again, each time killed just before another touch of FOLDER, and run again.

python stats_killed.py INPUT FOLDER STEP     kills at touch 1, 1 + STEP, ...; prints {"kills": ..., "wrong": [...]} as JSON
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import itertools
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import datasets
import huggingface_hub
import polars as pl

from harness.killer import attempt, tree

SCRIPT = Path(__file__).parents[2] / "catalog" / "finepdfs-stats.py"
# Forks inherit what is imported; none of it starts a thread before it is used.
IMPORTED = (datasets.load_dataset_builder, huggingface_hub.HfApi, huggingface_hub.errors, pl)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finepdfs_stats", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(given: str, folder: Path, step: int) -> None:
    module = script()

    def work(out: Path) -> None:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
            code = module.main([given, str(out), "--commit-every", "0", "--json"])
        if code:
            raise SystemExit(code)

    attempt(work, folder)
    whole, wrong, kills = tree(folder), [], 0
    for touch in itertools.count(1, step):
        shutil.rmtree(folder)
        if attempt(work, folder, touch=touch) == 0:
            break
        kills += 1
        if attempt(work, folder) != 0 or tree(folder) != whole:
            wrong.append(f"killed at touch {touch}: {sorted(tree(folder))}")
    print(json.dumps({"files": sorted(whole), "kills": kills, "wrong": wrong}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
