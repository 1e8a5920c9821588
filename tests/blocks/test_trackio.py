"""Block `trackio`: figures arrive, and neither a Trackio that fails nor one that does not answer holds anything up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobshelf import blocks

trackio = blocks.load("trackio")
# Trackio as a trainer sees it; the real one is what the heavy lane runs.
STAND_IN = """
import json, os, time
from pathlib import Path

def _note(name, /, *words, **more):
    with open(os.environ["STAND_IN"], "a") as stream:
        stream.write(json.dumps([name, *words, more]) + "\\n")
    if name in os.environ.get("STAND_IN_FAILS", ""):
        raise ConnectionError("the Space does not answer")
    time.sleep(float(os.environ.get("STAND_IN_SLEEPS", "0")))

init = lambda **more: _note("init", **more)
log = lambda figures, step: _note("log", figures, step)
finish = lambda: _note("finish")
"""

Said = Callable[[], list[list[object]]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Said]:
    (tmp_path / "trackio.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("STAND_IN", str(tmp_path / "calls"))
    sys.modules.pop("trackio", None)
    yield lambda: [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    sys.modules.pop("trackio", None)


def run(**options: object) -> object:
    return trackio.TrackioRun("train_sft", "tiny-1", **{"space": None, "private": False, "config": {"lr": 1}} | options)


def test_figures_arrive_in_order(said: Said) -> None:
    one = run(space="alice/trackio", private=True)
    for step in (1, 2):
        one.log({"train/loss": 1.0 / step}, step)
    one.finish()
    (init, first, second, finish) = said()
    assert init[1] | {"embed": None} == {
        "project": "train_sft",
        "name": "tiny-1",
        "space_id": "alice/trackio",
        "private": True,
        "resume": "allow",
        "config": {"lr": 1},
        "embed": None,
    }
    assert [first[:3], second[:3], finish[0]] == [
        ["log", {"train/loss": 1.0}, 1],
        ["log", {"train/loss": 0.5}, 2],
        "finish",
    ]


def test_a_failing_trackio_is_left_alone(
    said: Said, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STAND_IN_FAILS", "init log finish")
    one = run()
    for step in range(20):
        one.log({"train/loss": 1.0}, step)
    one.finish()
    assert len(said()) == trackio.TRACKIO_FAILURES
    assert "the Space does not answer; the training goes on" in capsys.readouterr().err


def test_a_trackio_that_does_not_answer_holds_nothing_up(
    said: Said, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STAND_IN_SLEEPS", "3600")
    monkeypatch.setattr(trackio, "TRACKIO_CLOSE_S", 0.1)
    one = run()
    one.log({"train/loss": 1.0}, 1)
    one.finish()
    assert "did not answer" in capsys.readouterr().err


def test_no_trackio_at_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    run().finish()
    assert "the training goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "user", "job", "space"),
    [
        (None, "alice", "job-1", "alice/trackio"),
        (None, "alice", "", None),
        (None, None, "job-1", None),
        ("acme/board", "alice", "", "acme/board"),
        ("none", "alice", "job-1", None),
    ],
)
def test_the_space(
    asked: str | None, user: str | None, job: str, space: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_ID", job)
    assert trackio.trackio_space(asked, user) == space


def test_no_two_trainings_have_one_name() -> None:
    names = {trackio.new_run_name("Qwen/Qwen2.5-0.5B-./a b.jsonl") for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("Qwen-Qwen2.5-0.5B-.-a-b.jsonl-") for name in names)
