"""The blocks that persist, killed at every touch of their target: the next attempt leaves what an uninterrupted one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from blocks import killer

LEAST = {
    "file": 20,
    "file_over_another": 20,
    "dataset": 30,
    "dataset_in_shards": 40,
    "dataset_over_another": 40,
    "dataset_and_derived": 40,
    "derived_over_another": 40,
    "bucket": 12,
    "model_to_a_volume": 10,
    "model_from_the_hub": 3,
}
CHECKPOINT = {"optimizer.pt": b"o" * 100_000, "trainer_state.json": b"{}", "training_args.bin": b"b"}


@pytest.fixture
def checkpoint(client: HfApi) -> None:
    client.create_repo("alice/tiny")
    files = [CommitOperationAdd(f"last-checkpoint/{name}", data) for name, data in CHECKPOINT.items()]
    client.create_commit("alice/tiny", files, commit_message="a checkpoint")


def swept(work: str, folder: Path, environment: dict[str, str]) -> dict[str, object]:
    folder.mkdir()
    argv = [sys.executable, killer.__file__, work, str(folder)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.usefixtures("checkpoint")
@pytest.mark.parametrize("work", LEAST)
def test_killed_at_every_touch_of_the_folder_then_run_again(
    work: str, tmp_path: Path, hub_environment: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    found = swept(work, tmp_path / "swept", hub_environment)
    assert found["wrong"] == []
    assert found["kills"] >= LEAST[work]
    record_property("figure", f"{work.replace('_', ' ')}: killed at {found['kills']} touches, 0 lost, 0 left over")
