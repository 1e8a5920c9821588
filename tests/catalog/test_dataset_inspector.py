"""dataset_inspector.py as a user meets it: its command line, its exit codes, the code that it prints, the Hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import tenacity
from datasets import Dataset
from huggingface_hub import HfFileSystem
from huggingface_hub.utils import close_session

from catalog.conftest import CATALOG, NOWHERE, Publish, Script, jsonl
from conftest import READ_TOKEN, TOKEN
from jobshelf.hub import Hub

NAME = "dataset_inspector.py"
ROWS = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}."} for n in range(30)]
CARD = b"""---
configs:
- config_name: main
  data_files:
  - split: test
    path: main/test-*
  - split: train
    path: main/train-*
- config_name: socratic
  default: true
  data_files:
  - split: train
    path: socratic/*.jsonl
---
"""
Done = subprocess.CompletedProcess[str]
Inspect = Callable[..., Done]


@pytest.fixture
def inspect(main: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Inspect:
    """`inspect("d.jsonl", token=TOKEN, endpoint=hub.endpoint)`: its main() in this process, in an empty folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def run(*words: str | Path, token: str = "", endpoint: str = NOWHERE) -> Done:
        monkeypatch.setattr("datasets.config.HF_ENDPOINT", endpoint)
        monkeypatch.setenv("HF_TOKEN", token)
        HfFileSystem.clear_instance_cache()
        close_session()
        return main(NAME, *words, env={"HF_ENDPOINT": endpoint})

    return run


def report(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def status(done: Done, method: str) -> str:
    return next(verdict["status"] for verdict in report(done)["methods"] if verdict["method"] == method)


def assert_stops(done: Done, code: int, said: str) -> None:
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert last.startswith("error: ") and ". Fix: " in last
    assert said in last


# --- the command line ---


def test_seed_command_line_and_labels(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    done = script(NAME, "--dataset", tmp_path / "d.jsonl", "--split", "train")
    assert done.returncode == 0
    assert "✗ NEEDS MAPPING" in done.stdout
    assert "✗ INCOMPATIBLE" in done.stdout
    assert "MAPPING CODE" in done.stdout
    assert done.stderr == ""


def test_json_can_be_printed_on_any_console(inspect: Inspect) -> None:
    Path("d.jsonl").write_bytes(jsonl([{"text 数": "🦄"}]))
    done = inspect("d.jsonl", "--json")
    assert done.stdout.isascii()
    assert report(done)["columns"][0]["name"] == "text 数"


def test_what_a_method_takes_is_ready(inspect: Inspect) -> None:
    Path("d.jsonl").write_bytes(jsonl([{"text": "a"}]))
    shown = inspect("d.jsonl").stdout
    assert "  SFT     ✓ READY          'text' (text)\n" in shown
    assert shown.endswith("\nMAPPING CODE: none, since no method needs it or no mapping would help\n")


def test_help_names_the_methods_and_imports_nothing_heavy() -> None:
    argv = [sys.executable, "-X", "importtime", CATALOG / NAME, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "SFT, DPO, GRPO, KTO, Reward" in done.stdout
    assert not imported & {"datasets", "fsspec", "httpx2", "huggingface_hub", "tenacity", "unittest", "yaml"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("--json",), 2),
        (("",), 2),
        (("a/b", "--dataset", "c/d"), 2),
        (("a/b", "--require", "ppo"), 2),
        (("a/b", "--samples", "0"), 2),
        (("a/b", "--no-such-flag"), 2),
        (("nothing",), 4),
        (("hf://models/a/b",), 4),
        (("./nothing.parquet",), 4),
    ],
)
def test_bad_command_lines(inspect: Inspect, words: tuple[str, ...], code: int) -> None:
    done = inspect(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert "error: " in done.stderr.splitlines()[-1]


def test_require_sets_the_exit_code(inspect: Inspect) -> None:
    Path("d.jsonl").write_bytes(jsonl(ROWS))
    done = inspect("--require", "sft", "--json", "d.jsonl")
    assert done.returncode == 4
    assert json.loads(done.stdout)["methods"][0]["status"] == "NEEDS MAPPING"
    assert done.stderr.startswith("error: SFT is required and is NEEDS MAPPING")
    assert inspect("d.jsonl", "--require", "dpo").stderr.endswith("Fix: use another dataset or method\n")


def test_runs_on_stdin_and_by_uv(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    words = ["uv", "run", "--no-project", "-", "d.jsonl", "--json"]
    text = (CATALOG / NAME).read_text(encoding="utf-8")
    done = subprocess.run(words, input=text, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert report(done)["rows"] == 30


# --- the printed code: each piece loads the rows, maps them and writes a file that is READY ---


def pieces(shown: str) -> dict[str, str]:
    """Return methods -> the code printed for them."""
    parts = shown.partition("\nMAPPING CODE\n")[2].split("# --- ")[1:]
    return dict(part.split(" ---\n", 1) for part in parts)


PRINTED = {
    "part [1].csv": ("prompt;completion;label\n1;2;0\n3;4;1\n5;6;\n", {"KTO"}),
    "alpaca?.jsonl": (
        jsonl([{"instruction": "Add", "input": "1 1", "output": "2"}, {"instruction": "Hi", "input": "", "output": "Yo"}]),
        {"SFT", "GRPO, RLOO"},
    ),
    "shared.json": (
        json.dumps([{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]),
        {"SFT", "GRPO, RLOO"},
    ),
    "tools.tsv": (
        'messages\ttools\n"[{""from"": ""human"", ""value"": ""a""}, {""from"": ""gpt"", ""value"": ""b""}]"\t[]\n',
        {"SFT", "GRPO, RLOO"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTED)
def test_printed_code_writes_a_file_that_is_ready(inspect: Inspect, name: str) -> None:
    content, expected = PRINTED[name]
    for other in ("part 1.csv", "alpaca1.jsonl"):  # what these names match as patterns
        Path(other).write_text("x\n1\n")
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    printed = pieces(inspect(name).stdout)
    assert printed.keys() == expected
    for methods, code in printed.items():
        exec(code, {})
        method = methods.partition(",")[0].lower()
        assert inspect(f"mapped-{method}.parquet", "--require", method).returncode == 0


def test_printed_code_loses_nothing_of_an_instruction(inspect: Inspect) -> None:
    Path("d.jsonl").write_bytes(PRINTED["alpaca?.jsonl"][0])
    exec(pieces(inspect("d.jsonl").stdout)["SFT"], {})
    made = Dataset.from_parquet("mapped-sft.parquet")
    assert [row["prompt"][0]["content"] for row in made] == ["Add\n\n1 1", "Hi"]


def test_printed_code_of_a_hub_dataset(inspect: Inspect, publish: Publish, hub: Hub) -> None:
    commit = publish("alice/d", {"train.jsonl": jsonl(ROWS)})
    publish("alice/d", {"train.jsonl": jsonl([{"x": 1}])})
    code = report(inspect("alice/d", "--json", endpoint=hub.endpoint))["load"]
    assert commit not in code
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["dataset"][:] == {"x": [1]}


# --- the Hub ---


def test_the_viewer_is_enough(inspect: Inspect, publish: Publish, hub: Hub) -> None:
    commit = publish("alice/d", {"train.jsonl": jsonl(ROWS * 5), "test.jsonl": jsonl(ROWS[:2])})
    hub.clear_journal()
    found = report(inspect("alice/d", "--json", endpoint=hub.endpoint))
    assert (found["read"], found["commit"], found["rows"], found["rows_read"]) == ("viewer", commit, 150, 100)
    assert [request.path.partition("?")[0] for request in hub.journal()] == ["/splits", "/rows"]
    whole = report(inspect("alice/d", "--samples", "150", "--json", endpoint=hub.endpoint))
    assert (whole["read"], whole["commit"], whole["rows_read"]) == ("files", commit, 150)
    assert whole["methods"] == found["methods"]


def test_configs_are_chosen_as_load_dataset_does(inspect: Inspect, publish: Publish, hub: Hub) -> None:
    files = {
        "main/train-00000-of-00001.jsonl": jsonl(ROWS),
        "main/test-00000-of-00001.jsonl": jsonl(ROWS[:3]),
        "socratic/a.jsonl": jsonl(ROWS[:7]),
    }
    publish("alice/d", files | {"README.md": CARD})
    for more in ((), ("--samples", "100")):
        assert report(inspect("alice/d", "--json", *more, endpoint=hub.endpoint))["rows"] == 7
    other = report(inspect("alice/d", "--config", "main", "--split", "test", "--json", endpoint=hub.endpoint))
    assert (other["config"], other["rows"]) == ("main", 3)
    publish("alice/d", {"README.md": CARD.replace(b"  default: true\n", b"")})
    assert report(inspect("alice/d", "--json", endpoint=hub.endpoint))["config"] == "main"


@pytest.mark.parametrize(
    "words", [("--config", "mian"), ("--split", "dev"), ("--config", "socratic", "--split", "test")]
)
def test_the_fix_for_a_split_that_is_missing(
    inspect: Inspect, publish: Publish, hub: Hub, words: tuple[str, ...]
) -> None:
    publish("alice/d", {"main/test-0.jsonl": jsonl(ROWS), "socratic/a.jsonl": jsonl(ROWS), "README.md": CARD})
    done = inspect("alice/d", *words, endpoint=hub.endpoint)
    assert_stops(done, 4, "it has: main/test, socratic/train")
    fix = done.stderr.rstrip().partition(". Fix: add ")[2].split()
    assert report(inspect("alice/d", *fix, "--json", endpoint=hub.endpoint))["rows"] == 30


FAULTS = {
    "splits 500": {"path": "^/splits", "status": 500},
    "splits 501": {"path": "^/splits", "status": 501},
    "rows 429": {"path": "^/rows", "status": 429},
    "rows reset": {"path": "^/rows", "kind": "reset"},
    "rows slow": {"path": "^/rows", "kind": "delay", "seconds": 3600},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_without_the_viewer_the_rows_are_read(
    inspect: Inspect, publish: Publish, hub: Hub, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("alice/d", {"train.jsonl": jsonl(ROWS)})
    hub.fail(method="GET", times=9, **FAULTS[fault])
    inspect()  # so that the module is there
    monkeypatch.setattr(sys.modules["dataset_inspector"], "VIEWER_TIMEOUT_S", 0.5)
    done = inspect("alice/d", "--json", endpoint=hub.endpoint)
    assert (report(done)["read"], report(done)["rows"]) == ("files", 30)
    assert "note: nothing from the dataset viewer" in done.stderr


SPLITS = {"splits": [{"config": "default", "split": "train"}]}
NONSENSE: tuple[Any, ...] = (
    {},
    [],
    {"splits": None},
    {"splits": "all"},
    {"splits": []},
    {"splits": [1]},
    {"splits": [{"config": "default"}]},
    SPLITS,  # and the same answer where rows are asked for
    SPLITS | {"rows": [{"row": 1}]},
    SPLITS | {"rows": [{"row": {"a": "a…"}, "truncated_cells": ["a"]}], "num_rows_total": 1},
    {"splits": [{"config": "a", "split": "train"}, {"config": "c", "split": "d"}], "cardData": ["x"]},
)


@pytest.mark.parametrize("number", range(len(NONSENSE)))
def test_a_viewer_that_answers_nonsense(inspect: Inspect, number: int) -> None:
    body, asked = json.dumps(NONSENSE[number]).encode(), []

    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.partition("?")[0])
            known = self.path.startswith(("/splits", "/rows")) or len(asked) == 2
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Nonsense) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        done = inspect("alice/d", endpoint=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert (done.returncode in {3, 4}, done.stdout) == (True, "")
    assert "note: nothing from the dataset viewer" in done.stderr
    assert asked[-1] == "/api/datasets/alice/d"  # then it is looked for among the datasets themselves


def test_private_datasets_need_a_token(inspect: Inspect, publish: Publish, hub: Hub) -> None:
    publish("alice/d", {"train.jsonl": jsonl(ROWS)}, private=True)
    seen = inspect("alice/d", "--json", token=TOKEN, endpoint=hub.endpoint)
    assert report(seen)["rows"] == 30
    stranger, unseen = (inspect("alice/d", token=token, endpoint=hub.endpoint) for token in (READ_TOKEN, ""))
    assert_stops(stranger, 4, "the Hub answered 404 for alice/d")
    assert_stops(unseen, 3, "hf auth login")
    assert_stops(inspect("alice/d", token="hf_wrongwrongwrong", endpoint=hub.endpoint), 4, "the Hub answered 401")
    said = seen.stdout + seen.stderr + stranger.stderr + unseen.stderr
    assert all(token not in said for token in (TOKEN, READ_TOKEN))


def test_a_hub_that_is_away(inspect: Inspect, publish: Publish, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(tenacity, "time", clock)
    monkeypatch.setattr(tenacity.nap, "time", clock)
    publish("alice/d", {"train.jsonl": jsonl(ROWS)})
    hub.fail(method="GET", path="^/splits", status=503)
    hub.fail(method="GET", path="^/api/datasets/alice/d", status=503, times=2)
    assert report(inspect("alice/d", "--json", endpoint=hub.endpoint))["rows"] == 30
    done = inspect("alice/d", token=TOKEN, endpoint=NOWHERE)
    assert_stops(done, 5, "no success within two minutes")
    assert TOKEN not in done.stderr


READY_TO_MAP = {
    "gsm8k_test": {"SFT", "GRPO", "RLOO"},
    "gsm8k_model_solutions": {"SFT", "GRPO", "RLOO"},
    "sharegpt_conversations": {"SFT", "GRPO", "RLOO"},
    "mt_bench_questions": {"GRPO", "RLOO"},
}


@pytest.mark.parametrize("name", READY_TO_MAP)
def test_real_rows_in_several_layouts(
    inspect: Inspect, publish: Publish, hub: Hub, real_rows: Callable[[str], list[dict[str, Any]]], name: str
) -> None:
    rows = real_rows(name)[:40]
    pl.DataFrame(rows).write_parquet("d.parquet")
    publish("alice/parquet", {"data/train-00000-of-00001.parquet": Path("d.parquet").read_bytes()})
    publish("alice/jsonl", {"train.jsonl": jsonl(rows)})
    publish("alice/private", {"train.jsonl": jsonl(rows)}, private=True)
    for place in ("d.parquet", "alice/parquet", "alice/jsonl", "alice/private"):
        found = report(inspect(place, "--json", token=TOKEN, endpoint=hub.endpoint))
        assert found["rows"] == 40
        assert [column["name"] for column in found["columns"]] == list(
            dict.fromkeys(key for row in rows for key in row)
        )
        mapped = {verdict["method"] for verdict in found["methods"] if verdict["status"] == "NEEDS MAPPING"}
        assert mapped == READY_TO_MAP[name], place
