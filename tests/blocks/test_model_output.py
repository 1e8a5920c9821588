"""`ModelOutput`: while a model is trained a place may be away; at the end there is time to reach it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from blocks.shared import Stopped, block
from blocks.writer import parse
from jobshelf.hub import Hub

ModelOutput, publish_model = block("model_output").ModelOutput, block("publish_model").publish_model


@pytest.fixture
def output(here: Hub) -> object:
    opened = ModelOutput(parse(["alice/out"]), {"script": "a"}, kind="model")
    opened.claim(private=False)
    return opened


def names() -> set[str]:
    return set(HfApi().list_repo_files("alice/out")) - {".gitattributes", "run.json"}


def wait_for(output: object, step: int) -> None:
    path = output.folder / f"checkpoint-{step}" / "trainer_state.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")


def test_what_is_refused_raises_and_the_next_takes_its_place(
    output: object, here: Hub, pauses: list[float], tmp_path: Path
) -> None:
    wait_for(output, 1)
    publish_model(output)
    here.fail(path="/commit/", method="POST", kind="status", status=503, times=1_000_000)
    wait_for(output, 2)
    with pytest.raises(ConnectionError):
        publish_model(output)
    here.clear_faults()
    wait_for(output, 3)
    (output.folder / "checkpoint-2" / "trainer_state.json").unlink()
    publish_model(output)
    assert names() == {"checkpoint-3/trainer_state.json"}
    assert not list(tmp_path.glob("unsaved-*"))


def test_at_the_end_there_are_thirty_minutes(output: object, here: Hub, pauses: list[float]) -> None:
    here.fail(path="/commit/", method="POST", kind="status", status=503, times=100)
    output.patience = 1800
    wait_for(output, 9)
    publish_model(output)
    assert names() == {"checkpoint-9/trainer_state.json"}
    assert 120 < sum(pauses) < 1800


def test_then_it_is_kept_here(
    output: object, here: Hub, pauses: list[float], stopped: Stopped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clock = SimpleNamespace(monotonic=lambda: sum(pauses))
    monkeypatch.setitem(ModelOutput.send.__globals__, "time", clock)
    here.fail(path="/commit/", method="POST", kind="status", status=503, times=1_000_000)
    output.patience = 1800
    wait_for(output, 9)
    assert "hf upload alice/out" in stopped(lambda: publish_model(output), 6)
    assert sum(pauses) > 1700
    (kept,) = tmp_path.glob("unsaved-*")
    assert (kept / "checkpoint-9" / "trainer_state.json").exists()
