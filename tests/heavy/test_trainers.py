"""The trainers with TRL itself: killed and resumed, in several processes, loaded back; on CPU builds, from their headers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from heavy.conftest import RunScript
from heavy.trainers import MODEL, Trainer, held, jsonl, log_of, pairs, push
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(1800)]

STEPS = ("--max-steps", "6", "--save-steps", "1", "--commit-every", "0", "--logging-steps", "1")
# Where the runs of one training are stopped, one after the other; each next one goes on from where the last one was.
STOPS = (
    (signal.SIGKILL, "step 1:", "settings"),
    (signal.SIGKILL, "checkpoint 2 is in", "settings"),
    (signal.SIGKILL, "step 4:", "going on after step 2"),
    (signal.SIGTERM, "step 4:", "going on after step 3"),
    (signal.SIGKILL, "step 6:", "going on after step"),
)
KINDS = {"sft": "AutoModelForCausalLM", "dpo": "AutoModelForCausalLM", "reward": "AutoModelForSequenceClassification"}
Rows = Callable[[str], list[dict[str, Any]]]
Figure = Callable[[str, object], None]


@pytest.fixture
def user(environment: dict[str, str], cpu_builds: Mapping[str, str], hub: Hub, client: HfApi) -> dict[str, str]:
    """The writer with CPU builds and the embedded Hub, which holds the tiny model."""
    push(client, MODEL, tiny_model(), "model")
    return {
        **environment,
        **cpu_builds,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": str(client.token),
        "OMP_NUM_THREADS": "2",
    }


@pytest.fixture
def trainer(user: dict[str, str], client: HfApi, real_rows: Rows) -> Callable[..., Trainer]:
    """`trainer("dpo", *words)`: on chats for sft, on right and wrong solutions of gsm8k for the others."""
    solved = pairs(real_rows("gsm8k_model_solutions"), 48)
    asked = [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["chosen"]}]}
        for row in solved
    ]
    push(client, "alice/solved", {"train.jsonl": jsonl(solved)}, "dataset")
    push(client, "alice/chats", {"train.jsonl": jsonl(asked)}, "dataset")

    def make(method: str, *words: str) -> Trainer:
        return Trainer(
            method=method, dataset=f"alice/{'chats' if method == 'sft' else 'solved'}", words=words, env=user
        )

    return make


@pytest.mark.parametrize("method", KINDS)
def test_stopped_at_five_points_it_makes_the_same_model(
    method: str, trainer: Callable[..., Trainer], client: HfApi, run_script: RunScript, tmp_path: Path
) -> None:
    """Loss curve, weights and tokenizer are those of the uninterrupted run, and the model works."""
    train = trainer(method, *STEPS)
    whole = train.run("alice/whole")
    assert whole.code == 0, whole.said[-3000:]
    for stop, at, said in STOPS:
        ended = train.run("alice/stopped", stop=stop, at=at)
        assert ended.code == (143 if stop == signal.SIGTERM else -9), ended.said[-3000:]
        assert said in ended.said
    last = train.run("alice/stopped")
    assert last.code == 0, last.said[-3000:]
    assert "going on after step" in last.said
    expected, found = held(client, "alice/whole", tmp_path), held(client, "alice/stopped", tmp_path)
    assert [entry["step"] for entry in log_of(expected)] == [1, 2, 3, 4, 5, 6]
    assert log_of(found) == log_of(expected)
    assert found == expected
    assert not any(name.startswith("checkpoints/") for name in found)
    again = train.run("alice/stopped")
    assert (again.code, again.facts["status"]) == (0, "already there")
    used = run_script("load_trained.py", KINDS[method], MODEL, "alice/stopped", env={"HF_HUB_OFFLINE": "0"})
    assert used["adapters"] == 1
    assert used["template"]
    assert used.get("tokens", 1) >= 1


def test_four_processes_give_the_loss_of_one(
    trainer: Callable[..., Trainer], client: HfApi, tmp_path: Path, record_property: Figure
) -> None:
    """Started by TRL's own option names, which name a folder and the Hub."""
    words = ("--max_steps", "3", "--save_steps", "1")
    alone = trainer("sft", *words).run(str(tmp_path / "one"))
    assert alone.code == 0, alone.said[-3000:]
    train = trainer("sft", "--dataset_name", "alice/chats", "--push_to_hub", "--hub_model_id", "alice/four", *words)
    four = train.run(str(tmp_path / "four"), "--num_processes", "4")
    assert four.code == 0, four.said[-3000:]
    one = [json.loads(line)["loss"] for line in (tmp_path / "one" / "training_log.jsonl").read_text().splitlines()]
    several = [entry["loss"] for entry in log_of(held(client, "alice/four", tmp_path))]
    assert several == pytest.approx(one, rel=1e-4)
    worst = max(abs(a - b) / b for a, b in zip(several, one, strict=True))
    record_property("figure", f"heavy: loss of four processes beside one: {worst:.1e} apart at most")


def test_all_weights_and_a_merged_adapter_load_without_the_base(
    trainer: Callable[..., Trainer], run_script: RunScript, client: HfApi
) -> None:
    for repo, word in (("alice/full", "--full"), ("alice/merged", "--merge")):
        ended = trainer("sft", "--max-steps", "2").run(repo, word)
        assert ended.code == 0, ended.said[-3000:]
        used = run_script("load_trained.py", "AutoModelForCausalLM", "", repo, env={"HF_HUB_OFFLINE": "0"})
        assert (used["adapters"], used["template"]) == (0, True)
    assert "adapter/adapter_model.safetensors" in client.list_repo_files("alice/merged")


def test_a_loss_that_is_no_number_stops_it_and_the_last_checkpoint_stays(
    trainer: Callable[..., Trainer], client: HfApi
) -> None:
    words = ("--full", "--learning-rate", "1e30", "--warmup-steps", "3", "--lr-scheduler-type", "constant_with_warmup")
    ended = trainer("sft", *STEPS, *words).run("alice/nan")
    assert ended.code == 4
    assert "--learning-rate" in ended.said
    kept = {name.split("/")[1] for name in client.list_repo_files("alice/nan") if name.startswith("checkpoints/")}
    assert "checkpoint-1" in kept


def test_a_hub_and_a_trackio_that_are_away_do_not_stop_it(
    trainer: Callable[..., Trainer], hub: Hub, client: HfApi
) -> None:
    hub.fail(path="/commit/", method="POST", kind="status", status=503, times=7)
    hub.fail(path="/spaces/", kind="status", status=503, times=1_000_000)
    words = ("--max-steps", "4", "--save-steps", "1", "--commit-every", "0.001", "--trackio-space", "alice/board")
    ended = trainer("sft", *words).run("alice/away")
    assert ended.code == 0, ended.said[-3000:]
    assert "training goes on" in ended.said
    assert "adapter_model.safetensors" in client.list_repo_files("alice/away")
