"""Bad input to each of the scripts that read data: a clear verdict or one clear line, the right code, no traceback.

In this process, through each script's own main(): what is judged is what the scripts make of files, a hundred times.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalog.conftest import NOWHERE, Script, jsonl

SIZE = ("--model", "8B", "--json", "--dataset")
SCRIPTS = {"estimate_cost": SIZE}
ROW: dict[str, Any] = {"g": "a", "v": 1, "s": 0.5, "text": "b"}
Outcome = tuple[int, str]  # the exit code, and what is said: in the report where the code is 0, else in the last line


Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def run(main: Script) -> Run:
    """`run("estimate_cost", "d.jsonl")`: the script with its usual options, without a network."""

    def start(name: str, *words: str, as_json: bool = True, endpoint: str = NOWHERE) -> Done:
        usual = [word for word in SCRIPTS[name] if as_json or word != "--json"]
        return main(f"{name}.py", *usual, *words, env={"HF_ENDPOINT": endpoint})

    return start


@pytest.fixture
def here(run: Run) -> Path:
    """The folder in which the scripts run."""
    return Path.cwd()


def parquet(*rows: dict[str, Any], schema: dict[str, Any] | None = None) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(list(rows), schema=schema).write_parquet(buffer)
    return buffer.getvalue()


def deep(levels: int) -> Any:
    return {"a": deep(levels - 1)} if levels else "x"


def csv(text: str) -> bytes:
    return text.encode()


WHOLE = parquet(ROW, ROW)
HUGE = 100_000_000
HOSTILE = {'a"b': "x", "c'd\\": "x", "e\nf\r": "x", "# g | `h` **i**": "x", "🦄": "x", "{x}%s": "x", "": "x"}

# file, what it holds, then the outcome of the estimate.
TABLE: dict[str, tuple[str, Callable[[], bytes], Outcome]] = {
    "no bytes": ("d.jsonl", lambda: b"", (4, "has no rows")),
    "no bytes of csv": ("d.csv", lambda: b"", (4, "has no rows")),
    "names but no rows": (
        "d.csv",
        lambda: csv("g,v,s,text\n"),
        (4, "has no rows"),
    ),
    "columns but no rows": (
        "d.parquet",
        lambda: parquet(schema={"g": pl.String, "v": pl.Int64, "s": pl.Float64, "text": pl.String}),
        (4, "has no rows"),
    ),
    "one row": ("d.jsonl", lambda: jsonl([ROW]), (0, '"rows": 1')),
    "one column": (
        "d.jsonl",
        lambda: jsonl([{"text": "a b c"}]),
        (0, '"rows": 1'),
    ),
    "5,000 columns": (
        "d.parquet",
        lambda: parquet(ROW | {f"c{number}": number for number in range(4996)}),
        (0, '"rows": 1'),
    ),
    "structs 20 deep": (
        "d.parquet",
        lambda: parquet(ROW | {"deep": deep(20)}),
        (0, '"rows": 1'),
    ),
    "structs 20 deep for a group": (
        "d.jsonl",
        lambda: jsonl([ROW | {"g": deep(20)}]),
        (0, '"rows": 1'),
    ),
    "a cell of 100 MB": (
        "d.parquet",
        lambda: parquet(ROW, ROW | {"text": "x" * HUGE}),
        (0, '"rows": 2'),
    ),
    "names of every kind": (
        "d.parquet",
        lambda: parquet(ROW | HOSTILE),
        (0, '"rows": 1'),
    ),
    "lists where strings are expected": (
        "d.jsonl",
        lambda: jsonl([{"g": ["a"], "v": 1, "s": 1, "text": ["b"], "prompt": [1]}]),
        (0, '"rows": 1'),
    ),
    "lists where numbers are expected": (
        "d.jsonl",
        lambda: jsonl([ROW | {"v": ["a"]}]),
        (0, '"rows": 1'),
    ),
    "lengths of time for a group": (
        "d.parquet",
        lambda: parquet(
            ROW | {"g": None}, schema={"g": pl.Duration, "v": pl.Int64, "s": pl.Float64, "text": pl.String}
        ),
        (0, '"rows": 1'),
    ),
    "bytes where strings are expected": (
        "d.parquet",
        lambda: parquet({"g": b"\xff", "v": 1, "s": 1.0, "text": b"\xfe"}),
        (4, "hold no text"),
    ),
    "a line that is not UTF-8": (
        "d.jsonl",
        lambda: jsonl([ROW]) + b'{"g": "\xff", "v": 1, "s": 1, "text": "a"}\n',
        (4, "d.jsonl is not readable jsonl"),
    ),
    "a csv that is not UTF-8": (
        "d.csv",
        lambda: csv("g,v,s,text\n") + b"a,1,1,caf\xe9\n",
        (4, "d.csv is not readable csv"),
    ),
    "a line that is not JSON": (
        "d.jsonl",
        lambda: jsonl([ROW]) + b'{"g": \n',
        (4, "d.jsonl is not readable jsonl"),
    ),
    "a footer that is broken": (
        "d.parquet",
        lambda: WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1",
        (4, "d.parquet is not readable parquet"),
    ),
    "a footer that is cut off": (
        "d.parquet",
        lambda: WHOLE[: len(WHOLE) // 2],
        (4, "d.parquet is not readable parquet"),
    ),
    "parquet of no bytes": (
        "d.parquet",
        lambda: b"",
        (4, "d.parquet"),
    ),
    "more cells than names": (
        "d.csv",
        lambda: csv("g,v,s,text\na,1,1,b,c\n"),
        (4, "more fields than defined"),
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("case", TABLE)
def test_bad_input(run: Run, here: Path, name: str, case: str) -> None:
    file, data, *outcomes = TABLE[case]
    (here / file).write_bytes(data())
    code, said = outcomes[list(SCRIPTS).index(name)]
    assert_outcome(run(name, file), code, said)


def assert_outcome(done: Done, code: int, said: str) -> None:
    assert done.returncode == code, done.stderr
    if code == 0:
        assert said in done.stdout
        json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
        return
    last = done.stderr.splitlines()[-1]
    assert done.stdout == ""
    assert last.startswith("error: ") and "Fix: " in last
    assert said in last
    assert len(last) < 500, "nobody reads that"


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nothing",), 2),
        (("./nothing.parquet",), 4),
        (("hf://models/a/b",), 2),
        (("hf://datasets/a",), 2),
        (("d.jsonl", "--revision", "main"), 2),
        (("d.jsonl", "--split", "test"), 4),
        (("d.jsonl", "--config", "other"), 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_inputs_that_are_not_there(run: Run, here: Path, name: str, words: tuple[str, ...], code: int) -> None:
    (here / "d.jsonl").write_bytes(jsonl([ROW]))
    assert_outcome(run(name, *words), code, "Fix: ")


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_empty_word_is_a_usage_error(run: Run, here: Path, name: str) -> None:
    (here / "d.jsonl").write_bytes(jsonl([ROW]))  # "" must not stand for the folder that it happens to run in
    done = run(name, "")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_folder_with_more_than_files_in_it(run: Run, here: Path, name: str) -> None:
    (here / "data/folder.parquet").mkdir(parents=True)
    (here / "data/d.jsonl").write_bytes(jsonl([ROW]))
    os.mkfifo(here / "data/pipe.jsonl")
    assert_outcome(run(name, "data"), 0, '"rows": 1')


def test_hardware_that_is_empty_is_answered_with_the_nearest(run: Run, here: Path) -> None:
    (here / "d.jsonl").write_bytes(jsonl([ROW]))
    assert_outcome(run("estimate_cost", "d.jsonl", "--hardware", ""), 2, "there is no flavor ''")
