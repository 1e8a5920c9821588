"""The blocks that persist, by eight at once on one folder, some of them killed: it ends as if they had come in a row."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blocks import racers


@pytest.mark.heavy
@pytest.mark.jobs
@pytest.mark.parametrize(
    "work", ["raced_dataset", "raced_dataset_over_another", "raced_derived", "raced_bucket", "raced_file"]
)
def test_eight_at_once_on_one_folder(
    work: str, tmp_path: Path, hub_environment: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    argv, tests = [sys.executable, "-m", racers.__name__, work, str(tmp_path), "8"], Path(racers.__file__).parents[1]
    done = subprocess.run(argv, cwd=tests, env=hub_environment, capture_output=True, text=True, timeout=200)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == [], done.stderr
    assert found["kills"] >= 2
    record_property("figure", f"{work.replace('_', ' ')}: 8 rounds of 8 at once, {found['kills']} killed, 0 wrong")
