"""What is published beside a model: its log, a plot of it, and its card."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from blocks.shared import block

describe = block("describe_training")


def trained(log: list[dict[str, Any]], **model: Any) -> Any:
    config = SimpleNamespace(_name_or_path="alice/base")
    return SimpleNamespace(
        model=SimpleNamespace(config=config, **model),
        state=SimpleNamespace(log_history=log),
        _tag_names=["trl", "sft"],
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int], list[float]]]:
    """The lines of the plot, as matplotlib is told of them: it is not installed here."""
    found: list[tuple[str, list[int], list[float]]] = []
    axes = SimpleNamespace(
        plot=lambda steps, values, label: found.append((label, steps, values)),
        set=lambda **_: None,
        legend=lambda: None,
    )
    module: Any = ModuleType("matplotlib.figure")
    module.Figure = lambda **_: SimpleNamespace(subplots=lambda: axes, savefig=lambda path, **_: path.touch())
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
    monkeypatch.setattr(describe, "version", lambda name: "1.0")
    return found


def test_the_card_says_what_was_made_of_what(tmp_path: Path, drawn: list[Any]) -> None:
    log = [{"step": 1, "loss": 2.0, "train_runtime": 9.0}, {"step": 2, "eval_loss": 1.5}, {"step": 2, "other": 1}]
    describe.describe_training(trained(log, peft_config={}), tmp_path, "# out\n\nMade.", {"input": "c0ffee"})
    text = (tmp_path / "README.md").read_text()
    front = json.loads(text.splitlines()[1])
    assert (front["base_model"], front["library_name"]) == ("alice/base", "peft")
    assert front["tags"] == ["uv-script", "jobshelf", "trl", "sft"]
    assert "# out\n\nMade." in text
    assert '"input": "c0ffee"' in text
    assert "trl 1.0, transformers 1.0" in text
    assert "![loss](loss.png)" in text
    lines = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    assert lines == [{"loss": 2.0, "step": 1}, {"eval_loss": 1.5, "step": 2}]
    assert drawn == [("loss", [1], [2.0]), ("eval_loss", [2], [1.5])]
    assert (tmp_path / "loss.png").exists()


def test_rewards_are_drawn_where_there_are_any(tmp_path: Path, drawn: list[Any]) -> None:
    log = [{"step": 1, "loss": 0.0, "reward": 0.5}, {"step": 2, "loss": 0.0, "reward": None}]
    describe.describe_training(trained(log), tmp_path, "Made.", {})
    assert '"library_name": "transformers"' in (tmp_path / "README.md").read_text()
    assert drawn[0] == ("reward", [1], [0.5])
    assert (tmp_path / "reward.png").exists()


def test_rewards_before_and_after() -> None:
    first = {"step": 0, "eval_loss": 0.0, "eval_reward": 0.25, "eval_rewards/a/mean": 0.5, "eval_reward_std": 0.1}
    last = {**first, "step": 5, "eval_reward": 0.75, "eval_rewards/a/mean": 1.0}
    log = [first, {"step": 5, "loss": 0.0, "reward": 0.5}, {"step": 6, "loss": 0.0, "reward": None}, last]
    assert describe.evaluation_table(log).splitlines() == [
        "| evaluated | step 0 | step 5 |",
        "|---|---|---|",
        "| loss | 0.0000 | 0.0000 |",
        "| reward | 0.2500 | 0.7500 |",
        "| rewards/a/mean | 0.5000 | 1.0000 |",
    ]


def test_a_resumed_training_has_the_same_table() -> None:
    """The state that it resumes from has its names in order."""
    entry = {"step": 0, "eval_reward": 0.25, "eval_loss": 0.0, "eval_rewards/a/mean": 0.5}
    assert describe.evaluation_table([entry]) == describe.evaluation_table([dict(sorted(entry.items()))])


def test_what_one_evaluation_did_not_measure_is_left_out() -> None:
    log = [{"step": 0, "eval_loss": 1.0, "eval_reward": None}, {"step": 2, "eval_loss": 0.5, "eval_reward": 1.0}]
    assert "reward" not in describe.evaluation_table(log)
    assert describe.evaluation_table([]) == ""
