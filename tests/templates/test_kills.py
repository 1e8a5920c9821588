"""A script that writes to a folder is killed at ten moments and run again: the folder holds what an uninterrupted run leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import until
from templates.conftest import jsonl
from templates.written import PROCESS, replaced

pytestmark = [pytest.mark.heavy, pytest.mark.data, pytest.mark.timeout(400)]

ROWS = 40
# Killed when so many files are there: nothing yet, the claim, then nine of the ten parts one by one.
MOMENTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
# Each row takes some milliseconds, so that the test sees each part before the next one is there.
SLOW = PROCESS.replace("    return", "    __import__('time').sleep(0.02)\n    return")


def digest(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a result."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_and_its_second_attempt_leave_the_same_bytes(script, here, environment, tmp_path, moment):
    (tmp_path / "rows.jsonl").write_bytes(jsonl({"text": "a" * number} for number in range(ROWS)))
    text = replaced(script(kind="dataset"), SLOW)
    words = ["rows.jsonl", "./out", "--part-rows", "4"]
    here(text, *words)
    whole = digest((tmp_path / "out").rename(tmp_path / "whole"))
    assert len(whole) == 12

    def finished() -> int:
        return sum(1 for path in (tmp_path / "out").rglob("*") if path.suffix in {".json", ".parquet", ".md"})

    argv = [sys.executable, "count-things.py", *words]
    with subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=-3, stderr=-3) as process:
        until(lambda: finished() >= moment or process.poll() is not None)
        process.kill()
    held = finished()
    assert process.returncode == -9 and moment <= held < 12
    here(text, *words)
    assert digest(tmp_path / "out") == whole
