"""dataset_inspector.py on input that is strange, broken or hostile: a verdict or one clear line, never a traceback."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from datasets import Dataset
from huggingface_hub import HfApi
from jsonschema import Draft202012Validator
from tokenizers import Tokenizer, models, pre_tokenizers

from catalog.conftest import CATALOG, Publish, Script, jsonl
from conftest import TOKEN
from jobshelf.hub import Hub

NAME = "dataset_inspector.py"
ROWS = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}."} for n in range(30)]
Report = dict[str, Any]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def status(report: Report, method: str) -> str:
    return next(verdict["status"] for verdict in report["methods"] if verdict["method"] == method)


@pytest.fixture
def look(script: Script, tmp_path: Path) -> Callable[..., Report]:
    """`look("d.jsonl", data)`: write the file, inspect it, return the report."""

    def run(name: str, data: bytes, *words: str) -> Report:
        (tmp_path / name).write_bytes(data)
        done = script(NAME, tmp_path / name, "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def anonymous(environment: dict[str, str], hub: Hub) -> dict[str, str]:
    return environment | {"HF_ENDPOINT": hub.endpoint}


# --- shapes ---


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_five_thousand_columns(look: Callable[..., Report], form: str) -> None:
    row = {f"c{number}": number for number in range(4998)} | {"prompt": "a", "completion": "b"}
    report = look(f"d.{form}", jsonl([row]) if form == "jsonl" else parquet([row]))
    assert (len(report["columns"]), status(report, "SFT"), status(report, "DPO")) == (5000, "READY", "INCOMPATIBLE")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_structs_twenty_deep(look: Callable[..., Report], form: str) -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = {"a": deep}
    rows = [{"deep": deep, "text": "a"}]
    report = look(f"d.{form}", jsonl(rows) if form == "jsonl" else parquet(rows))
    assert [column["kind"] for column in report["columns"]] == ["struct", "text"]
    assert status(report, "SFT") == "READY"


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_a_cell_of_a_hundred_megabytes(look: Callable[..., Report], form: str) -> None:
    rows = [{"text": "x" * 100_000_000}, {"text": "b"}]
    data = {"jsonl": jsonl, "parquet": parquet, "json": lambda rows: json.dumps(rows).encode()}[form](rows)
    report = look(f"d.{form}", data)
    assert report["columns"][0]["characters"] == {"p50": 1, "p95": 100_000_000, "max": 100_000_000}
    assert len(report["columns"][0]["example"]) == 60


def test_one_row_and_one_column(look: Callable[..., Report]) -> None:
    report = look("d.jsonl", jsonl([{"x": 1}]))
    assert report["rows"] == 1
    assert {verdict["status"] for verdict in report["methods"]} == {"INCOMPATIBLE"}


def test_lists_where_text_is_expected(look: Callable[..., Report]) -> None:
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
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_are_data_in_the_printed_code(look: Callable[..., Report], kind: str) -> None:
    asked, answered = HOSTILE[kind]
    rows = [{asked: "1+1?", answered: "2"}]
    report = look("d.jsonl", jsonl(rows))
    scope: dict[str, Any] = {"dataset": Dataset.from_list(rows)}
    exec(next(verdict["mapping"] for verdict in report["methods"] if verdict["method"] == "SFT"), scope)
    assert scope["dataset"][0]["completion"] == [{"role": "assistant", "content": "2"}]


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_stay_on_their_line(script: Script, tmp_path: Path, kind: str) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl([dict.fromkeys(HOSTILE[kind], "a")]))
    shown = script(NAME, tmp_path / "d.jsonl").stdout
    assert len(shown.partition("METHODS")[0].splitlines()) == 7  # source, rows, a gap, a title, two columns, a gap


# --- what is measured ---


def test_lengths_duplicates_and_tokens(look: Callable[..., Report], tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "a": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = [{"text": "a " * n, "chat": [{"role": "user", "content": "a b c"}]} for n in (1, 1, 2, 20)]
    report = look("d.jsonl", jsonl(rows), "--tokenizer", str(tmp_path))
    text, chat = report["columns"]
    assert (text["characters"], text["tokens"]) == ({"p50": 2, "p95": 40, "max": 40}, {"p50": 1, "p95": 20, "max": 20})
    assert (chat["characters"]["max"], chat["tokens"]["max"]) == (5, 3)
    assert report["duplicates"] == 1


def test_a_tokenizer_that_is_none_is_exit_4(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "tokenizer.json").write_text("{}")
    done = script(NAME, tmp_path / "d.jsonl", "--tokenizer", tmp_path / "tokenizer.json")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: --tokenizer")


def test_reports_follow_the_schema(script: Script, tmp_path: Path) -> None:
    validator = Draft202012Validator(json.loads(script(NAME, "--json-schema").stdout))
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "t.jsonl").write_bytes(jsonl([{"text": None}, {"text": "a"}]))
    lines = [
        [tmp_path / "d.jsonl"],
        [tmp_path / "t.jsonl", "--dry-run"],
        [tmp_path / "d.jsonl", tmp_path / "t.jsonl", "./missing.jsonl"],
    ]
    for words in lines:
        validator.validate(json.loads(script(NAME, *words, "--json").stdout))
    report = json.loads(script(NAME, tmp_path / "d.jsonl", "--json").stdout)
    assert not validator.is_valid(report | {"rows": "30"})
    assert not validator.is_valid(report | {"more": 1})


def test_several_datasets_in_one_call(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "t.jsonl").write_bytes(jsonl([{"text": "a"}]))
    both = script(NAME, tmp_path / "t.jsonl", "--dataset", tmp_path / "d.jsonl", "--json")
    assert both.returncode == 0
    assert [status(report, "SFT") for report in json.loads(both.stdout)["datasets"]] == ["READY", "NEEDS MAPPING"]
    done = script(NAME, tmp_path / "t.jsonl", "./missing.jsonl", tmp_path / "d.jsonl", "--require", "sft")
    assert done.returncode == 4
    assert "found no file or folder './missing.jsonl'" in done.stdout
    assert "SFT is required and is NEEDS MAPPING" in done.stderr
    assert done.stdout.count("COLUMNS") == 2


# --- on the Hub ---


def test_the_viewer_is_enough(script: Script, publish: Publish, anonymous: dict[str, str], hub: Hub) -> None:
    commit = publish("alice/d", {"train.jsonl": jsonl(ROWS), "test.jsonl": jsonl(ROWS[:2])})
    hub.clear_journal()
    report = json.loads(script(NAME, "alice/d", "--json", env=anonymous).stdout)
    assert (report["format"], report["commit"], report["rows"]) == ("viewer", commit, 30)
    assert [request.path.partition("?")[0] for request in hub.journal()] == ["/splits", "/rows"]
    by_file = json.loads(script(NAME, "hf://datasets/alice/d/train.jsonl", "--json", env=anonymous).stdout)
    assert by_file["format"] == "jsonl"
    assert by_file["methods"] == report["methods"]


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "^/splits", "status": 500},
        {"path": "^/splits", "status": 501},
        {"path": "^/rows", "status": 429},
        {"path": "^/rows", "status": 500},
        {"path": "^/rows", "kind": "reset"},
    ],
    ids=lambda fault: f"{fault['path'][2:]}-{fault.get('status', 'reset')}",
)
def test_a_viewer_that_is_down_is_done_without(
    script: Script, publish: Publish, anonymous: dict[str, str], hub: Hub, fault: dict[str, Any]
) -> None:
    publish("alice/d", {"train.parquet": parquet(ROWS)})
    hub.fail(method="GET", times=9, **fault)
    done = script(NAME, "alice/d", "--json", env=anonymous)
    report = json.loads(done.stdout)
    assert (done.returncode, report["format"], report["rows"]) == (0, "parquet", 30)
    assert "reading the files instead" in done.stderr
    assert done.stderr.count("\n") == 1


READY_TO_MAP = {
    "gsm8k_test": {"SFT", "GRPO", "RLOO", "Prompt-only"},
    "gsm8k_model_solutions": {"SFT", "DPO", "GRPO", "KTO", "Reward", "RLOO", "Prompt-only"},
    "sharegpt_conversations": {"SFT", "GRPO", "RLOO", "Prompt-only"},
    "mt_bench_questions": {"GRPO", "RLOO", "Prompt-only"},
}


@pytest.mark.parametrize("name", READY_TO_MAP)
def test_real_rows_in_several_layouts(
    script: Script,
    publish: Publish,
    anonymous: dict[str, str],
    real_rows: Callable[[str], list[dict[str, Any]]],
    name: str,
) -> None:
    rows = real_rows(name)[:40]
    card = b"---\nconfigs:\n- {config_name: a, data_files: a.jsonl}\n- {config_name: b, default: true, data_files: b/x.parquet}\n---\n"
    publish("alice/parquet", {"data/train-00000-of-00001.parquet": parquet(rows)})
    publish("alice/jsonl", {"train.jsonl": jsonl(rows)})
    publish("alice/configs", {"README.md": card, "a.jsonl": jsonl([{"x": 1}]), "b/x.parquet": parquet(rows)})
    publish("alice/eval", {"test.jsonl": jsonl(rows)})
    publish("alice/private", {"train.jsonl": jsonl(rows)}, private=True)
    layouts = ["alice/parquet", "alice/jsonl", "alice/configs", "alice/eval", "alice/private"]
    done = script(NAME, *layouts, "--json", env=anonymous | {"HF_TOKEN": TOKEN})
    reports = json.loads(done.stdout)["datasets"]
    assert [(report["config"], report["split"], report["private"]) for report in reports] == [
        ("default", "train", False),
        ("default", "train", False),
        ("b", "train", False),
        ("default", "test", False),
        ("default", "train", True),
    ]
    assert all(report["rows"] == 40 for report in reports)
    for report in reports:
        mapped = {verdict["method"] for verdict in report["methods"] if verdict["status"] == "NEEDS MAPPING"}
        assert mapped == READY_TO_MAP[name], report["dataset"]


@pytest.mark.parametrize("name", READY_TO_MAP)
def test_printed_code_makes_the_published_rows_ready(
    script: Script,
    publish: Publish,
    anonymous: dict[str, str],
    real_rows: Callable[[str], list[dict[str, Any]]],
    name: str,
) -> None:
    publish("alice/raw", {"test.jsonl": jsonl(real_rows(name)[:40])})
    report = json.loads(script(NAME, "alice/raw", "--json", env=anonymous).stdout)
    files, methods = {}, []
    for verdict in report["methods"]:
        if verdict["mapping"]:
            scope: dict[str, Any] = {"dataset": Dataset.from_list(real_rows(name)[:40])}
            exec(verdict["mapping"], scope)
            files[f"{len(methods)}.parquet"] = parquet(list(scope["dataset"]))
            methods.append(verdict["method"])
    publish("alice/mapped", files)
    places = [f"hf://datasets/alice/mapped/{file}" for file in files]
    mapped = json.loads(script(NAME, *places, "--json", env=anonymous).stdout)["datasets"]
    assert [status(one, method) for one, method in zip(mapped, methods, strict=True)] == ["READY"] * len(methods)


@pytest.mark.parametrize("what", ["splits", "rows"])
def test_a_viewer_that_is_too_slow_is_done_without(
    publish: Publish, anonymous: dict[str, str], hub: Hub, tmp_path: Path, what: str
) -> None:
    publish("alice/d", {"train.parquet": parquet(ROWS)})
    hub.fail(method="GET", path=f"^/{what}", kind="delay", seconds=3600)
    impatient = tmp_path / NAME
    text = (CATALOG / NAME).read_text(encoding="utf-8")
    assert "VIEWER_TIMEOUT_S = 10\n" in text
    impatient.write_text(text.replace("VIEWER_TIMEOUT_S = 10\n", "VIEWER_TIMEOUT_S = 0.5\n"), encoding="utf-8")
    argv = [sys.executable, impatient, "alice/d", "--json"]
    done = subprocess.run(argv, env=anonymous, capture_output=True, text=True, timeout=60)
    assert (json.loads(done.stdout)["format"], json.loads(done.stdout)["rows"]) == ("parquet", 30)
    assert "the dataset viewer has no answer (timed out): reading the files instead" in done.stderr


# --- a tokenizer on the Hub ---


@pytest.fixture
def tokenizer(client: HfApi, tmp_path: Path) -> Callable[..., None]:
    """`tokenizer("alice/m", private=True)`: a model repository with a tokenizer that counts words."""

    def push(repo_id: str, *, private: bool = False) -> None:
        words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.save(str(tmp_path / "tokenizer.json"))
        client.create_repo(repo_id, private=private)
        client.upload_file(path_or_fileobj=tmp_path / "tokenizer.json", path_in_repo="tokenizer.json", repo_id=repo_id)

    return push


def test_tokens_by_a_tokenizer_of_the_hub(
    script: Script, publish: Publish, anonymous: dict[str, str], tokenizer: Callable[..., None]
) -> None:
    tokenizer("alice/public")
    tokenizer("alice/private", private=True)
    publish("alice/d", {"train.jsonl": jsonl([{"text": "a b c"}, {"text": "a"}])})
    for model, env in (("alice/public", anonymous), ("alice/private", anonymous | {"HF_TOKEN": TOKEN})):
        report = json.loads(script(NAME, "alice/d", "--tokenizer", model, "--json", env=env).stdout)
        assert report["columns"][0]["tokens"] == {"p50": 1, "p95": 3, "max": 3}


def test_a_tokenizer_that_is_not_to_be_had(
    script: Script, publish: Publish, anonymous: dict[str, str], tokenizer: Callable[..., None]
) -> None:
    publish("alice/d", {"train.jsonl": jsonl(ROWS)})
    tokenizer("alice/private", private=True)
    for model in ("alice/nothing", "alice/private"):
        done = script(NAME, "alice/d", "--tokenizer", model, env=anonymous)
        assert_one_line(done, 4)
        assert f"--tokenizer {model} cannot be used" in done.stderr


def assert_one_line(done: subprocess.CompletedProcess[str], code: int) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_broken_data_on_the_hub_is_exit_4(script: Script, publish: Publish, anonymous: dict[str, str]) -> None:
    whole = parquet(ROWS)
    publish("alice/footer", {"d.parquet": whole[:-8] + b"\xff\xff\xff\x7fPAR1"})
    publish("alice/cut", {"d.parquet": whole[:200]})
    publish("alice/utf8", {"d.jsonl": b'{"a": "\xff"}\n'})
    publish("alice/empty", {"d.jsonl": b""})
    publish("alice/no-rows", {"d.parquet": no_rows()})
    for name in ("footer", "cut", "utf8", "empty", "no-rows"):
        assert_one_line(script(NAME, f"alice/{name}", env=anonymous), 4)


def no_rows() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(schema={"text": pl.String}).write_parquet(buffer)
    return buffer.getvalue()


def test_a_hub_that_answers_nonsense(script: Script, publish: Publish, anonymous: dict[str, str], hub: Hub) -> None:
    publish("alice/d", {"train.parquet": parquet(ROWS)})
    hub.fail(method="GET", path="^/(splits|rows|api/datasets)", status=500, times=99)
    assert_one_line(script(NAME, "alice/d", env=anonymous), 5)
