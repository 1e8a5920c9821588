"""train_grpo.py with TRL itself: the tiny model learns what it is rewarded for, and a kill changes nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from heavy.conftest import RunScript
from heavy.trainers import MODEL, Trainer, held, jsonl, log_of, push
from jobshelf import sample_data
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(1800)]

STEPS = 16
# Eight of 512 tokens are sampled at random: about every second answer has an `a` in it, until that is learned.
TASK = (
    *("--map", "question=prompt", "--rewards", "regex", "maths=0.5", "--regex", "a"),
    *("--max-completion-length", "8", "--num-generations", "8", "--batch-size", "16", "--full"),
    *(
        "--learning-rate",
        "3e-3",
        "--lr-scheduler-type",
        "constant",
        "--warmup-steps",
        "0",
        "--max-steps",
        str(STEPS),
        "--logging-steps",
        "1",
    ),
    *("--save-steps", "4", "--commit-every", "0", "--log-completions"),
)


@pytest.fixture
def trainer(environment: dict[str, str], cpu_builds: Mapping[str, str], hub: Hub, client: HfApi) -> Trainer:
    """The script with that task, for the writer of the embedded Hub, on CPU builds."""
    push(client, MODEL, tiny_model(), "model")
    push(client, "alice/questions", {"train.jsonl": jsonl(list(sample_data.questions(40)))}, "dataset")
    signed_in = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": str(client.token), "OMP_NUM_THREADS": "2"}
    return Trainer(method="grpo", dataset="alice/questions", words=TASK, env={**environment, **cpu_builds, **signed_in})


def mean(rewards: Sequence[float]) -> float:
    return sum(rewards) / len(rewards)


def test_the_mean_reward_rises_killed_and_resumed_or_not(
    trainer: Trainer,
    client: HfApi,
    run_script: RunScript,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    whole = trainer.run("alice/whole")
    assert whole.code == 0, whole.said[-3000:]
    files = held(client, "alice/whole", tmp_path)
    rewards = [entry["reward"] for entry in log_of(files)]
    first, last = mean(rewards[:4]), mean(rewards[-4:])
    record_property("figure", f"heavy: mean reward of GRPO: {first:.2f} in the first 4 steps, {last:.2f} in the last 4")
    assert last > first + 0.3

    killed = trainer.run("alice/killed", stop=signal.SIGKILL, at="step 6:")
    assert killed.code == -9, killed.said[-3000:]
    resumed = trainer.run("alice/killed")
    assert resumed.code == 0, resumed.said[-3000:]
    assert "going on after step 4" in resumed.said
    assert held(client, "alice/killed", tmp_path) == files

    card = Path(client.hf_hub_download("alice/whole", "README.md", local_dir=tmp_path)).read_text(encoding="utf-8")
    assert "![Reward by step](training.png)" in card
    assert f"| {STEPS} | {rewards[-1]:.4g} |" in card
    assert card.count("\n| ") > 20 and "## Answers of the last step" in card
    used = run_script("load_trained.py", "AutoModelForCausalLM", "", "alice/killed", env={**trainer.env, "HF_HUB_OFFLINE": "0"})  # fmt: skip
    assert (used["adapters"], used["template"]) == (0, True)
    assert json.dumps(whole.facts["last_reward"]) == json.dumps(rewards[-1])
