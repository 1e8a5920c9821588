"""`publish_model` and `last_checkpoint`: a training that is interrupted goes on, and ends with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from blocks.places import Place
from blocks.shared import block
from blocks.writer import parse
from jobshelf.hub import Hub

Output, publish_model = block("output").Output, block("publish_model").publish_model
last_checkpoint = block("last_checkpoint").last_checkpoint
FAST = ["folder", "model"]
SLOW = [pytest.param(name, marks=[pytest.mark.heavy, pytest.mark.data]) for name in ("bucket", "s3", "gcs")]
everywhere = pytest.mark.parametrize("place", [*FAST, *SLOW], indirect=True)
MODEL = {"config.json": b"{}", "model.bin": b"m" * 1000}


def opened(place: Place) -> Any:
    return Output(parse([place.target]), {"script": "a"}, kind="model")


STATES = ("adapter.bin", "deep/optimizer.pt", "zzz.json", "trainer_state.json")


def checkpoint(step: int) -> dict[str, bytes]:
    """The files of a checkpoint in the order in which the Trainer writes them."""
    return {f"checkpoint-{step}/{name}": f"{name} of {step}".encode() for name in STATES}


def publish(output: Any, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = output.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    publish_model(output)


@everywhere
def test_a_training(place: Place, tmp_path: Path) -> None:
    output = opened(place)
    output.claim(private=False)
    assert last_checkpoint(output, tmp_path / "new") is None
    for step in (2, 10):
        publish(output, checkpoint(step))
        assert {name.partition("/")[0] for name in place.read()} == {"run.json", f"checkpoint-{step}"}
    again = opened(place)
    assert last_checkpoint(again, tmp_path / "new") == str(tmp_path / "new" / "checkpoint-10")
    fetched = {name: (tmp_path / "new" / name).read_bytes() for name in checkpoint(10)}
    assert fetched == checkpoint(10)
    again.claim(private=False)
    publish(again, {**MODEL, "README.md": b"card"})
    assert place.read() == {**MODEL, "README.md": b"card", "run.json": b'{"script": "a"}'}
    assert opened(place).finished == {*MODEL, "README.md", "run.json"}


@everywhere
def test_a_checkpoint_that_is_not_complete(place: Place, tmp_path: Path) -> None:
    """Killed on the way: the one before is used, and goes away with the next one."""
    output = opened(place)
    output.claim(private=False)
    publish(output, checkpoint(5))
    for name, content in list(checkpoint(6).items())[:-1]:
        place.put(name, content)
    again = opened(place)
    assert last_checkpoint(again, tmp_path / "new") == str(tmp_path / "new" / "checkpoint-5")
    again.claim(private=False)
    publish(again, checkpoint(7))
    assert {name.partition("/")[0] for name in place.read()} == {"run.json", "checkpoint-7"}


@pytest.mark.parametrize("place", ["model"], indirect=True)
def test_one_commit_each_on_the_hub(place: Place, here: Hub, tmp_path: Path, pauses: list[float]) -> None:
    output = opened(place)
    output.claim(private=False)
    before = len(HfApi().list_repo_commits("alice/out"))
    publish(output, checkpoint(5))
    here.fail(path="/commit/", method="POST", kind="lost")
    publish(output, MODEL)
    assert len(HfApi().list_repo_commits("alice/out")) == before + 2
    assert place.read().keys() == {*MODEL, "run.json"}
