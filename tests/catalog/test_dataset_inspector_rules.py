"""The rules of dataset_inspector.py, as a table of row formats; sources: the trainers of TRL 1.16."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from datasets import Dataset, disable_progress_bars

from row_formats import CASES, METHODS, inspect_rows, judged, part, statuses, user

READY, MAPPING, NO = "READY", "NEEDS MAPPING", "INCOMPATIBLE"
disable_progress_bars()


ONLINE = {"GRPO", "RLOO"}
STATUS = {"R": READY, "m": MAPPING, "-": NO}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    verdicts = inspect_rows(CASES[name][1])
    assert [verdict.method for verdict in verdicts] == METHODS
    assert [verdict.status for verdict in verdicts] == [STATUS[letter] for letter in statuses(name)]
    assert all(verdict.reason for verdict in verdicts)
    assert all((verdict.mapping is not None) == (verdict.status == MAPPING) for verdict in verdicts)


@pytest.mark.parametrize("name", [name for name in CASES if "m" in statuses(name)])
def test_mapping_code_makes_it_ready(name: str) -> None:
    rows = CASES[name][1]
    for verdict in inspect_rows(rows):
        if verdict.mapping:
            assert status_after(verdict.mapping, rows, verdict.method) == READY, verdict.method


@pytest.mark.parametrize(
    "name", ["gsm8k_test", "gsm8k_model_solutions", "sharegpt_conversations", "mt_bench_questions"]
)
def test_mapping_code_on_real_rows(name: str, real_rows: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = real_rows(name)
    verdicts = inspect_rows(rows)
    assert {
        "gsm8k_test": {"SFT"} | ONLINE,
        "gsm8k_model_solutions": {"SFT"} | ONLINE,
        "sharegpt_conversations": {"SFT"} | ONLINE,
        "mt_bench_questions": ONLINE,
    }[name] == {verdict.method for verdict in verdicts if verdict.status == MAPPING}
    for verdict in verdicts:
        if verdict.mapping:
            assert status_after(verdict.mapping, rows, verdict.method) == READY


def status_after(code: str, rows: list[dict[str, Any]], method: str) -> str:
    """Run the printed code as a user would, and inspect what it makes."""
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows, on_mixed_types="use_json")}
    with contextlib.redirect_stderr(io.StringIO()):
        exec(code, scope)
    return next(v.status for v in inspect_rows(list(scope["dataset"])) if v.method == method)


HOSTILE = "question\"] + __import__('os').abort() + '\n{x}`"


def test_names_reach_the_code_as_data_only() -> None:
    rows = [{HOSTILE: "1+1?", "answer'": "2"}]
    verdict = inspect_rows(rows)[0]
    assert verdict.status == MAPPING
    assert repr(HOSTILE) in verdict.mapping
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows, on_mixed_types="use_json")}
    exec(verdict.mapping, scope)
    assert scope["dataset"][0]["prompt"] == [user("1+1?")]


def test_input_is_taken_along_with_the_instruction() -> None:
    rows = CASES["instruction, input, output"][1]
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows, on_mixed_types="use_json")}
    exec(inspect_rows(rows)[0].mapping, scope)
    assert [row["prompt"][0]["content"] for row in scope["dataset"]] == ["Add\n\n1 1", "Say hi"]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("prompt repeated")])
def test_a_repeated_prompt_is_trained_on_once(name: str) -> None:
    rows = CASES[name][1]
    for method in ("DPO", "SFT"):
        scope: dict[str, Any] = {"dataset": Dataset.from_list(rows, on_mixed_types="use_json")}
        exec(next(v.mapping for v in inspect_rows(rows) if v.method == method), scope)
        assert "prompt" not in scope["dataset"].column_names


def mapped(rows: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    """Return what the mapping code for `method` makes of the rows."""
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows, on_mixed_types="use_json")}
    exec(next(v.mapping for v in inspect_rows(rows) if v.method == method), scope)
    return list(scope["dataset"])


def test_system_text_leads_the_conversation() -> None:
    made = mapped(CASES["ShareGPT beside a system text"][1], "SFT")
    assert [turn["role"] for turn in made[0]["messages"]] == ["system", "user", "assistant"]
    made = mapped(CASES["system text, question, response"][1], "SFT")
    assert [turn["content"] for turn in made[0]["prompt"]] == ["Be brief", "a"]


def test_tools_and_images_survive_the_mapping() -> None:
    rows = CASES["tools beside a conversation of another name"][1]
    assert mapped(rows, "SFT")[0]["tools"] == rows[0]["tools"]
    assert mapped(rows, "SFT")[0]["messages"][1]["tool_calls"][0]["function"]["name"] == "add"
    assert mapped(CASES["an image, question and answer"][1], "SFT")[0]["image"]["bytes"].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("labels", "good"),
    [
        ((4, 1), [True, False]),
        ((0.7, 0.2), [True, False]),
        ((1, -1), [True, False]),
        (("good", "bad"), [True, False]),
        (("True", "False"), [True, False]),
        ((True, None, False), [True, False]),
    ],
)
def test_labels_of_every_type(labels: tuple[Any, ...], good: list[bool]) -> None:
    assert [row["label"] for row in mapped(judged(*labels), "KTO")] == good


def test_a_threshold_that_was_chosen_is_stated() -> None:
    verdict = inspect_rows(judged(4, 1))[3]
    assert "good above 2.5" in verdict.reason
    assert "set your own threshold" in verdict.reason


def test_roles_that_were_guessed_are_stated() -> None:
    rows = [{"messages": [{"role": "Guest", "content": "a"}, {"role": "Host", "content": "b"}]}]
    verdict = inspect_rows(rows)[0]
    assert "'Guest', 'Host' is a guess, see ROLES" in verdict.reason
    assert [turn["role"] for turn in mapped(rows, "SFT")[0]["messages"]] == ["user", "assistant"]


def test_columns_that_trl_would_misread_go() -> None:
    assert list(mapped(CASES["judged pair"][1], "KTO")[0]) == ["prompt", "chosen", "rejected"]
    assert list(mapped(CASES["prompt and completion beside a text"][1], "SFT")[0]) == ["prompt", "completion"]
    verdict = inspect_rows(CASES["text with labels"][1])[0]
    assert verdict.mapping == "dataset = dataset.remove_columns(['labels'])\n"
    assert "'labels' is taken for the labels of the tokens" in verdict.reason


def test_rows_that_cannot_be_used_are_evidence() -> None:
    verdict = inspect_rows(CASES["a conversation without turns"][1])[0]
    assert (list(verdict.rows), len(mapped(CASES["a conversation without turns"][1], "SFT"))) == ([1], 1)


def test_evidence_and_notes() -> None:
    assert list(inspect_rows([{"text": "a"}, {"text": None}])[0].rows) == [1]
    dpo = inspect_rows([{"prompt": "a", "chosen": "b", "rejected": "b"}])[1]
    assert dpo.status == READY
    assert "1 rows" in dpo.notes[0]
    kto = inspect_rows([{"prompt": "a", "completion": "b", "label": True}])[3]
    assert "every label is True" in kto.notes[0]


def test_many_columns_and_deep_values() -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = {"a": deep}
    rows = [{f"c{number}": deep for number in range(5000)}]
    assert {verdict.status for verdict in inspect_rows(rows)} == {NO}


@pytest.mark.parametrize("role", [None, 3, ["user"], {"a": 1}])
@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value"), ("speaker", "text")])
def test_roles_that_are_no_text_are_no_conversation(role: Any, keys: tuple[str, str]) -> None:
    for name in ("messages", "conversations", "prompt", "chosen"):
        rows = [{name: [dict(zip(keys, (role, "a"), strict=True))], "rejected": [{keys[0]: role, keys[1]: ["b"]}]}]
        assert {verdict.status for verdict in inspect_rows(rows)} == {NO}


def test_texts_in_parts_become_text() -> None:
    """The templates of text models add a content to a text: a list of parts ends the training."""
    rows = [
        {"messages": [user(part("Hi")), {"role": "assistant", "content": "Yo"}]},
        {"messages": [user("a"), user("b")]},
    ]
    verdict = inspect_rows(rows)[0]
    assert (verdict.status, "texts in parts" in verdict.reason) == (MAPPING, True)
    assert [turn["content"] for row in mapped(rows, "SFT") for turn in row["messages"]] == ["Hi", "Yo", "a", "b"]


@pytest.mark.parametrize(
    ("labels", "good"),
    [
        (("0", "1"), [False, True]),
        (("0.0", "1.0"), [False, True]),
        (("1", "5"), [False, True]),
        (("true", "", "false"), [True, False]),
        ((" Yes", "No "), [True, False]),
    ],
)
def test_labels_of_a_csv_file_are_text(labels: tuple[str, ...], good: list[bool]) -> None:
    assert [row["label"] for row in mapped(judged(*labels), "KTO")] == good
