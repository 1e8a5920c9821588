"""train_reward.py where it needs no TRL: margins, and what it says about tokenised rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset

from blocks.shared import Stopped
from catalog.conftest import module
from catalog.pair_rows import trainer

NAME = "train_reward.py"
SHORT = {"chosen_ids": [3, 4], "rejected_ids": [3, 5]}
LONG = {"chosen_ids": [3, 4, 6, 7], "rejected_ids": [3, 5]}


@pytest.fixture
def stopped(capsys: pytest.CaptureFixture[str]) -> Stopped:
    return Stopped(capsys)


def check(rows: list[dict[str, list[int]]], max_length: int | None = 1024, **model: int) -> list[int]:
    return module(NAME).check_rows(trainer(rows, **model), SimpleNamespace(max_length=max_length))


@pytest.mark.parametrize("limit", [1024, 4, None])
def test_the_step_is_on_the_longest_row(limit: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([SHORT, LONG, SHORT, SHORT], limit) == [1, 2]
    assert capsys.readouterr().out == "10 tokens in the longer answers, at most 4 in one (row 1)\n"


def test_pairs_that_are_left_out_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    check([SHORT, LONG, {"chosen_ids": [3], "rejected_ids": [3]}], 3)
    assert "1 pairs are too long, and are left out; 1 pairs are of equal answers" in capsys.readouterr().out


def test_no_pair_is_short_enough(stopped: Stopped) -> None:
    said = stopped(lambda: check([LONG, SHORT], 1), 4)
    assert "each pair has an answer of more than 1 tokens, row 0 of 4: none is left" in said
    assert "--max_length 4" in said


def test_a_tokenizer_that_knows_more_than_the_model(stopped: Stopped) -> None:
    said = stopped(lambda: check([SHORT, {"chosen_ids": [64], "rejected_ids": [3]}], tokens=64), 4)
    assert "row 1 has token 64, the model has 64 tokens" in said


def test_answers_that_do_not_differ(stopped: Stopped) -> None:
    said = stopped(lambda: check([{"chosen_ids": [3], "rejected_ids": [3]}] * 2), 4)
    assert "the same in each row" in said


@pytest.mark.parametrize(
    ("margins", "said"),
    [([0.5, 1.0, None], "row 2 of alice/pairs: margin is None"), (["1"], "row 0 of alice/pairs: margin is '1'")],
)
def test_a_margin_that_is_no_number(margins: list[Any], said: str, stopped: Stopped) -> None:
    rows = Dataset.from_list([{"margin": margin} for margin in margins])
    found = stopped(lambda: module(NAME).check_margin(rows, "alice/pairs"), 4)
    assert f"{said}, expected a number" in found
    assert "--map margin=other_margin" in found


@pytest.mark.parametrize("rows", [[{"margin": 0.5}, {"margin": -1.0}], [{"margin": 2}], [{"score": None}]])
def test_margins(rows: list[dict[str, Any]]) -> None:
    module(NAME).check_margin(Dataset.from_list(rows), "alice/pairs")
