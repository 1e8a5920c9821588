"""A Hub that answers nothing for ten minutes, from the middle of a training on."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest
from huggingface_hub import HfApi

from catalog.conftest import CATALOG
from heavy.conftest import Installed
from heavy.pairs import ASKED
from heavy.trainers import MODEL, jsonl, push
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(3000)]

NAME = "train_dpo.py"
OUTPUT = "alice/away"
AWAY_S = 600.0
STEPS = ["--max_steps", "1000", "--per_device_train_batch_size", "2", "--save_steps", "20"]


def test_ten_minutes_without_the_hub(
    installed: Installed, hub_environment: dict[str, str], hub: Hub, client: HfApi
) -> None:
    """The training goes on, and what could not be sent is there once the Hub is."""
    push(client, MODEL, tiny_model(), "model")
    push(client, "alice/pairs", {"train.jsonl": jsonl(ASKED)}, "dataset")
    away: list[float] = []

    def leave_once_there_is_a_checkpoint() -> None:
        while not any(request.wrote and f"/{OUTPUT}/commit/" in request.path for request in hub.journal()):
            time.sleep(0.5)
        away.append(time.monotonic())
        hub.fail(path="/", kind="status", status=503, times=1_000_000)
        time.sleep(AWAY_S)
        hub.clear_faults()
        away.append(time.monotonic())

    threading.Thread(target=leave_once_there_is_a_checkpoint, daemon=True).start()
    argv = [installed(CATALOG / NAME), CATALOG / NAME, "alice/pairs", OUTPUT, "--model", MODEL, *STEPS]
    ended = subprocess.run(argv, env=hub_environment, capture_output=True, text=True, timeout=2500)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "the checkpoint was not sent, training goes on" in ended.stderr
    assert len(away) == 2
    assert away[1] < time.monotonic()
    held = client.list_repo_files(OUTPUT)
    assert "adapter_model.safetensors" in held
    assert not any(name.startswith("checkpoint-") for name in held)
