"""dataset_inspector.py as a user meets it: real processes, real files, the embedded Hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from datasets import Dataset

from catalog.conftest import CATALOG, Publish, Script, jsonl
from conftest import READ_TOKEN, TOKEN
from jobshelf import blocks
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


def test_help_names_what_it_does(script: Script) -> None:
    done = script(NAME, "--help")
    assert done.returncode == 0
    assert "SFT, DPO, GRPO, KTO, Reward" in done.stdout


def test_seed_command_line_and_labels(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    done = script(NAME, "--dataset", tmp_path / "d.jsonl", "--split", "train")
    assert done.returncode == 0
    assert "✗ NEEDS MAPPING" in done.stdout
    assert "✗ INCOMPATIBLE" in done.stdout
    assert "MAPPING CODE" in done.stdout
    (tmp_path / "t.jsonl").write_bytes(jsonl([{"text": "a"}]))
    assert "SFT         ✓ READY" in script(NAME, tmp_path / "t.jsonl").stdout


@pytest.mark.parametrize(
    "name", ["gsm8k_test", "gsm8k_model_solutions", "sharegpt_conversations", "mt_bench_questions"]
)
@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_real_rows_in_every_form(
    script: Script, tmp_path: Path, real_rows: Callable[[str], list[dict[str, Any]]], name: str, form: str
) -> None:
    rows = real_rows(name)
    path = tmp_path / f"d.{form}"
    if form == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_bytes(jsonl(rows) if form == "jsonl" else json.dumps(rows, indent=2).encode())
    report = json.loads(script(NAME, path, "--json", "--samples", str(len(rows))).stdout)
    assert (report["rows"], report["rows_read"]) == (len(rows), len(rows))
    assert [column["name"] for column in report["columns"]] == list({name: 0 for row in rows for name in row})
    ready_to_map = {verdict["method"] for verdict in report["methods"] if verdict["status"] == "NEEDS MAPPING"}
    assert {"GRPO"} <= ready_to_map
    assert ("SFT" in ready_to_map) == (name != "mt_bench_questions")
    assert ("DPO" in ready_to_map) == (name == "gsm8k_model_solutions")


def test_printed_code_makes_the_file_ready(
    script: Script, tmp_path: Path, real_rows: Callable[[str], list[dict[str, Any]]]
) -> None:
    (tmp_path / "d.json").write_text(json.dumps(real_rows("sharegpt_conversations")))
    report = json.loads(script(NAME, tmp_path / "d.json", "--json").stdout)
    code = next(verdict["mapping"] for verdict in report["methods"] if verdict["method"] == "SFT")
    scope: dict[str, Any] = {"dataset": Dataset.from_list(real_rows("sharegpt_conversations"))}
    exec(code, scope)
    scope["dataset"].to_parquet(tmp_path / "mapped.parquet")
    assert script(NAME, tmp_path / "mapped.parquet", "--require", "sft").returncode == 0


@pytest.mark.parametrize("form", ["csv", "arrow", "stream.arrow"])
def test_other_local_forms(script: Script, tmp_path: Path, form: str) -> None:
    frame, path = pl.DataFrame(ROWS), tmp_path / f"d.{form}"
    writers = {"csv": frame.write_csv, "arrow": frame.write_ipc, "stream.arrow": frame.write_ipc_stream}
    writers[form](path)
    report = json.loads(script(NAME, path, "--json").stdout)
    assert report["rows"] == 30
    assert report["methods"][0]["status"] == "NEEDS MAPPING"


def test_csv_values_have_types(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text('prompt,completion,label\n"a, b",c,true\nd,"e\nf",false\n')
    report = json.loads(script(NAME, tmp_path / "d.csv", "--json", "--require", "kto").stdout)
    assert [column["kind"] for column in report["columns"]] == ["text", "text", "bool"]
    assert report["rows"] == 2


def test_count_is_not_claimed_when_not_counted(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    report = json.loads(script(NAME, tmp_path / "d.jsonl", "--json", "--samples", "5").stdout)
    assert (report["rows"], report["rows_read"]) == (None, 5)


def test_folder_with_splits_and_front_matter(script: Script, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "main").mkdir(parents=True)
    (folder / "socratic").mkdir()
    for file in ("main/test-00000-of-00001.jsonl", "main/train-00000-of-00001.jsonl", "socratic/a.jsonl"):
        (folder / file).write_bytes(jsonl(ROWS))
    (folder / "README.md").write_bytes(CARD)
    report = json.loads(script(NAME, folder, "--json").stdout)
    assert (report["config"], report["split"]) == ("socratic", "train")
    assert report["configs"] == ["socratic", "main"]
    shown = script(NAME, folder, "--config", "main").stdout
    assert "config main, split train" in shown
    assert "other configs (--config): socratic" in shown
    assert "other splits (--split): test" in shown


def test_require_sets_the_exit_code(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    done = script(NAME, tmp_path / "d.jsonl", "--require", "sft", "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)["methods"][0]["status"] == "NEEDS MAPPING"
    assert done.stderr.startswith("error: SFT is required and is NEEDS MAPPING")


def test_dry_run_reads_no_rows(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(b"not json\n")
    done = script(NAME, tmp_path / "d.jsonl", "--dry-run", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["dry_run"] is True


BAD_FILES = {
    "broken.jsonl": b'{"a": 1}\n{"a": \n',
    "broken.json": b'[{"a": 1}, {"a"',
    "scalars.json": b"[1, 2]",
    "broken.parquet": b"PAR1 this is no parquet",
    "invalid-utf8.jsonl": b'{"a": "\xff"}\n',
    "empty.jsonl": b"",
    "empty.json": b"[]",
    "empty.csv": b"",
    "footer.parquet": b"PAR1" + b"\0" * 100 + b"PAR1",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_unreadable_data_is_exit_4_in_one_line(script: Script, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])
    done = script(NAME, tmp_path / name)
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Fix: " in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("--json",), 2),
        (("a/b", "--require", "ppo"), 2),
        (("nothing",), 2),
        (("hf://models/a/b",), 2),
        (("./nothing.parquet",), 4),
        (("a/b", "--samples", "0"), 2),
        (("a/b", "--no-such-flag"), 2),
    ],
)
def test_bad_command_lines(script: Script, words: tuple[str, ...], code: int) -> None:
    done = script(NAME, *words)
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_hostile_names_cannot_write_to_the_terminal(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl([{"question\x1b[2J\n": "\x1b]0;owned\x07", "answer": "b"}]))
    done = script(NAME, tmp_path / "d.jsonl")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout


def test_runs_on_stdin_and_by_uv(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl(ROWS))
    words = ["uv", "run", "--no-project", "-", "d.jsonl", "--json"]
    text = (CATALOG / NAME).read_text(encoding="utf-8")
    done = subprocess.run(words, input=text, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 30


def test_help_imports_nothing_heavy() -> None:
    argv = [sys.executable, "-X", "importtime", CATALOG / NAME, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"polars", "huggingface_hub", "datasets", "yaml", "httpx2"}


def test_blocks_are_those_of_the_shelf() -> None:
    for path in CATALOG.glob("*.py"):
        text, known = path.read_text(encoding="utf-8"), blocks.list_blocks()
        assert blocks.compare(text, known) == ()
        assert blocks.missing_needs(text, known) == blocks.missing_imports(text, known) == ()


# --- on the Hub ---


@pytest.fixture
def anonymous(environment: dict[str, str], hub: Hub) -> dict[str, str]:
    return environment | {"HF_ENDPOINT": hub.endpoint}


def test_public_configs_and_splits_are_chosen_the_same_way(
    script: Script, publish: Publish, anonymous: dict[str, str]
) -> None:
    files = {
        "main/train-00000-of-00001.jsonl": jsonl(ROWS),
        "main/test-00000-of-00001.jsonl": jsonl(ROWS[:3]),
        "socratic/a.jsonl": jsonl(ROWS[:7]),
    }
    commit = publish("alice/d", files | {"README.md": CARD})
    reports = [json.loads(script(NAME, "alice/d", "--json", env=anonymous).stdout) for _ in range(2)]
    assert reports[0] == reports[1]
    assert (reports[0]["config"], reports[0]["split"], reports[0]["rows"]) == ("socratic", "train", 7)
    assert reports[0]["commit"] == commit
    other = json.loads(script(NAME, "alice/d", "--config", "main", "--split", "test", "--json", env=anonymous).stdout)
    assert other["rows"] == 3
    wrong = script(NAME, "alice/d", "--config", "mian", env=anonymous)
    assert wrong.returncode == 4
    assert wrong.stderr.rstrip().endswith("it has: main, socratic. Fix: add --config main")


def test_no_train_split(script: Script, publish: Publish, anonymous: dict[str, str]) -> None:
    publish("alice/d", {"data/train_sft-00000-of-00001.jsonl": jsonl(ROWS), "data/test_sft-00000-of-00001.jsonl": b""})
    assert json.loads(script(NAME, "alice/d", "--json", env=anonymous).stdout)["split"] == "train_sft"
    named = script(NAME, "alice/d", "--split", "train", env=anonymous)
    assert named.returncode == 4
    assert "test_sft, train_sft" in named.stderr


def test_parquet_is_read_through_its_footer(
    script: Script, publish: Publish, anonymous: dict[str, str], hub: Hub, tmp_path: Path
) -> None:
    frame = pl.DataFrame({"text": [f"{number:09} {'y' * 400}" for number in range(20_000)]})
    frame.write_parquet(tmp_path / "d.parquet", compression="uncompressed", row_group_size=500)
    publish("alice/d", {"d.parquet": (tmp_path / "d.parquet").read_bytes()})
    hub.clear_journal()
    hub.fail(method="GET", path=r"^/(splits|rows)", status=500, times=9)
    report = json.loads(script(NAME, "alice/d", "--json", "--samples", "10", env=anonymous).stdout)
    assert (report["rows"], report["rows_read"], report["methods"][0]["status"]) == (20_000, 10, "READY")
    assert sum(request.bytes_out for request in hub.journal()) < 4_000_000


def test_beginning_of_a_large_text_file_is_enough(
    script: Script, publish: Publish, anonymous: dict[str, str], hub: Hub
) -> None:
    publish("alice/d", {"d.json": json.dumps([{"text": "z" * 500}] * 30_000).encode()})
    hub.clear_journal()
    report = json.loads(script(NAME, "alice/d", "--json", "--samples", "10", env=anonymous).stdout)
    assert (report["rows"], report["rows_read"]) == (None, 10)
    calls = [(request.method, request.path.partition("?")[0]) for request in hub.journal()]
    # the viewer (it knows no such file), the description, the file
    assert len([call for call in calls if "agent-harnesses" not in call[1]]) <= 4


def test_private_dataset_with_and_without_token(script: Script, publish: Publish, anonymous: dict[str, str]) -> None:
    publish("alice/d", {"train.jsonl": jsonl(ROWS), "train2.parquet": b""}, private=True)
    path = "hf://datasets/alice/d/train.jsonl"
    seen = script(NAME, path, "--json", env=anonymous | {"HF_TOKEN": TOKEN})
    assert json.loads(seen.stdout)["private"] is True
    unseen = script(NAME, path, env=anonymous)
    assert unseen.returncode == 4
    assert "hf auth login" in unseen.stderr
    stranger = script(NAME, path, env=anonymous | {"HF_TOKEN": READ_TOKEN})
    assert stranger.returncode == 4
    assert all(
        token not in run.stdout + run.stderr for run in (seen, unseen, stranger) for token in (TOKEN, READ_TOKEN)
    )


def test_invalid_token_is_exit_3(script: Script, publish: Publish, anonymous: dict[str, str]) -> None:
    publish("alice/d", {"train.jsonl": jsonl(ROWS)}, private=True)
    done = script(NAME, "alice/d", env=anonymous | {"HF_TOKEN": "hf_wrongwrongwrong"})
    assert done.returncode == 3
    assert "hf_wrong" not in done.stdout + done.stderr


def test_revision_and_path(script: Script, publish: Publish, anonymous: dict[str, str]) -> None:
    old = publish("alice/d", {"a.jsonl": jsonl(ROWS[:2])})
    publish("alice/d", {"a.jsonl": jsonl(ROWS[:4])})
    assert json.loads(script(NAME, "alice/d", "--json", env=anonymous).stdout)["rows"] == 4
    assert json.loads(script(NAME, "alice/d", "--revision", old, "--json", env=anonymous).stdout)["rows"] == 2
    assert json.loads(script(NAME, f"hf://datasets/alice/d@{old}/a.jsonl", "--json", env=anonymous).stdout)["rows"] == 2
    assert script(NAME, "alice/d", "--revision", "nope", env=anonymous).returncode == 4
    assert script(NAME, "hf://datasets/alice/d/b.jsonl", env=anonymous).returncode == 4


def test_gated_dataset_is_exit_3(script: Script, publish: Publish, anonymous: dict[str, str], hub: Hub) -> None:
    publish("alice/d", {"train.jsonl": jsonl(ROWS)})
    hub.fail(method="GET", path=r"^/splits", status=401)
    hub.fail(method="GET", path=r"^/api/datasets/alice/d", status=403, headers={"X-Error-Code": "GatedRepo"})
    done = script(NAME, "alice/d", env=anonymous)
    assert done.returncode == 3, done.stderr
    assert "alice/d is gated" in done.stderr


def test_missing_dataset_is_exit_4(script: Script, anonymous: dict[str, str]) -> None:
    done = script(NAME, "alice/nothing", env=anonymous)
    assert done.returncode == 4
    assert "alice/nothing" in done.stderr


def test_server_errors_are_tried_again(script: Script, publish: Publish, anonymous: dict[str, str], hub: Hub) -> None:
    publish("alice/d", {"a.jsonl": jsonl(ROWS)})
    hub.fail(method="GET", path=r"^/splits", status=429, times=1)
    hub.fail(method="GET", path=r"^/api/datasets/alice/d", status=503, times=1)
    hub.fail(method="GET", path=r"/resolve/", status=429, times=1, headers={"Retry-After": "1"})
    done = script(NAME, "alice/d", "--json", env=anonymous)
    assert json.loads(done.stdout)["rows"] == 30
    assert "the dataset viewer answered 429: reading the files instead" in done.stderr
    assert "the server answered 503" in done.stderr
    assert "trying again in 1 s" in done.stderr


def test_unreachable_hub_is_exit_5(script: Script, environment: dict[str, str]) -> None:
    done = script(NAME, "alice/d", env=environment | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": TOKEN})
    assert done.returncode == 5
    assert TOKEN not in done.stdout + done.stderr
