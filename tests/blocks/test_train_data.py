"""Block `train_data`: rows are judged before a model is loaded, and what stops says which --map to add."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from datasets import Dataset

from blocks.word_tokenizer import WordTokenizer
from jobshelf import blocks

data, exits, source_block = (blocks.load(name) for name in ("train_data", "exits", "source"))
TURNS = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]
SHAREGPT = [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "c"}]


def stopped(code: int, call: Callable[[], object]) -> str:
    with pytest.raises(exits.Stop) as stop:
        call()
    assert stop.value.code == code, stop.value
    return str(stop.value)


def prepare(rows: list[dict[str, Any]], method: str, *renames: str, as_chat: bool = False) -> Dataset:
    return data.prepare_examples(Dataset.from_list(rows), method, renames, "the rows", as_chat=as_chat)


@pytest.mark.parametrize(
    ("method", "row", "advice"),
    [
        ("SFT", {"question": "q", "answer": "a"}, "add --map question=prompt answer=completion"),
        ("SFT", {"instruction": "q", "output": "a"}, "add --map instruction=prompt output=completion"),
        ("SFT", {"dialogue": SHAREGPT}, "add --map dialogue=messages"),
        ("SFT", {"messages": json.dumps(TURNS)}, "add --map messages=messages"),
        ("SFT", {"document": "a long text"}, "add --map document=text"),
        ("DPO", {"question": "q", "chosen": "a", "rejected": "b"}, "add --map question=prompt"),
        ("DPO", {"prompt": "q", "preferred": "a", "worse": "b"}, "add --map preferred=chosen worse=rejected"),
        (
            "Reward",
            {"query": "q", "better": "a", "negative": "b"},
            "add --map query=prompt better=chosen negative=rejected",
        ),
        ("SFT", {"number": 1}, "use another dataset"),
        ("DPO", {"text": "only this"}, "use another dataset"),
    ],
)
def test_a_mismatch_names_the_map_and_the_map_mends_it(method: str, row: dict[str, Any], advice: str) -> None:
    said = stopped(4, lambda: prepare([row] * 4, method))
    assert advice in said
    if "--map" in advice:
        renames = advice.partition("--map ")[2].split()
        assert len(prepare([row] * 4, method, *renames)) == 4


def test_conversations_get_trls_form() -> None:
    rows = prepare([{"dialogue": SHAREGPT}, {"dialogue": json.loads(json.dumps(SHAREGPT))}], "SFT", "dialogue=messages")
    assert rows[0]["messages"] == TURNS


def test_tool_calls_stay() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f"}}]}
    rows = prepare([{"messages": json.dumps([TURNS[0], call])}], "SFT", "messages=messages")
    assert rows[0]["messages"][1]["tool_calls"][0]["function"]["name"] == "f"


def test_texts_become_chats_when_asked() -> None:
    rows = prepare([{"question": "q", "answer": "a"}], "SFT", "question=prompt", "answer=completion", as_chat=True)
    assert rows[0] == {
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "a"}],
    }
    assert "no column 'prompt'" in stopped(4, lambda: prepare([{"text": "t"}], "SFT", as_chat=True))


@pytest.mark.parametrize(
    ("renames", "code", "said"),
    [
        (["a"], 2, "is no renaming"),
        (["=b"], 2, "is no renaming"),
        (["nothing=prompt"], 4, "has no column 'nothing'"),
        (["answer=question"], 2, "a second column 'question'"),
        (["question=x", "answer=x"], 2, "a second column 'x'"),
    ],
)
def test_renaming_that_cannot_be(renames: list[str], code: int, said: str) -> None:
    rows = Dataset.from_list([{"question": "q", "answer": "a"}])
    assert said in stopped(code, lambda: data.rename_columns(rows, renames, "the rows"))


def test_two_columns_can_change_places() -> None:
    rows = data.rename_columns(Dataset.from_list([{"a": 1, "b": 2}]), ["a=b", "b=a"], "the rows")
    assert rows[0] == {"b": 1, "a": 2}


def test_a_broken_row_among_many_is_found_and_can_be_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"messages": TURNS}] * 1000 + [{"messages": None}] + [{"messages": TURNS}] * 500
    assert "add --skip-bad-rows" in stopped(4, lambda: prepare(rows, "SFT"))
    kept = data.prepare_examples(Dataset.from_list(rows), "SFT", (), "the rows", skip_bad=True)
    assert len(kept) == 1500
    assert "1 of 1,501 rows of the rows are skipped" in capsys.readouterr().err


FORMATS = {
    "rows.parquet": lambda rows, path: pl.DataFrame(rows).write_parquet(path),
    "rows.jsonl": lambda rows, path: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "rows.json": lambda rows, path: path.write_text(json.dumps(rows)),
    "rows.csv": lambda rows, path: pl.DataFrame(rows).write_csv(path),
    "rows.tsv": lambda rows, path: pl.DataFrame(rows).write_csv(path, separator="\t"),
    "rows.arrow": lambda rows, path: pl.DataFrame(rows).write_ipc_stream(path),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"q {n}", "completion": "a, b"} for n in range(5)]
    FORMATS[name](rows, tmp_path / name)
    source = source_block.resolve_source(str(tmp_path / name))
    assert data.read_examples(source, None, None).to_list() == rows
    assert data.read_examples(source, None, 2).to_list() == rows[:2]


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "has no rows"), ('{"a": 1}\nnot json', "is not readable jsonl")],
)
def test_what_cannot_be_read(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    source = source_block.resolve_source(str(tmp_path / "rows.jsonl"))
    assert said in stopped(4, lambda: data.read_examples(source, None, None))


def test_no_rows(tmp_path: Path) -> None:
    pl.DataFrame({"text": []}, schema={"text": pl.String}).write_parquet(tmp_path / "rows.parquet")
    source = source_block.resolve_source(str(tmp_path / "rows.parquet"))
    assert "has no rows" in stopped(4, lambda: data.read_examples(source, None, None))


@pytest.fixture
def two_splits(tmp_path: Path) -> Any:
    for split, count in (("train", 2000), ("test", 7)):
        pl.DataFrame({"text": [f"{split} {n}" for n in range(count)]}).write_parquet(tmp_path / f"{split}.parquet")
    return source_block.resolve_source(str(tmp_path))


def held(source: Any, count: int = 2000, **options: Any) -> tuple[int, int | None, str]:
    rows = data.read_examples(source, None, count)
    asked = {"asked": None, "strategy": "auto", "smoke": False, "seed": 42} | options
    train, test, why = data.hold_out(rows, source, None, **asked)
    return len(train), None if test is None else len(test), why


def test_rows_are_held_out_where_it_pays(two_splits: Any) -> None:
    assert held(two_splits)[:2] == (1900, 100)
    assert held(two_splits, asked="test")[:2] == (2000, 7)
    assert held(two_splits, count=999) == (999, None, "no evaluation: fewer than 1,000 rows")
    assert held(two_splits, smoke=True)[1] is None
    assert held(two_splits, strategy="no")[1] is None
    assert held(two_splits, count=100, strategy="steps")[:2] == (95, 5)
    assert "cannot be split" in stopped(4, lambda: held(two_splits, count=1, strategy="steps"))
    assert "has no split 'dev'" in stopped(4, lambda: held(two_splits, asked="dev"))


def test_the_same_seed_holds_out_the_same_rows(two_splits: Any) -> None:
    rows = data.read_examples(two_splits, None, None)
    first, second, other = (
        data.hold_out(rows, two_splits, None, asked=None, strategy="auto", smoke=False, seed=seed)[1]["text"]
        for seed in (1, 1, 2)
    )
    assert first[:] == second[:] != other[:]


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        ({"text": "one two three"}, 3),
        ({"messages": TURNS}, 7),
        ({"conversations": SHAREGPT}, 7),
        ({"prompt": "one two ", "completion": "three"}, 3),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, 7),
        ({"prompt": "one ", "chosen": "two", "rejected": "two three four"}, 4),
        ({"input_ids": [1, 2, 3, 4, 5]}, 5),
    ],
)
def test_lengths_are_those_of_whole_sequences(row: dict[str, Any], tokens: int) -> None:
    lengths = data.measure_lengths(Dataset.from_list([row] * 3), WordTokenizer(), "the rows")
    assert (lengths.rows, lengths.mean, lengths.most, lengths.longest) == (3, tokens, tokens, tokens)


def test_one_row_in_a_hundred_may_be_longer() -> None:
    texts = ["a " * (10 if n else 500) for n in range(200)]
    lengths = data.measure_lengths(Dataset.from_dict({"text": texts}), WordTokenizer(), "the rows")
    assert (lengths.middle, lengths.most, lengths.longest) == (10, 10, 500)


def test_a_base_model_without_a_chat_template() -> None:
    rows = Dataset.from_list([{"messages": TURNS}])
    said = stopped(4, lambda: data.measure_lengths(rows, WordTokenizer(None), "the rows"))
    assert "has no chat template" in said
    assert "--chat-template-path" in said
    assert data.measure_lengths(Dataset.from_list([{"text": "a"}]), WordTokenizer(None), "the rows").longest == 1


def test_a_template_that_refuses_a_role() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{% endfor %}"
    )
    rows = Dataset.from_list([{"messages": [*TURNS, {"role": "tool", "content": "x"}]}])
    assert "no tools" in stopped(4, lambda: data.measure_lengths(rows, WordTokenizer(template), "the rows"))


def test_rows_without_text() -> None:
    rows = Dataset.from_list([{"text": " "}])
    assert "hold no text" in stopped(4, lambda: data.measure_lengths(rows, WordTokenizer(), "the rows"))
