"""`stop`: one harmless line on stderr, and the exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from blocks.shared import BLOCKS, Stopped, block

stop = block("stop").stop


def test_one_line_and_the_code(stopped: Stopped) -> None:
    assert stopped(lambda: stop(4, "no rows", "name a file"), 4) == "error: no rows. Fix: name a file\n"


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines",
        "a\r\nb",
        "\x1b[2J\x1b[31mred",
        "\x1b]0;title\x07",
        "\x1b]8;;http://example.org\x1b\\link",
        "\x9b31m",
        "\u202etxt.exe",
        "\u2066\u2069",
        "a\u2028b\u2029c\x85d\x0be\x0cf",
        "\x00\x08\x7f",
        "\ud800",
    ],
)
def test_text_of_others_does_not_reach_the_terminal(text: str, stopped: Stopped) -> None:
    for said in (stopped(lambda: stop(5, text, "wait"), 5), stopped(lambda: stop(5, "x", f"{text} wait"), 5)):
        assert all(char.isprintable() for char in said[:-1])
        assert len(said.splitlines()) == 1


def test_other_languages_stay(stopped: Stopped) -> None:
    assert "grün 数据 données 🙂" in stopped(lambda: stop(1, "grün 数据 données 🙂", "x"), 1)


def test_long_text_is_cut_and_the_fix_is_not(stopped: Stopped) -> None:
    said = stopped(lambda: stop(4, "é" * 100_000, "f" * 700), 4)
    assert said == f"error: {'é' * 500}. Fix: {'f' * 700}\n"


def test_a_terminal_without_utf8() -> None:
    program = f"import runpy; runpy.run_path({str(BLOCKS / 'stop.py')!r})['stop'](6, 'é\\n数', 'go')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env={"PYTHONIOENCODING": "ascii"}, timeout=60
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (6, 1)
    assert done.stderr.startswith(b"error: ")
