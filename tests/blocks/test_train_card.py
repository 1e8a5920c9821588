"""Block `train_card`: what the card and the plot show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.trainings import LOG, arguments, small_plan
from jobshelf import blocks

train_card, job_block, recipe_block, options, persist_file, card, fit, flavors, source = (
    blocks.load(name)
    for name in (
        *("train_card", "train_job", "train_recipe", "train_options", "persist_file", "card", "fit", "flavors"),
        "source",
    )
)


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return small_plan(tmp_path)


def test_the_plot_is_the_same_each_time() -> None:
    first = train_card.plot_training(LOG[:3])
    assert first.startswith(b"\x89PNG")
    assert train_card.plot_training(LOG[:3]) == first != train_card.plot_training(LOG[:2])
    assert train_card.plot_training([]).startswith(b"\x89PNG")


def test_where_there_are_rewards_they_are_what_is_shown() -> None:
    log = [{"step": n, "loss": 0.0, "reward": reward} for n, reward in ((1, 0.25), (2, None), (3, 1.0))]
    plot = train_card.plot_training(log)
    assert plot == train_card.plot_training([entry | {"loss": 5.0} for entry in log])
    assert plot != train_card.plot_training([*log[:2], log[2] | {"reward": 0.5}])
    figures = {"first_loss": 0.0, "last_loss": 0.0, "first_reward": 0.25, "last_reward": 1.0}
    assert train_card._last_figures(log) == figures


def job(target: Any, tmp_path: Path) -> Any:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    described = source.resolve_source(str(tmp_path / "rows.jsonl"))
    machine = recipe_block.TrainMachine(
        flavor=flavors.Flavor(name="here", vcpus=2, ram_gb=8, disk_gb=0, usd_per_hour=0), processes=1
    )
    return job_block.TrainJob(
        target=target,
        source=replace(described, repo_id="d/s_x", commit="d" * 40, identity="d" * 40),
        base=job_block.TrainBase(
            name="m/b",
            commit="c" * 40,
            model=fit.model_of(fit.typical_architecture(5e8)),
            config={},
            licence="apache-2.0",
        ),
        machine=machine,
        run=persist_file.Run(script="train_sft.py", request={"n": 1}, source="d" * 40),
        resume=None,
        done=False,
        token=None,
        private=False,
        run_name="m-1",
        space="alice/trackio",
    )


@pytest.mark.parametrize(
    ("words", "library", "loads"),
    [
        ((), "peft", "PeftModel.from_pretrained"),
        (("--full",), "transformers", "AutoModelForCausalLM.from_pretrained('alice/out')"),
    ],
)
def test_the_card(
    plan: Any, tmp_path: Path, words: tuple[str, ...], library: str, loads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = options.TrainTarget(repo_id="alice/out", folder=None)
    args = arguments(*words)
    stamp = card.ScriptStamp(name="train_sft.py", url="https://example.org/train_sft.py", version="1.0.0")

    monkeypatch.setattr(
        train_card, "provenance", lambda *_, **facts: f"at {facts['identity']}, {' '.join(facts['packages'])}"
    )
    made = train_card.training_card(
        "---\nlicense: mit\n---\nMine.\n",
        job(target, tmp_path),
        plan,
        LOG[:3],
        args,
        stamp=stamp,
        title="Supervised fine-tuning",
        rows=1234,
        kind="AutoModelForCausalLM",
    )
    front, text = card.split_card(made)
    assert (front["base_model"], front["library_name"], front["license"]) == ("m/b", library, "mit")
    assert front["datasets"] == ["d/s_x"]
    assert {"uv-script", "jobshelf", "trl", "sft"} <= set(front["tags"])
    assert all(word in text for word in ("1,234 rows", "c" * 40, "licence: apache-2.0", "training.png", loads, "2.5"))
    assert "Mine." in text
