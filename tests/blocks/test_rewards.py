"""Block `rewards`: what is rewarded, against what a person computes, and what the card tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobshelf import blocks

rewards = blocks.load("rewards")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("72", "72"),
        ("It is 8 x 9.\nThe answer is 72.", "72"),
        ("So \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"),
        ("<think>perhaps \\boxed{3}</think> \\boxed{4}", "4"),
        ("<think>perhaps \\boxed{3}", None),
        ("perhaps 3</think>4", "4"),
        ("<think>hm</think><answer>5</answer>", "5"),
        ("<answer>1</answer> no, <answer>The answer is 2</answer>", "2"),
        ("9 + 9 = 18\n#### 18", "18"),
        ("It is eighteen.\nOr is it?", None),
        ("", None),
    ],
)
def test_the_answer_in_a_text(text: str, answer: str | None) -> None:
    assert rewards.given_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "right", "maths", "exact"),
    [
        ("72", "72", 1, 1),
        ("$72$.", "72", 1, 1),
        ("72.0", "72", 1, 0),
        ("The answer is \\frac{1}{2}", "0.5", 1, 0),
        ("1,000", "1000", 1, 0),
        ("73", "72", 0, 0),
        ("x + 1", "1 + x", 1, 0),
        ("Paris", "Paris", 1, 1),
        ("Paris", "Rome", 0, 0),
        ("no idea\nat all", "72", 0, 0),
    ],
)
def test_answers_are_compared(text: str, right: str, maths: float, exact: float) -> None:
    assert (rewards.judge_maths(text, right), rewards.judge_exact(text, right)) == (maths, exact)


@pytest.mark.parametrize(
    ("text", "whole", "think"),
    [
        ("<think>a</think><answer>b</answer>", 1, 1),
        ("\n<think>a\nb</think>\n<answer>c</answer>\n", 1, 1),
        ("<think>a</think>b", 0, 1),
        ("<think>a</think>", 0, 0),
        ("<think>a<think>b</think>c", 0, 0),
        ("so <think>a</think><answer>b</answer>", 0, 0),
        ("<think>a</think><answer>b</answer>!", 0, 1),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0, 1),
        ("<answer>b</answer><think>a</think>", 0, 0),
        ("b", 0, 0),
    ],
)
def test_formats(text: str, whole: float, think: float) -> None:
    assert (rewards.judge_format(text), rewards.judge_think(text)) == (whole, think)


@pytest.mark.parametrize(
    ("tokens", "target", "reward"),
    [(0, None, 0), (80, None, 0), (90, None, -0.5), (100, None, -1), (10, 10, 0), (5, 10, -0.5), (15, 10, -0.5), (40, 10, -1)],
)  # fmt: skip
def test_lengths(tokens: int, target: int | None, reward: float) -> None:
    assert rewards.judge_length(tokens, 100, target) == pytest.approx(reward)


def make(name: str, **options: Any) -> Callable[..., list[float | None]]:
    return rewards.make_reward(name, SimpleNamespace(options=options, settings={"max_completion_length": 10}))


def test_a_reward_is_called_as_trl_calls_it() -> None:
    chats = [[{"role": "assistant", "content": "4"}], [{"role": "assistant", "content": "5"}], [{"role": "assistant"}]]
    called = {
        "prompts": ["2 + 2?"] * 3,
        "completions": chats,
        "completion_ids": [[1] * 10, [1] * 9, []],
        "trainer_state": None,
    }
    maths = make("maths")
    assert maths.__name__ == "maths"
    assert maths(**called, answer=["4", "4", None]) == [1.0, 0.0, None]
    assert make("length", target_length=None)(**called) == pytest.approx([-1.0, -0.5, 0.0])
    assert make("regex", regex="^[45]$")(**called) == [1.0, 1.0, 0.0]
    assert make("think")(prompts=["?"], completions=["<think>a</think>b"], completion_ids=[[1]]) == [1.0]


def test_the_card_has_the_mean_reward_of_ten_steps() -> None:
    log = [
        {"step": step, "reward": step / 100, "rewards/maths/mean": step / 200, "completions/mean_length": 7.5}
        for step in range(1, 101)
    ]
    lines = rewards.told_steps([*log, {"step": 100, "train_loss": 0.0}], {"maths": 2.0}).splitlines()
    assert lines[0] == "| step | mean reward | maths | mean tokens | cut off |"
    assert len(lines) == 12
    assert lines[2] == "| 1 | 0.01 | 0.005 | 7.5 |  |"
    assert lines[-1] == "| 100 | 1 | 0.5 | 7.5 |  |"
    assert "| maths | 2 | 1 for an answer equal to the column" in rewards.told_rewards({"maths": 2.0})


def test_answers_are_shown_on_request_only(tmp_path: Path) -> None:
    entries = [{"prompt": "2 + 2 | ?", "answer": "x" * 500, "rewards": [1.0]}]
    (tmp_path / "completions.json").write_text(json.dumps(entries))
    options = {"rewards": {"maths": 1.0}, "log_completions": False}
    assert rewards.told_completions(SimpleNamespace(options=options, work=tmp_path)) == []
    (section,) = rewards.told_completions(SimpleNamespace(options=options | {"log_completions": True}, work=tmp_path))
    assert f"| 2 \\+ 2 \\| ? | {'x' * 400} ... | 1 |" in section
    assert list(tmp_path.iterdir()) == []


def test_a_training_in_which_nothing_could_be_learned_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    rewards.tell_silence([{"frac_reward_zero_std": 1.0}, {"frac_reward_zero_std": 0.5}])
    assert capsys.readouterr().err == ""
    rewards.tell_silence([{"frac_reward_zero_std": 1.0}, {"loss": 0.0}])
    assert "the model learned nothing" in capsys.readouterr().err
