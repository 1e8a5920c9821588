"""finepdfs-stats.py in shards that share a slow folder, as a mounted bucket is: each ends well, whoever is last."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.conftest import CATALOG
from harness.killer import tree
from jobshelf.rehearse.fixtures import find_fixture
from support import ROOT

ROUNDS, SHARDS = 3, 5
# argv: the folder, the seed of the pauses, the script, its arguments
RUNNER = """
import os, random, runpy, sys
sys.path.insert(0, os.environ["TESTS"])
from pathlib import Path
from harness import racers
folder, seed, script, *words = sys.argv[1:]
racers.pause_at_touches(Path(folder), random.Random(seed), longest=0.1)
sys.argv = [script, *words]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.heavy
@pytest.mark.jobs
def test_shards_at_once_in_a_slow_folder(
    environment: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source = next(data for path, data in find_fixture("finepdfs").make().items() if path.endswith(".parquet"))
    for number in range(2 * SHARDS):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{number}.parquet").write_bytes(source)
    out, written = tmp_path / "out", []
    argv = [str(CATALOG / "finepdfs-stats.py"), str(tmp_path / "in"), str(out), "--part-files", "1", "--json"]
    whole = subprocess.run([sys.executable, *argv], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    expected = tree(out)
    for round_ in range(ROUNDS):
        out.rename(tmp_path / f"before-{round_}")
        running = [
            subprocess.Popen(
                [sys.executable, "-c", RUNNER, str(out), f"{round_} {shard}", *argv, "--shard", f"{shard}/{SHARDS}"],
                env=environment | {"TESTS": str(ROOT / "tests")},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for shard in range(1, SHARDS + 1)
        ]
        said = [process.communicate(timeout=120) for process in running]
        assert [process.returncode for process in running] == [0] * SHARDS, said
        written.append([json.loads(output)["status"] == "written" for output, _ in said].count(True))
        found = tree(out)
        assert found == expected
    assert all(written)
    record_property("figure", f"{ROUNDS} rounds of {SHARDS} shards in a slow folder: 0 wrong, written by {written}")
