"""Block `progress`: a bar on a terminal, plain lines in a log, nothing on stdout."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobshelf import blocks

progress = blocks.load("progress")
WORK = f"""
import sys, time
sys.path.insert(0, {str(Path(blocks.__file__).parents[1])!r})
from jobshelf import blocks
progress = blocks.load("progress")
progress.PROGRESS_EVERY_S = 0.05
with progress.Progress(200, "rows", start=100) as bar:
    time.sleep(0.2)
    for _ in range(10):
        bar.add(10)
"""


def test_lines_in_a_log_even_while_a_step_takes_long() -> None:
    ended = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, timeout=30, check=True)
    lines = ended.stderr.splitlines()
    assert ended.stdout == ""
    assert len(lines) >= 4
    assert all(line.startswith("note: rows: ") and "\r" not in line for line in lines)
    assert lines[0] == "note: rows: 100 of 200 (50 %)"
    assert lines[-1].startswith("note: rows: 200 of 200 (100 %), ")


def test_a_bar_on_a_terminal() -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    with subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=slave) as process:
        out, _ = process.communicate(timeout=30)
    os.close(slave)
    shown = "".join(_said(master))
    os.close(master)
    assert out == b""
    assert "200/200" in shown
    assert "note:" not in shown


def _said(terminal: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # what a terminal says at its end
        while data := os.read(terminal, 65536):
            yield data.decode(errors="replace")


def test_speed_and_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.Progress(500, "rows", start=100) as bar:
        bar.add(20)
        now[0] = 110.0
        assert bar.line() == "rows: 120 of 500 (24 %), 2.0 a second, about 3 min 10 s left"
    with progress.Progress(None, "prompts") as bar:
        bar.add(1)
        now[0] += 3600
        assert bar.line() == "prompts: 1, 1.0 an hour"
    with progress.Progress(0, "rows") as bar:
        assert bar.line() == "rows: 0"


def test_the_last_line_comes_when_the_work_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="boom"), progress.Progress(3, "rows") as bar:
        bar.add(2)
        raise ValueError("boom")
    assert "rows: 2 of 3 (66 %)" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (7.4, "7 s"),
        (60, "1 min"),
        (190, "3 min 10 s"),
        (7500, "2 h 5 min"),
        (90061, "1 d 1 h"),
        (3601, "1 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert progress.progress_duration(seconds) == text


def test_counting_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress(None, "rows") as bar:
        for _ in range(100_000):
            bar.add()
    first, last = capsys.readouterr().err.splitlines()
    assert (first, last.split(",")[0]) == ("note: rows: 0", "note: rows: 100000")
