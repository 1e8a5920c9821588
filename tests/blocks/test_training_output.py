"""`TrainingOutput`: a training that is interrupted goes on, and ends with the model, wherever it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from blocks.places import Place
from blocks.shared import Stopped, block
from blocks.writer import parse
from jobshelf.hub import Hub

TrainingOutput = block("training_output").TrainingOutput
FAST = ["folder", "model"]
SLOW = [pytest.param(name, marks=[pytest.mark.heavy, pytest.mark.data]) for name in ("bucket", "s3", "gcs")]
everywhere = pytest.mark.parametrize("place", [*FAST, *SLOW], indirect=True)
on_the_hub = pytest.mark.parametrize("place", ["model"], indirect=True)
RUN = {"script": "a", "input": "b"}
MODEL = {"config.json": b"{}", "model.bin": b"m" * 1000, "README.md": b"card", "training_log.jsonl": b"{}\n"}
STATES = ("adapter.bin", "deep/optimizer.pt", "zzz.json", "trainer_state.json")


def opened(place: Place, *words: str, **changed: str) -> Any:
    return TrainingOutput(parse([place.target, *words]), place.target, {**RUN, **changed})


def checkpoint(step: int) -> dict[str, bytes]:
    """The files of a checkpoint in the order in which the Trainer writes them."""
    return {f"checkpoint-{step}/{name}": f"{name} of {step}".encode() for name in STATES}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def steps(place: Place) -> set[str]:
    return {name.partition("/")[0] for name in place.read() if name.startswith("checkpoint-")}


@everywhere
def test_a_training(place: Place, tmp_path: Path) -> None:
    output = opened(place)
    assert (output.checkpoint, output.is_finished) == (None, False)
    output.claim(private=False)
    for step in (2, 10):
        output.put(written(tmp_path / f"sent {step}", checkpoint(step)))
        assert steps(place) == {f"checkpoint-{step}"}
    again = opened(place)
    assert again.checkpoint == "checkpoint-10"
    again.fs.get(again.checkpoint, f"{tmp_path / 'new'}/", recursive=True)
    assert {name: (tmp_path / "new" / name).read_bytes() for name in checkpoint(10)} == checkpoint(10)
    again.claim(private=False)
    again.publish(written(tmp_path / "model", MODEL))
    assert place.read() == {**MODEL, "run.json": json.dumps(RUN).encode()}
    assert not (tmp_path / "model").exists()
    done = opened(place)
    assert (done.checkpoint, done.is_finished) == (None, True)


@everywhere
def test_a_checkpoint_that_is_not_complete(place: Place, tmp_path: Path) -> None:
    """Killed on the way: the one before is used, and both go away with the next one."""
    output = opened(place)
    output.claim(private=False)
    output.put(written(tmp_path / "first", checkpoint(5)))
    for name, content in list(checkpoint(6).items())[:-1]:
        place.put(name, content)
    again = opened(place)
    assert again.checkpoint == "checkpoint-5"
    again.put(written(tmp_path / "second", checkpoint(7)))
    assert steps(place) == {"checkpoint-7"}


@everywhere
def test_another_run_and_the_two_ways_on(place: Place, tmp_path: Path, stopped: Stopped) -> None:
    output = opened(place)
    output.claim(private=False)
    output.put(written(tmp_path / "sent", checkpoint(3)))
    said = stopped(lambda: opened(place, script="other"), 4)
    assert "holds another run (script differ)" in said
    assert "--keep" in said
    assert "--overwrite" in said

    kept = opened(place, "--keep", script="other")
    kept.claim(private=False)
    assert kept.checkpoint == "checkpoint-3"
    kept.put(written(tmp_path / "kept", checkpoint(4)))
    assert json.loads(place.read()["run.json"]) == {**RUN, "script": "other", "kept": RUN}
    assert opened(place, script="other").checkpoint == "checkpoint-4"

    anew = opened(place, "--overwrite")
    assert anew.checkpoint is None
    anew.claim(private=False)
    assert place.read() == {"run.json": json.dumps(RUN).encode()}


@everywhere
def test_files_of_another_origin(place: Place, tmp_path: Path, stopped: Stopped) -> None:
    """A checkpoint or a log among them is no reason to take the training for one that has begun or is finished."""
    output = opened(place)
    output.claim(private=False)
    for name in (*checkpoint(9), "training_log.jsonl"):
        place.put(name, b"of somebody")
    place.put("run.json", b"no json")
    assert "files of another origin" in stopped(lambda: opened(place), 4)
    anew = opened(place, "--overwrite")
    anew.claim(private=False)
    again = opened(place)
    assert (again.checkpoint, again.is_finished) == (None, False)


@everywhere
def test_another_run_takes_the_place(place: Place, tmp_path: Path, stopped: Stopped) -> None:
    output = opened(place)
    output.claim(private=False)
    opened(place, "--overwrite", script="other").claim(private=False)
    said = stopped(lambda: output.put(written(tmp_path / "sent", checkpoint(1))), 4)
    assert "another run has taken" in said
    assert steps(place) == set()


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_folder_keeps_what_is_not_of_the_training(place: Place, tmp_path: Path) -> None:
    place.put("notes.txt", b"mine")
    output = opened(place, "--overwrite")
    output.claim(private=False)
    written(output.folder, checkpoint(2))
    output.publish(written(output.folder / "model", MODEL))
    assert place.read() == {**MODEL, "notes.txt": b"mine", "run.json": json.dumps(RUN).encode()}
    assert {path.name for path in output.folder.iterdir()} == {*MODEL, "notes.txt", "run.json"}


@on_the_hub
def test_one_commit_each_on_the_hub(place: Place, here: Hub, tmp_path: Path, pauses: list[float]) -> None:
    output = opened(place, "--overwrite")
    output.claim(private=False)
    before = len(HfApi().list_repo_commits("alice/out"))
    output.put(written(tmp_path / "sent", checkpoint(5)))
    here.fail(path="/commit/", method="POST", kind="lost")
    output.publish(written(tmp_path / "model", MODEL))
    assert len(HfApi().list_repo_commits("alice/out")) == before + 2
    assert place.read().keys() == {*MODEL, "run.json"}


@on_the_hub
def test_nothing_stays_in_the_history_of_a_new_repository(place: Place, tmp_path: Path) -> None:
    output = opened(place)
    output.claim(private=True)
    output.put(written(tmp_path / "sent", checkpoint(5)))
    output.publish(written(tmp_path / "model", MODEL))
    assert len(HfApi().list_repo_commits("alice/out")) == 1
    assert HfApi().model_info("alice/out").private


@on_the_hub
def test_what_is_refused_raises_and_the_next_takes_its_place(
    place: Place, here: Hub, pauses: list[float], tmp_path: Path
) -> None:
    output = opened(place)
    output.claim(private=False)
    output.put(written(tmp_path / "1", checkpoint(1)))
    here.fail(path="/commit/", method="POST", kind="status", status=503, times=1_000_000)
    with pytest.raises(ConnectionError):
        output.send(written(tmp_path / "2", checkpoint(2)))
    here.clear_faults()
    assert opened(place).checkpoint == "checkpoint-1"
    output.put(written(tmp_path / "3", checkpoint(3)))
    assert steps(place) == {"checkpoint-3"}
    assert not list(tmp_path.glob("unsaved-*"))


@on_the_hub
def test_at_the_end_there_are_thirty_minutes(place: Place, here: Hub, pauses: list[float], tmp_path: Path) -> None:
    output = opened(place)
    output.claim(private=False)
    here.fail(path="/commit/", method="POST", kind="status", status=503, times=100)
    output.publish(written(tmp_path / "model", MODEL))
    assert place.read().keys() == {*MODEL, "run.json"}
    assert 120 < sum(pauses) < 1800


@on_the_hub
@pytest.mark.parametrize(("status", "least"), [(503, 1700), (403, 0)])
def test_then_it_is_kept_here(
    place: Place, here: Hub, pauses: list[float], stopped: Stopped, tmp_path: Path, status: int, least: int
) -> None:
    output = opened(place)
    output.claim(private=False)
    here.fail(path="/commit/", method="POST", kind="status", status=status, times=1_000_000)
    said = stopped(lambda: output.publish(written(tmp_path / "model", MODEL)), 6)
    assert "hf upload alice/out" in said
    assert least <= sum(pauses) < 2500
    (kept,) = tmp_path.glob("unsaved-*")
    assert {path.name for path in kept.iterdir()} == {*MODEL, "run.json"}
