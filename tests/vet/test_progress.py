"""The progress of a long run: one line on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from jobshelf.vet import Config, Target, collect, vet_targets
from jobshelf.vet.progress import Progress

SCRIPT = "# /// script\n# dependencies = []\n# ///\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, seconds: float) -> str:
    """Return what is written when a script takes `seconds` and there are a thousand."""
    now = [0.0]
    progress = Progress(stream, lambda: now[0])
    for done in range(1, 1001):
        now[0] += seconds
        progress("scripts checked", done, 1000)
    progress.clear()
    return stream.getvalue()


def test_a_log_gets_a_line_every_five_seconds() -> None:
    lines = shown(io.StringIO(), 0.011).splitlines()
    assert lines == ["scripts checked: 455 of 1,000", "scripts checked: 910 of 1,000"]


def test_a_terminal_gets_one_line_that_goes_away() -> None:
    text = shown(Terminal(), 0.011)
    assert "\n" not in text
    assert text.count("scripts checked") == 1000 * 0.011 // 0.209
    assert text.endswith("of 1,000\r\x1b[K")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_a_short_run_shows_nothing(stream: io.StringIO) -> None:
    assert shown(stream, 0.0001) == ""


def test_a_run_tells_how_far_it_is(tmp_path: Path) -> None:
    for number in range(130):
        (tmp_path / f"s{number:03}.py").write_text(SCRIPT)
    told: list[tuple[str, int, int | None]] = []

    def tell(what: str, done: int, total: int | None) -> None:
        told.append((what, done, total))

    targets = collect([str(tmp_path)], tell=tell)
    assert told[-1] == ("scripts found", 130, None)
    told.clear()
    vet_targets(targets, Config(stub=False), tell=tell)
    assert len(told) > 1
    assert told[-1] == ("scripts checked", 130, 130)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_online_each_script_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    targets = []
    for number in range(3):
        path = tmp_path / f"s{number}.py"
        path.write_text(SCRIPT)
        targets.append(Target(path=str(path)))
    told: list[int] = []
    config = Config(stub=False, online=True, select=("UVS1",))
    vet_targets(targets, config, tell=lambda _what, done, _total: told.append(done))
    assert told == [1, 2, 3]
