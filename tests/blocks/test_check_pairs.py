"""`check_pairs`: rows that TRL would read in another way than they are meant, found with row, column and fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from datasets import Dataset

from blocks.shared import Stopped, block
from row_formats import APART, CASES, PAIR, SHAREGPT, bot, user

pairs = block("check_pairs")
check_pairs = pairs.check_pairs
TEXT = {"prompt": "a", "chosen": "b", "rejected": "c"}
CHAT = {"prompt": [user("a")], "chosen": [bot("b")], "rejected": [bot("c")]}
Refusal = Callable[..., str]


@pytest.fixture
def refusal(stopped: Stopped) -> Refusal:
    return lambda *rows: stopped(lambda: check_pairs(Dataset.from_list(list(rows)), "alice/pairs"), 4)


@pytest.mark.parametrize("row", [TEXT, CHAT, PAIR, APART, {"chosen": "b", "rejected": ""}, {**TEXT, "other": None}])
def test_pairs(row: dict[str, Any]) -> None:
    check_pairs(Dataset.from_list([row] * 3), "alice/pairs")


def test_turns_with_calls_and_parts() -> None:
    calls = [{"type": "function", "function": {"name": "add", "arguments": "{}"}}]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    check_pairs(Dataset.from_list([{"prompt": parts, "chosen": [asked], "rejected": [bot("c")]}]), "alice/pairs")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rejected": None}, "rejected is empty, expected text"),
        ({"chosen": None}, "chosen is empty, expected text"),
        ({"prompt": None}, "prompt is empty, expected text"),
    ],
)
def test_the_row_is_named(refusal: Refusal, wrong: dict[str, Any], said: str) -> None:
    assert f"row 2 of alice/pairs: {said}" in refusal(TEXT, TEXT, {**TEXT, **wrong}, TEXT)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": 1, "rejected": 2}, "chosen is a int, expected text or messages"),
        ({"chosen": SHAREGPT, "rejected": SHAREGPT}, "chosen is a list of something other than messages"),
        ({"chosen": ["b"], "rejected": ["c"]}, "chosen is a list of something other than messages"),
        ({**CHAT, "rejected": []}, "rejected is empty, expected messages"),
        ({**CHAT, "prompt": [user(None)]}, "prompt is messages of which one of role 'user' has no content"),
        ({**CHAT, "prompt": "a"}, "prompt is text, expected messages"),
        ({**TEXT, "prompt": [user("a")]}, "prompt is messages, expected text"),
        ({**TEXT, "rejected": [bot("c")]}, "rejected is messages, expected text"),
    ],
)
def test_what_is_no_pair(refusal: Refusal, row: dict[str, Any], said: str) -> None:
    found = refusal(row)
    assert f"row 0 of alice/pairs: {said}" in found
    assert "dataset_inspector.py" in found


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", **PAIR},
        {"prompt": [user("a")], **PAIR},
        {"prompt": "Q: a", "chosen": "Q: a A: b", "rejected": "Q: a A: c"},
    ],
)
def test_a_prompt_that_the_answers_hold_too(refusal: Refusal, row: dict[str, Any]) -> None:
    assert "--map prompt=question" in refusal(row, row)


def test_answers_that_happen_to_begin_with_the_prompt() -> None:
    check_pairs(Dataset.from_list([TEXT, {"prompt": "a", "chosen": "ab", "rejected": "ac"}]), "alice/pairs")


@pytest.mark.parametrize(
    "name", [name for name, (_, rows) in CASES.items() if {"chosen", "rejected"} <= rows[0].keys()]
)
def test_what_it_passes_is_ready_for_dpo_or_reward(name: str) -> None:
    """It is no stricter than dataset_inspector.py: whatever is READY for both passes."""
    letters, rows = CASES[name]
    if "R" in (letters[1], letters[4]):
        check_pairs(Dataset.from_list(rows), "alice/pairs")
