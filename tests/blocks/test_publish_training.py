"""What the card of a training shows of its log."""

from __future__ import annotations

from blocks.shared import block

log_tables = block("publish_training").log_tables


def test_the_loss_of_at_most_twenty_steps() -> None:
    lines = log_tables([{"step": step, "loss": 1 / step} for step in range(1, 101)], "loss").splitlines()
    assert lines[:3] == ["| step | loss |", "|---|---|", "| 1 | 1.0000 |"]
    assert lines[-1] == "| 97 | 0.0103 |"
    assert len(lines) == 2 + 17


def test_rewards_before_and_after() -> None:
    first = {"step": 0, "eval_loss": 0.0, "eval_reward": 0.25, "eval_rewards/a/mean": 0.5, "eval_reward_std": 0.1}
    last = {**first, "step": 5, "eval_reward": 0.75, "eval_rewards/a/mean": 1.0}
    log = [first, {"step": 5, "loss": 0.0, "reward": 0.5}, {"step": 6, "loss": 0.0, "reward": None}, last]
    assert log_tables(log, "reward").splitlines() == [
        "| step | reward |",
        "|---|---|",
        "| 5 | 0.5000 |",
        "",
        "| evaluated | step 0 | step 5 |",
        "|---|---|---|",
        "| loss | 0.0000 | 0.0000 |",
        "| reward | 0.2500 | 0.7500 |",
        "| rewards/a/mean | 0.5000 | 1.0000 |",
    ]


def test_what_one_evaluation_did_not_measure_is_left_out() -> None:
    log = [{"step": 0, "eval_loss": 1.0, "eval_reward": None}, {"step": 2, "eval_loss": 0.5, "eval_reward": 1.0}]
    assert "reward" not in log_tables(log, "loss")
    assert log_tables([], "loss").splitlines() == ["| step | loss |", "|---|---|"]
