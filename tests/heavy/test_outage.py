"""A Hub that answers nothing for ten minutes, from the middle of a training on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from huggingface_hub import HfApi

from heavy.test_trainers import trainer, user  # noqa: F401
from heavy.trainers import Trainer
from jobshelf.hub import Hub

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(3000)]

OUTPUT = "alice/away"
AWAY_S = 600.0
STEPS = ("--max-steps", "1000", "--batch-size", "2", "--gradient-accumulation-steps", "1")
SAVES = ("--save-steps", "20", "--commit-every", "0.5")


def test_ten_minutes_without_the_hub(
    trainer: Callable[..., Trainer],  # noqa: F811
    hub: Hub,
    client: HfApi,
) -> None:
    """The training goes on, and what could not be pushed is there once the Hub is."""
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
    ended = trainer("sft", *STEPS, *SAVES).run(OUTPUT)
    assert ended.code == 0, ended.said[-3000:]
    assert "training goes on, it will be tried again" in ended.said
    assert len(away) == 2
    assert away[1] < time.monotonic()
    held = client.list_repo_files(OUTPUT)
    assert "adapter_model.safetensors" in held
    assert not any(name.startswith("checkpoints/") for name in held)
