"""The rules of the block `formats`, as a table of row formats; sources: the trainers of TRL 1.16."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from datasets import Dataset, disable_progress_bars

from jobshelf import blocks

formats = blocks.load("formats")
READY, MAPPING, NO = formats.READY, formats.NEEDS_MAPPING, formats.INCOMPATIBLE
disable_progress_bars()


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


CHAT = [user("Hi"), bot("Hello")]
JSON_CHAT = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]'
SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
# name -> rows, then what SFT, DPO, GRPO, KTO and Reward make of them
CASES: dict[str, tuple[list[dict[str, Any]], tuple[str, str, str, str, str]]] = {
    "messages": ([{"messages": CHAT}], (READY, NO, MAPPING, NO, NO)),
    "messages under another name": ([{"conversation": CHAT}], (MAPPING, NO, MAPPING, NO, NO)),
    "messages as JSON text": ([{"messages": JSON_CHAT}], (MAPPING, NO, MAPPING, NO, NO)),
    "messages beside a prompt": ([{"prompt": "Hi", "messages": CHAT}], (MAPPING, NO, READY, NO, NO)),
    "a conversation without turns": ([{"messages": CHAT}, {"messages": []}], (MAPPING, NO, MAPPING, NO, NO)),
    "a turn without content": (
        [{"messages": CHAT}, {"messages": [user("a"), bot(None)]}],
        (MAPPING, NO, MAPPING, NO, NO),
    ),
    "ShareGPT, its own role names": ([{"conversations": SHAREGPT}], (MAPPING, NO, MAPPING, NO, NO)),
    "ShareGPT, usual role names": (
        [{"conversations": [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "Yo"}]}],
        (READY, NO, MAPPING, NO, NO),
    ),
    "ShareGPT that opens with an answer": (
        [{"conversations": SHAREGPT}, {"conversations": SHAREGPT[1:]}],
        (MAPPING, NO, MAPPING, NO, NO),
    ),
    "text": ([{"text": "Once upon a time"}], (READY, NO, NO, NO, NO)),
    "text under another name": ([{"content": "Once upon a time"}], (MAPPING, NO, NO, NO, NO)),
    "text with a class label": ([{"text": "Bad film", "label": 0}], (READY, NO, NO, NO, NO)),
    "text with nulls": ([{"text": "a"}, {"text": None}], (MAPPING, NO, NO, NO, NO)),
    "question and answer": ([{"question": "1+1?", "answer": "2"}], (MAPPING, NO, MAPPING, NO, NO)),
    "instruction, input, output": (
        [{"instruction": "Add", "input": "1 1", "output": "2"}, {"instruction": "Say hi", "input": "", "output": "hi"}],
        (MAPPING, NO, MAPPING, NO, NO),
    ),
    "prompt and completion": ([{"prompt": "1+1?", "completion": "2"}], (READY, NO, READY, NO, NO)),
    "prompt and completion as chats": ([{"prompt": [user("a")], "completion": [bot("b")]}], (READY, NO, READY, NO, NO)),
    "text prompt, chat completion": ([{"prompt": "a", "completion": [bot("b")]}], (MAPPING, NO, READY, NO, NO)),
    "prompt alone": ([{"prompt": "1+1?"}], (NO, NO, READY, NO, NO)),
    "prompt that ends with an answer": ([{"prompt": CHAT}], (NO, NO, MAPPING, NO, NO)),
    "prompt of numbers": ([{"prompt": 7}], (NO, NO, NO, NO, NO)),
    "tokens": ([{"input_ids": [1, 2, 3]}], (READY, NO, NO, NO, NO)),
    "explicit preference": ([{"prompt": "a", "chosen": "b", "rejected": "c"}], (MAPPING, READY, READY, READY, READY)),
    "explicit preference as chats": (
        [{"prompt": [user("a")], "chosen": [bot("b")], "rejected": [bot("c")]}],
        (MAPPING, READY, READY, READY, READY),
    ),
    "implicit preference": (
        [{"chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]}],
        (MAPPING, READY, MAPPING, READY, READY),
    ),
    "implicit preference as text": (
        [{"chosen": "Human: a\nAssistant: b", "rejected": "Human: a\nAssistant: c"}],
        (NO, READY, NO, READY, READY),
    ),
    "preference without a common prompt": (
        [{"chosen": [user("a"), bot("b")], "rejected": [user("z"), bot("c")]}],
        (MAPPING, NO, MAPPING, NO, READY),
    ),
    "some pairs without a common prompt": (
        [
            {"chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]},
            {"chosen": [user("a"), bot("b")], "rejected": [user("z"), bot("c")]},
        ],
        (MAPPING, MAPPING, MAPPING, MAPPING, READY),
    ),
    "prompt repeated in the answers": (
        [{"prompt": "a", "chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]}],
        (MAPPING, MAPPING, READY, MAPPING, MAPPING),
    ),
    "prompt repeated in the answers, all chats": (
        [{"prompt": [user("a")], "chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]}],
        (MAPPING, MAPPING, READY, MAPPING, MAPPING),
    ),
    "prompt repeated in the answers, all text": (
        [{"prompt": "Q: a", "chosen": "Q: a A: b", "rejected": "Q: a A: c"}],
        (MAPPING, MAPPING, READY, MAPPING, MAPPING),
    ),
    "preference under other names": (
        [{"question": "a", "preferred_answer": "b", "dispreferred_answer": "c"}],
        (MAPPING, MAPPING, MAPPING, MAPPING, MAPPING),
    ),
    "ratings beside the answers": (
        [{"prompt": "a", "chosen_rating": 5.0, "rejected_rating": 1.0, "chosen": "b", "rejected": "c"}],
        (MAPPING, READY, READY, READY, READY),
    ),
    "judged completion": (
        [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": "c", "label": False}],
        (READY, NO, READY, READY, NO),
    ),
    "judged completion, 0 and 1": ([{"prompt": "a", "completion": "b", "label": 1}], (READY, NO, READY, READY, NO)),
    "judged completion, 1 to 5": ([{"prompt": "a", "completion": "b", "label": 4}], (READY, NO, READY, NO, NO)),
    "judged completion under other names": (
        [{"question": "a", "response": "b", "is_correct": True}],
        (MAPPING, NO, MAPPING, MAPPING, NO),
    ),
    "stepwise supervision": (
        [{"prompt": "a", "completions": ["b", "c"], "labels": [True, False]}],
        (NO, NO, MAPPING, NO, NO),
    ),
    "graded answers": (
        [{"question": "a", "m1": {"is_correct": True, "text": "b"}, "m2": {"is_correct": False, "text": "c"}}],
        (NO, MAPPING, MAPPING, MAPPING, MAPPING),
    ),
    "two turns of questions": ([{"id": 1, "turns": ["a", "b"]}], (NO, NO, MAPPING, NO, NO)),
    "an id that looks like a prompt": ([{"prompt_id": "x1", "score": 1.0}], (NO, NO, NO, NO, NO)),
    "an image": ([{"image": {"bytes": b"x", "path": None}, "messages": CHAT}], (READY, NO, MAPPING, NO, NO)),
    "nothing but nulls": ([{"text": None}], (NO, NO, NO, NO, NO)),
    "mixed kinds": ([{"messages": CHAT}, {"messages": "Hi"}], (NO, NO, NO, NO, NO)),
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    rows, expected = CASES[name]
    verdicts = formats.inspect_rows(rows)
    assert tuple(verdict.method for verdict in verdicts) == formats.METHODS
    assert tuple(verdict.status for verdict in verdicts) == expected
    assert all(verdict.reason for verdict in verdicts)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if MAPPING in case[1]])
def test_mapping_code_makes_it_ready(name: str) -> None:
    rows, _ = CASES[name]
    for verdict in formats.inspect_rows(rows):
        assert (verdict.mapping is not None) == (verdict.status == MAPPING)
        if verdict.mapping:
            assert status_after(verdict.mapping, rows, verdict.method) == READY


@pytest.mark.parametrize(
    "name", ["gsm8k_test", "gsm8k_model_solutions", "sharegpt_conversations", "mt_bench_questions"]
)
def test_mapping_code_on_real_rows(name: str, real_rows: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = real_rows(name)
    verdicts = formats.inspect_rows(rows)
    assert {
        "gsm8k_test": {"SFT", "GRPO"},
        "gsm8k_model_solutions": {"SFT", "DPO", "GRPO", "KTO", "Reward"},
        "sharegpt_conversations": {"SFT", "GRPO"},
        "mt_bench_questions": {"GRPO"},
    }[name] == {verdict.method for verdict in verdicts if verdict.status == MAPPING}
    for verdict in verdicts:
        if verdict.mapping:
            assert status_after(verdict.mapping, rows, verdict.method) == READY


def status_after(code: str, rows: list[dict[str, Any]], method: str) -> str:
    """Run the printed code as a user would, and inspect what it makes."""
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows)}
    with contextlib.redirect_stderr(io.StringIO()):
        exec(code, scope)
    return next(v.status for v in formats.inspect_rows(list(scope["dataset"])) if v.method == method)


def test_pairs_keep_right_and_wrong_apart(real_rows: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = real_rows("gsm8k_model_solutions")
    code = next(v.mapping for v in formats.inspect_rows(rows) if v.method == "DPO")
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows)}
    exec(code, scope)
    solvers = [name for name, value in rows[0].items() if isinstance(value, dict)]
    expected = [
        (row["question"], right, wrong)
        for row in rows
        for right, wrong in zip(
            [row[name]["solution"] for name in solvers if row[name]["is_correct"]],
            [row[name]["solution"] for name in solvers if not row[name]["is_correct"]],
            strict=False,
        )
    ]
    made = [
        (r["prompt"][0]["content"], r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in scope["dataset"]
    ]
    assert made == expected


HOSTILE = "question\"] + __import__('os').abort() + '\n{x}`"


def test_names_reach_the_code_as_data_only() -> None:
    rows = [{HOSTILE: "1+1?", "answer'": "2"}]
    verdict = formats.inspect_rows(rows)[0]
    assert verdict.status == MAPPING
    assert repr(HOSTILE) in verdict.mapping
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows)}
    exec(verdict.mapping, scope)
    assert scope["dataset"][0]["prompt"] == [user("1+1?")]


def test_input_is_taken_along_with_the_instruction() -> None:
    rows = CASES["instruction, input, output"][0]
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows)}
    exec(formats.inspect_rows(rows)[0].mapping, scope)
    assert [row["prompt"][0]["content"] for row in scope["dataset"]] == ["Add\n\n1 1", "Say hi"]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("prompt repeated")])
def test_a_repeated_prompt_is_trained_on_once(name: str) -> None:
    rows = CASES[name][0]
    for method in ("DPO", "SFT"):
        scope: dict[str, Any] = {"dataset": Dataset.from_list(rows)}
        exec(next(v.mapping for v in formats.inspect_rows(rows) if v.method == method), scope)
        assert "prompt" not in scope["dataset"].column_names


def test_evidence_and_notes() -> None:
    sft = formats.inspect_rows([{"text": "a", "label": 1}, {"text": None, "label": 0}])[0]
    assert sft.rows == (1,)
    assert "classification" in sft.notes[0]
    dpo = formats.inspect_rows([{"prompt": "a", "chosen": "b", "rejected": "b"}])[1]
    assert dpo.status == READY
    assert "1 rows" in dpo.notes[0]
    kto = formats.inspect_rows([{"prompt": "a", "completion": "b", "label": True}])[3]
    assert "every label is True" in kto.notes[0]


def test_no_rows_is_no_verdict() -> None:
    assert {verdict.status for verdict in formats.inspect_rows([], {"messages": "List"})} == {NO}


def test_many_columns_and_deep_values() -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = {"a": deep}
    rows = [{f"c{number}": deep for number in range(5000)}]
    assert {verdict.status for verdict in formats.inspect_rows(rows)} == {NO}
