"""Catalogue scripts that write to a folder, killed at touches of that folder: run again, the same files as uninterrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.conftest import CATALOG
from harness.killer import tree
from jobshelf.rehearse.fixtures import find_fixture
from jobshelf.rehearse.trouble import spread
from support import ROOT

KILLS = 10
# argv: the folder, the touch at which to die (0: never), the script, its arguments
RUNNER = """
import os, runpy, sys
sys.path.insert(0, os.environ["TESTS"])
from pathlib import Path
from harness import killer
folder, touch, script, *words = sys.argv[1:]
seen = killer.die_at(int(touch), Path(folder))
sys.argv = [script, *words]
try:
    runpy.run_path(script, run_name="__main__")
finally:
    print(f"touches: {len(seen)}", file=sys.stderr)
"""


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.parametrize(("name", "fixture"), [("finepdfs-stats.py", "finepdfs")])
def test_killed_while_it_writes_to_a_folder(
    name: str,
    fixture: str,
    environment: dict[str, str],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    for path, data in find_fixture(fixture).make().items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(data)
    source = sorted(path for path in (tmp_path / "in").rglob("*") if path.suffix in {".parquet", ".jsonl"})[0]

    def run(work: str, touch: int = 0) -> subprocess.CompletedProcess[str]:
        (tmp_path / work).mkdir(exist_ok=True)
        words = [str((tmp_path / work / "out").resolve()), str(touch), str(CATALOG / name), str(source), "./out"]
        argv = [sys.executable, "-c", RUNNER, *words]
        env = environment | {"TESTS": str(ROOT / "tests")}
        return subprocess.run(argv, env=env, cwd=tmp_path / work, capture_output=True, text=True, timeout=120)

    whole = run("whole")
    assert whole.returncode == 0, whole.stderr
    touches = int(whole.stderr.rpartition("touches: ")[2])
    wrong = []
    for touch in spread(range(1, touches + 1), KILLS):
        killed, again = run(f"at-{touch}", touch), run(f"at-{touch}")
        assert killed.returncode == -signal.SIGKILL
        if again.returncode != 0 or tree(tmp_path / f"at-{touch}" / "out") != tree(tmp_path / "whole" / "out"):
            wrong.append(f"killed at touch {touch} of {touches}: {again.returncode} {again.stderr}")
    assert not wrong, "\n".join(wrong)
    record_property("figure", f"{name} to a folder: killed at {KILLS} of {touches} touches, 0 files lost")
