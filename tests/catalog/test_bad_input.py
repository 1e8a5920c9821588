"""Bad input to each of the scripts that read data: a clear verdict or one clear line, the right code, no traceback.

In this process, through each script's own main(): what is judged is what the scripts make of files, a hundred times.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest

from catalog.conftest import NOWHERE, Script, jsonl

SIZE = ("--model", "8B", "--json", "--dataset")
COLUMNS = ("--json", "--group-by", "g", "--value", "v", "--score", "s")
SCRIPTS = {"dataset_inspector": ("--json",), "estimate_cost": SIZE, "finepdfs-stats": COLUMNS}
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

# file, what it holds, then the outcome of the inspector, of the estimate and of the statistics.
TABLE: dict[str, tuple[str, Callable[[], bytes], Outcome, Outcome, Outcome]] = {
    "no bytes": ("d.jsonl", lambda: b"", (4, "has no rows"), (4, "has no rows"), (4, "has no rows")),
    "no bytes of csv": ("d.csv", lambda: b"", (4, "has no rows"), (4, "has no rows"), (4, "has no rows")),
    "names but no rows": (
        "d.csv",
        lambda: csv("g,v,s,text\n"),
        (4, "has no rows"),
        (4, "has no rows"),
        (4, "has no rows"),
    ),
    "columns but no rows": (
        "d.parquet",
        lambda: parquet(schema={"g": pl.String, "v": pl.Int64, "s": pl.Float64, "text": pl.String}),
        (4, "has no rows"),
        (4, "has no rows"),
        (4, "has no rows"),
    ),
    "one row": ("d.jsonl", lambda: jsonl([ROW]), (0, '"rows": 1'), (0, '"rows": 1'), (0, '"rows": 1')),
    "one column": (
        "d.jsonl",
        lambda: jsonl([{"text": "a b c"}]),
        (0, "READY"),
        (0, '"rows": 1'),
        (4, "has no column g, v, s; it has: text"),
    ),
    "5,000 columns": (
        "d.parquet",
        lambda: parquet(ROW | {f"c{number}": number for number in range(4996)}),
        (0, '"c4995"'),
        (0, '"rows": 1'),
        (0, '"rows": 1'),
    ),
    "structs 20 deep": (
        "d.parquet",
        lambda: parquet(ROW | {"deep": deep(20)}),
        (0, '"struct"'),
        (0, '"rows": 1'),
        (0, '"rows": 1'),
    ),
    "structs 20 deep for a group": (
        "d.jsonl",
        lambda: jsonl([ROW | {"g": deep(20)}]),
        (0, '"struct"'),
        (0, '"rows": 1'),
        (4, "the column g of d.jsonl is Struct("),
    ),
    "a cell of 100 MB": (
        "d.parquet",
        lambda: parquet(ROW, ROW | {"text": "x" * HUGE}),
        (0, f'"max": {HUGE}'),
        (0, '"rows": 2'),
        (0, '"rows": 2'),
    ),
    "names of every kind": (
        "d.parquet",
        lambda: parquet(ROW | HOSTILE),
        (0, '"# g | `h` **i**"'),
        (0, '"rows": 1'),
        (0, '"rows": 1'),
    ),
    "lists where strings are expected": (
        "d.jsonl",
        lambda: jsonl([{"g": ["a"], "v": 1, "s": 1, "text": ["b"], "prompt": [1]}]),
        (0, "INCOMPATIBLE"),
        (0, '"rows": 1'),
        (4, "the column g of d.jsonl is List(String), expected text, numbers or dates"),
    ),
    "lists where numbers are expected": (
        "d.jsonl",
        lambda: jsonl([ROW | {"v": ["a"]}]),
        (0, "READY"),
        (0, '"rows": 1'),
        (4, "the column v of d.jsonl is List(String), expected numbers"),
    ),
    "lengths of time for a group": (
        "d.parquet",
        lambda: parquet(
            ROW | {"g": None}, schema={"g": pl.Duration, "v": pl.Int64, "s": pl.Float64, "text": pl.String}
        ),
        (0, '"g"'),
        (0, '"rows": 1'),
        (4, "the column g of d.parquet is Duration"),
    ),
    "bytes where strings are expected": (
        "d.parquet",
        lambda: parquet({"g": b"\xff", "v": 1, "s": 1.0, "text": b"\xfe"}),
        (0, "'text' holds bytes"),
        (4, "hold no text"),
        (4, "the column g of d.parquet is Binary"),
    ),
    "a line that is not UTF-8": (
        "d.jsonl",
        lambda: jsonl([ROW]) + b'{"g": "\xff", "v": 1, "s": 1, "text": "a"}\n',
        (4, "d.jsonl is not readable jsonl"),
        (4, "d.jsonl is not readable jsonl"),
        (4, "d.jsonl is not readable jsonl"),
    ),
    "a csv that is not UTF-8": (
        "d.csv",
        lambda: csv("g,v,s,text\n") + b"a,1,1,caf\xe9\n",
        (4, "d.csv is not readable csv"),
        (4, "d.csv is not readable csv"),
        (4, "d.csv is not readable csv"),
    ),
    "a line that is not JSON": (
        "d.jsonl",
        lambda: jsonl([ROW]) + b'{"g": \n',
        (4, "line 2 is not JSON"),
        (4, "line 2 is not JSON"),
        (4, "d.jsonl is not readable jsonl"),
    ),
    "a footer that is broken": (
        "d.parquet",
        lambda: WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1",
        (4, "d.parquet is not readable parquet"),
        (4, "d.parquet is not readable parquet"),
        (4, "d.parquet is not readable parquet"),
    ),
    "a footer that is cut off": (
        "d.parquet",
        lambda: WHOLE[: len(WHOLE) // 2],
        (4, "d.parquet is not readable parquet"),
        (4, "d.parquet is not readable parquet"),
        (4, "d.parquet is not readable parquet"),
    ),
    "parquet of no bytes": (
        "d.parquet",
        lambda: b"",
        (4, "d.parquet"),
        (4, "d.parquet"),
        (4, "d.parquet"),
    ),
    "more cells than names": (
        "d.csv",
        lambda: csv("g,v,s,text\na,1,1,b,c\n"),
        (4, "more fields than defined"),
        (4, "more fields than defined"),
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


@pytest.mark.parametrize(
    "words",
    [
        ("--high", "nan"),
        ("--high", "inf"),
        ("--commit-every", "nan"),
        ("--limit", "0"),
        ("--group-by", ""),
        ("--score", " "),
        ("--output-repo", ""),
        ("--shard", ""),
    ],
    ids=" ".join,
)
def test_statistics_of_nonsense_are_usage_errors(run: Run, here: Path, words: tuple[str, str]) -> None:
    (here / "d.jsonl").write_bytes(jsonl([ROW]))
    done = run("finepdfs-stats", "d.jsonl", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {words[0]}" in done.stderr


def test_options_may_stand_between_input_and_output(run: Run, here: Path) -> None:
    (here / "d.jsonl").write_bytes(jsonl([ROW]))
    done = run("finepdfs-stats", "d.jsonl", "--limit", "1", "./out", "--dry-run")
    assert (done.returncode, json.loads(done.stdout)["output"]) == (0, "./out")
    done = run("dataset_inspector", "d.jsonl", "--samples", "3", "d.jsonl")
    assert [report["rows"] for report in json.loads(done.stdout)["datasets"]] == [1, 1]


def test_a_group_whose_name_is_100_mb(run: Run, here: Path) -> None:
    (here / "d.parquet").write_bytes(parquet(ROW | {"g": "x" * HUGE}))
    done = run("finepdfs-stats", "d.parquet", as_json=False)
    assert (done.returncode, "x" * 80 in done.stdout) == (0, True)
    assert max(map(len, done.stdout.splitlines())) < 300


def test_hardware_that_is_empty_is_answered_with_the_nearest(run: Run, here: Path) -> None:
    (here / "d.jsonl").write_bytes(jsonl([ROW]))
    assert_outcome(run("estimate_cost", "d.jsonl", "--hardware", ""), 2, "there is no flavor ''")


NONSENSE = (
    {},
    {"splits": None},
    {"splits": "all"},
    {"splits": [1]},
    {"splits": [{"config": "default"}]},
    {"splits": [{"config": "default", "split": "train"}]},  # and the same answer where rows are asked for
    {"splits": [{"config": "default", "split": "train"}], "rows": [{"row": 1}], "features": []},
    {"splits": [{"config": "default", "split": "train"}], "rows": [], "features": [{"type": 1}]},
    {"splits": [{"config": "a", "split": "b"}, {"config": "c", "split": "d"}], "cardData": ["x"]},
)


@pytest.mark.parametrize("number", range(len(NONSENSE)))
def test_a_viewer_that_answers_nonsense_is_done_without(run: Run, number: int) -> None:
    body = json.dumps(NONSENSE[number]).encode()
    asked = []

    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.partition("?")[0])
            is_known = self.path.startswith(("/splits", "/rows")) or "cardData" in NONSENSE[number]
            self.send_response(200 if is_known and len(asked) < 4 else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Nonsense) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        done = run("dataset_inspector", "alice/d", endpoint=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert_outcome(done, 5, "the Hub answered 404 for alice/d")  # it is then looked for among the files
    assert asked[-1] == "/api/datasets/alice/d"
