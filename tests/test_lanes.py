"""Three lanes: what runs without being asked for, what is asked for by name, and that nothing falls between them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PARTS
from support import ROOT

TESTS = """\
import pytest

def test_fast(): pass
@pytest.mark.heavy
@pytest.mark.training
def test_heavy(): pass
@pytest.mark.sweep
def test_sweep(): pass
"""


def collect(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [
        "-c",
        ROOT / "pyproject.toml",
        "--collect-only",
        "-q",
        "-n",
        "0",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *argv, *words, path],
        env={"PYTHONPATH": str(ROOT / "tests"), "PATH": "/usr/bin:/bin"},
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "lane"),
    [((), "fast"), (("-m", "heavy"), "heavy"), (("-m", "sweep"), "sweep")],
    ids=str,
)
def test_each_test_is_in_one_lane(tmp_path: Path, words: tuple[str, ...], lane: str) -> None:
    path = tmp_path / "test_all.py"
    path.write_text(TESTS, encoding="utf-8")
    assert re.findall(r"::test_(\w+)", collect(path, *words).stdout) == [lane]


@pytest.mark.parametrize("words", [(), ("-m", "heavy")], ids=["fast", "heavy"])
def test_a_heavy_test_of_no_part_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "test_one.py"
    path.write_text("import pytest\n@pytest.mark.heavy\ndef test_heavy(): pass\n", encoding="utf-8")
    done = collect(path, *words)
    assert done.returncode == 4
    assert "test_one.py::test_heavy is heavy and of no part; mark it with one of data, inference" in done.stderr


def test_the_commit_check_runs_every_part() -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"^engines (\w+) \d+(?: worksteal)?$", run, re.MULTILINE) == list(PARTS)
