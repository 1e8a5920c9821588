"""Block `exits`: one line on stderr and the right code, in a process of its own where signals are involved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobshelf import blocks

exits = blocks.load("exits")


def test_stop_is_one_line_with_its_fix(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise exits.Stop(4, "two\nlines of \x1b[2J.", fix="hf upload a/b ./out .")

    assert exits.run_to_exit(work) == 4
    assert capsys.readouterr().err == "error: two lines of \\x1b[2J. Fix: hf upload a/b ./out .\n"


def test_signed_urls_lose_their_signature() -> None:
    assert exits.one_line("GET https://cdn/x?sig=secret failed") == "GET https://cdn/x failed"


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 5), (MemoryError(), 5)]
)
def test_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise error

    assert exits.run_to_exit(work) == code
    assert "Fix: " in capsys.readouterr().err


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        exits.run_to_exit(lambda: 1 // 0)


PROGRAM = """
import sys, time
from jobshelf import blocks
exits = blocks.load("exits")
def work():
    try:
        print("ready", flush=True)
        {body}
    finally:
        print("cleaned up", file=sys.stderr)
    return 0
raise SystemExit(exits.run_to_exit(work))
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_run_the_clean_up(sent: int, code: int) -> None:
    argv = [sys.executable, "-c", PROGRAM.format(body="time.sleep(60)")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, sent)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert "cleaned up" in stderr
    assert "Traceback" not in stderr


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    program = PROGRAM.format(body="[print('x' * 1000) for _ in range(10000)]")
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; {sys.executable} -c "$0" | head -1', program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(blocks.__file__).parents[1])},
    )
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
