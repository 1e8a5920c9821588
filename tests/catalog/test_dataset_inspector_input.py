"""dataset_inspector.py on the files that people have: every form, and what is strange, broken or hostile in them."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from datasets import Dataset, Features, Image, List, Value

from catalog.conftest import Script, jsonl
from row_formats import IMAGE, bot, part, user

NAME = "dataset_inspector.py"
ROWS = [{"prompt": f"What is {n} + {n}?", "completion": f"It is {2 * n}."} for n in range(30)]
Report = dict[str, Any]
Look = Callable[..., Report]


@pytest.fixture
def look(main: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Look:
    """`look("d.jsonl", data)`: write the file, inspect it in this process, return the report."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def run(name: str, data: bytes | None = None, *words: str) -> Report:
        if data is not None:
            Path(name).write_bytes(data)
        done = main(NAME, name, "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def status(report: Report, method: str) -> str:
    return next(verdict["status"] for verdict in report["methods"] if verdict["method"] == method)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def csv(separator: str) -> bytes:
    return pl.DataFrame(ROWS).write_csv(separator=separator).encode()


FORMS = {
    "d.jsonl": jsonl(ROWS),
    "d.json": json.dumps(ROWS, indent=2).encode(),
    "d.parquet": parquet(ROWS),
    "d.csv": csv(","),
    "semicolons.csv": csv(";"),
    "bom.csv": b"\xef\xbb\xbf" + csv(","),
    "d.tsv": csv("\t"),
    "d.jsonl.gz": gzip.compress(jsonl(ROWS), mtime=0),
    "d.csv.gz": gzip.compress(csv(","), mtime=0),
    "d.jsonl.zst": zstandard.compress(jsonl(ROWS)),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_verdict(look: Look, name: str) -> None:
    report = look(name, FORMS[name])
    assert (report["read"], report["rows"], report["rows_read"]) == ("files", 30, 30)
    assert [(column["name"], column["kind"]) for column in report["columns"]] == [
        ("prompt", "text"),
        ("completion", "text"),
    ]
    assert (status(report, "SFT"), status(report, "DPO")) == ("READY", "INCOMPATIBLE")


def test_an_arrow_file_and_a_folder_of_splits(look: Look) -> None:
    Dataset.from_list(ROWS).save_to_disk("saved")
    (arrow,) = Path("saved").glob("*.arrow")
    assert look("d.arrow", arrow.read_bytes())["rows"] == 30
    Path("data").mkdir()
    for split, count in (("train", 5), ("test", 3)):
        Path("data", f"{split}.jsonl").write_bytes(jsonl(ROWS[:count]))
    assert [look("data", None, *words)["rows"] for words in ((), ("--split", "test"), ("--split", "train[:2]"))] == [
        5,
        3,
        2,
    ]


@pytest.mark.parametrize(
    "name", ["part [1].jsonl", "a*.jsonl", "what?.jsonl", "{a,b}.jsonl", "n#1.jsonl", "50%20.jsonl"]
)
def test_a_name_is_no_pattern(look: Look, name: str) -> None:
    for other in ("part 1", "ab", "what1", "a", "b", "n", "50 "):
        Path(f"{other}.jsonl").write_bytes(jsonl([{"x": 1}]))
    assert [column["name"] for column in look(name, jsonl(ROWS))["columns"]] == ["prompt", "completion"]


# --- types that show late: the verdict is about what the trainer reads ---


def test_a_type_after_many_nulls(look: Look) -> None:
    """Over the 10 MB that `datasets` reads at once; the column is none that a trainer uses."""
    early = jsonl([{"prompt": "a" * 40, "completion": "b", "x": None}]) * 200_000
    report = look("d.jsonl", early + jsonl([{"prompt": "a", "completion": "b", "x": "late", "y": 1}]))
    assert (report["rows"], status(report, "SFT")) == (200_001, "READY")
    assert [column["name"] for column in report["columns"]] == ["prompt", "completion", "x", "y"]


def test_numbers_of_a_csv_file_stay_what_they_are(look: Look) -> None:
    rows = [f"a,b,{number}" for number in range(150)] + ["a,b,151.5", f"a,b,{2**70}"]
    report = look("d.csv", "\n".join(["prompt,completion,score", *rows]).encode())
    assert [column["kind"] for column in report["columns"]] == ["text", "text", "text"]
    assert (report["rows"], status(report, "SFT")) == (152, "READY")


def test_rows_are_judged_from_the_first_to_the_last(look: Look) -> None:
    rows: list[dict[str, Any]] = [{"text": "a"}] * 25_000
    rows[20_000] = {"text": None}
    report = look("d.jsonl", jsonl(rows))
    sft = report["methods"][0]
    assert (report["rows"], report["rows_read"]) == (25_000, 10_000)
    assert (sft["status"], sft["rows"]) == ("NEEDS MAPPING", [20_000])
    assert look("d.jsonl", None, "--samples", "3")["methods"][0]["status"] == "READY"


# --- chat data ---


def test_contents_as_text_and_in_parts(look: Look) -> None:
    rows = [{"messages": [user("Hi"), bot("Yo")]}, {"messages": [user(part("Hi")), bot("Yo")]}]
    report = look("d.jsonl", jsonl(rows))
    assert report["columns"][0]["kind"] == "messages"
    assert "texts in parts" in report["methods"][0]["reason"]
    scope: dict[str, Any] = {}
    exec(report["load"] + report["methods"][0]["mapping"], scope)
    assert [turn["content"] for row in scope["dataset"] for turn in row["messages"]] == ["Hi", "Yo", "Hi", "Yo"]


def test_tools_of_different_forms(look: Look) -> None:
    tools = [
        [{"type": "function", "function": {"name": "add", "parameters": {name: {"type": "int"}}}}] for name in "ab"
    ]
    rows = [{"messages": [user("Hi"), bot("Yo")], "tools": tool} for tool in tools]
    assert status(look("d.jsonl", jsonl(rows)), "SFT") == "READY"
    encoded = [row | {"tools": json.dumps(row["tools"])} for row in rows]
    assert status(look("e.jsonl", jsonl(encoded)), "SFT") == "READY"


@pytest.mark.parametrize(("roles", "expected"), [(("human", "gpt"), "NEEDS MAPPING"), (("user", "assistant"), "READY")])
def test_turns_of_from_and_value(look: Look, roles: tuple[str, str], expected: str) -> None:
    turns = [{"from": role, "value": "a"} for role in roles]
    assert status(look("d.json", json.dumps([{"conversations": turns}]).encode()), "SFT") == expected


def test_images_are_not_decoded(look: Look) -> None:
    features = Features({"images": List(Image()), "picture": Image(), "prompt": Value("string")})
    rows = [{"images": [IMAGE], "picture": IMAGE, "prompt": "a"}]
    Dataset.from_list(rows, features=features).to_parquet("d.parquet")
    report = look("d.parquet")
    assert [column["kind"] for column in report["columns"]] == ["images", "image", "text"]


# --- shapes and names ---


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_five_thousand_columns(look: Look, form: str) -> None:
    row = {f"c{number}": number for number in range(4998)} | {"prompt": "a", "completion": "b"}
    report = look(f"d.{form}", jsonl([row]) if form == "jsonl" else parquet([row]))
    assert (len(report["columns"]), status(report, "SFT"), status(report, "DPO")) == (5000, "READY", "INCOMPATIBLE")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_structs_twenty_deep(look: Look, form: str) -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = {"a": deep}
    rows = [{"deep": deep, "text": "a"}]
    report = look(f"d.{form}", jsonl(rows) if form == "jsonl" else parquet(rows))
    assert [column["kind"] for column in report["columns"]] == ["struct", "text"]
    assert status(report, "SFT") == "READY"


def test_a_cell_of_a_hundred_megabytes(look: Look) -> None:
    report = look("d.parquet", parquet([{"text": "x" * 100_000_000}, {"text": "b"}]))
    assert status(report, "SFT") == "READY"
    assert len(report["columns"][0]["example"]) == 60


def test_bytes_where_text_is_expected(look: Look) -> None:
    report = look("d.parquet", parquet([{"text": b"\xfe"}]))
    assert "there is 'text' (bytes)" in report["methods"][0]["reason"]


def test_a_folder_with_a_pipe_in_it(look: Look) -> None:
    Path("data").mkdir()
    os.mkfifo("data/pipe.jsonl")
    Path("data/d.jsonl").write_bytes(jsonl(ROWS))
    assert look("data")["rows"] == 30


def test_lists_where_text_is_expected(look: Look) -> None:
    report = look("d.jsonl", jsonl([{"prompt": ["a"], "completion": ["b"], "text": [1], "messages": "no"}]))
    assert status(report, "SFT") != "READY"
    assert status(report, "DPO") == "INCOMPATIBLE"


HOSTILE = {
    "quotes": ("question'\"", "answer\\'"),
    "newlines": ("question\n\r\n", "\tanswer"),
    "markdown": ("# question | `x`", "**answer** [a](b)"),
    "emoji": ("question 🦄", "answer ✅"),
    "code": ('question"]; import os; os.abort() #', "answer']}{x}"),
    "format": ("{question}", "%s answer"),
    "control": ("question\x1b[2J", "answer\x07"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_names_are_data_in_the_printed_code(look: Look, kind: str, form: str) -> None:
    rows = [dict(zip(HOSTILE[kind], ("1+1?", "2"), strict=True))]
    report = look(f"d.{form}", jsonl(rows) if form == "jsonl" else parquet(rows))
    scope: dict[str, Any] = {}
    exec(report["load"] + report["methods"][0]["mapping"], scope)
    assert scope["dataset"][0]["completion"] == [{"role": "assistant", "content": "2"}]


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_stay_on_their_line(main: Script, kind: str) -> None:
    Path("d.jsonl").write_bytes(jsonl([dict.fromkeys(HOSTILE[kind], "\x1b]0;owned\x07")]))
    shown = main(NAME, "d.jsonl").stdout
    assert len(shown.partition("METHODS")[0].splitlines()) == 7  # source, rows, a gap, a title, two columns, a gap
    assert "\x1b" not in shown and "\x07" not in shown


# --- what cannot be read ---


def no_rows() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(schema={"text": pl.String}).write_parquet(buffer)
    return buffer.getvalue()


BROKEN = {
    "line.jsonl": b'{"a": 1}\n{"a": \n',
    "array.json": b'[{"a": 1}, {"a"',
    "magic.parquet": b"PAR1 this is no parquet",
    "footer.parquet": b"PAR1" + b"\0" * 100 + b"PAR1",
    "utf8.jsonl": b'{"a": "\xff"}\n',
    "empty.jsonl": b"",
    "empty.json": b"[]",
    "empty.csv": b"",
    "no-rows.csv": b"a,b\n",
    "no-rows.parquet": no_rows(),
    "cut.parquet": FORMS["d.parquet"][: len(FORMS["d.parquet"]) // 2],
    "no-bytes.parquet": b"",
    "latin.csv": b"a,b\n1,caf\xe9\n",
    "cells.csv": b"a,b\n1,2\n1,2,3\n",
    "twice.csv": b"a,a\n1,2\n",
    "gzip.csv.gz": b"no gzip",
}


@pytest.mark.parametrize("name", BROKEN)
def test_unreadable_data_is_exit_4_in_one_line(main: Script, name: str) -> None:
    Path(name).write_bytes(BROKEN[name])
    done = main(NAME, name)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: ")
    assert name in done.stderr
    assert len(done.stderr) < 700
    assert ". Fix: " in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
