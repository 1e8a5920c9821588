"""generate-responses.py as a user meets it, an API on loopback answering; the engines themselves run in the heavy lane."""

from __future__ import annotations

import io
import json
import random
import re
import resource
import shlex
import signal
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from huggingface_hub import HfApi

from blocks.chat_server import ChatServer, chat_server
from catalog.conftest import CATALOG, Publish, Script, jsonl
from conftest import READ_TOKEN, TOKEN
from jobshelf.hub import Hub

NAME = "generate-responses.py"
CHATS = [
    [{"role": "user", "content": f"question {number}"}]
    if number % 3
    else f'[{{"role": "user", "content": "q{number}"}}]'
    for number in range(23)
]
PROMPTS = [{"id": number, "prompt": f"question {number}"} for number in range(23)]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


def asked(server: ChatServer, *words: str | Path) -> list[str | Path]:
    return [*words, "--engine", "openai", "--base-url", server.url, "--model", "m", "--part-rows", "5", "--json"]


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answers(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "data" / "*.parquet")


def prompts(folder: Path, rows: list[dict[str, Any]] = PROMPTS) -> Path:
    path = folder / "prompts.jsonl"
    path.write_bytes(jsonl(rows))
    return path


def test_every_row_gets_its_answer_in_order(script: Script, server: ChatServer, tmp_path: Path) -> None:
    done = told(script(NAME, *asked(server, prompts(tmp_path), "./out", "--system", "Be brief.")))
    assert (done["rows"], done["failed"], done["engine"]) == (23, 0, "openai")
    rows = answers(tmp_path / "work/out")
    assert rows["id"].to_list() == list(range(23))
    assert rows["response"].to_list() == [f"question {number}"[::-1] for number in range(23)]
    assert set(rows["finish_reason"]) == {"stop"}
    assert rows["prompt_tokens"].to_list() == [len(f"question {number}") for number in range(23)]
    assert rows["error"].null_count() == 23
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len(list((tmp_path / "work/out/data").iterdir())) == 5


def test_conversations_of_both_forms(script: Script, server: ChatServer, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(jsonl([{"chat": json.dumps(c) if isinstance(c, list) else c} for c in CHATS]))
    pl.DataFrame({"chat": [c for c in CHATS if isinstance(c, list)]}).write_parquet(tmp_path / "rows.parquet")
    for name, count in (("rows.jsonl", 23), ("rows.parquet", 15)):
        out = f"./{name}-out"
        done = told(script(NAME, *asked(server, tmp_path / name, out, "--messages-column", "chat")))
        assert (done["rows"], done["failed"]) == (count, 0)
        assert "noitseuq" in answers(tmp_path / "work" / out)["response"][1]


BAD_ROWS = [
    (None, "chat is empty"),
    ([], "chat is empty"),
    ("not json [", "chat is str"),
    ("[1]", "message 1 is int"),
    ('[{"content": "x"}]', "role None"),
    ('[{"role": "user"}]', "content of message 1 is NoneType"),
    ('[{"role": "user", "content": [{"type": "image"}]}]', "content of message 1 is list"),
    ('[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]', "ends with the assistant"),
    ("[{", "Expecting property name"),
]


def test_rows_that_cannot_be_asked_keep_an_error(script: Script, server: ChatServer, tmp_path: Path) -> None:
    good = '[{"role": "user", "content": "abc"}]'
    cells = [cell if isinstance(cell, str | None) else json.dumps(cell) for cell, _ in BAD_ROWS]
    (tmp_path / "rows.jsonl").write_bytes(jsonl([{"chat": cell} for cell in [good, *cells, good]]))
    done = told(script(NAME, *asked(server, tmp_path / "rows.jsonl", "./out", "--messages-column", "chat")))
    assert (done["rows"], done["failed"]) == (len(BAD_ROWS) + 2, len(BAD_ROWS))
    rows = answers(tmp_path / "work/out").to_dicts()
    assert [rows[0]["response"], rows[-1]["response"]] == ["cba", "cba"]
    for row, (_, said) in zip(rows[1:-1], BAD_ROWS, strict=True):
        assert said in row["error"]
        assert (row["response"], row["finish_reason"]) == (None, "error")
    assert len(server.requests) == 2
    card = (tmp_path / "work/out/README.md").read_text()
    assert f"{len(BAD_ROWS)} of them" in card


def test_a_refusal_of_the_engine_is_one_row(script: Script, tmp_path: Path) -> None:
    with chat_server(first_answers={"question 7": [400]}) as server:
        done = told(script(NAME, *asked(server, prompts(tmp_path), "./out")))
    assert done["failed"] == 1
    assert "400 for question 7" in answers(tmp_path / "work/out")["error"][7]


def test_nothing_answered_is_exit_4_and_says_where_to_look(script: Script, server: ChatServer, tmp_path: Path) -> None:
    done = script(NAME, *asked(server, prompts(tmp_path, [{"prompt": ""}, {"prompt": None}]), "./out"))
    assert done.returncode == 4
    assert "none of the 2 rows could be answered" in done.stderr
    assert answers(tmp_path / "work/out").height == 2


def test_thinking_has_a_column_of_its_own(script: Script, server: ChatServer, tmp_path: Path) -> None:
    texts = ["<think>why</think>\n\nbecause", "why</think>because", "<think>why and", "because"]
    rows = prompts(tmp_path, [{"prompt": text[::-1]} for text in texts])
    told(script(NAME, *asked(server, rows, "./out")))
    split = answers(tmp_path / "work/out")
    assert split["response"].to_list() == ["because", "because", "", "because"]
    assert split["response_reasoning"].to_list() == ["why", "why", "why and", None]
    told(script(NAME, *asked(server, rows, "./raw", "--keep-thinking")))
    assert answers(tmp_path / "work/raw")["response"].to_list() == texts


def test_several_answers_a_row_are_lists(script: Script, server: ChatServer, tmp_path: Path) -> None:
    rows = prompts(tmp_path, [{"prompt": "abc"}, {"prompt": ""}])
    told(script(NAME, *asked(server, rows, "./out", "--n", "3")))
    first, second = answers(tmp_path / "work/out").to_dicts()
    assert first["response"] == ["cba"] * 3
    assert first["finish_reason"] == ["stop"] * 3
    assert (second["response"], second["finish_reason"]) == (None, ["error"])


def test_no_rows_make_a_dataset_with_columns(script: Script, server: ChatServer, tmp_path: Path) -> None:
    pl.DataFrame({"prompt": []}, schema={"prompt": pl.String}).write_parquet(tmp_path / "none.parquet")
    assert told(script(NAME, *asked(server, tmp_path / "none.parquet", "./out")))["rows"] == 0
    assert "response" in answers(tmp_path / "work/out").columns
    assert server.requests == []


def test_what_datasets_knows_of_the_columns_stays_known(script: Script, server: ChatServer, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value, load_dataset

    features = Features({"prompt": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    Dataset.from_dict({"prompt": ["abc"], "label": [1]}, features=features).to_parquet(tmp_path / "rows.parquet")
    told(script(NAME, *asked(server, tmp_path / "rows.parquet", "./out", "--n", "2")))
    files = {"train": str(tmp_path / "work/out/data/*.parquet")}
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["label"].names == ["no", "yes"]
    assert loaded[0]["response"] == ["cba", "cba"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--prompt-column", "promt"), 4, "did you mean 'prompt'"),
        (("--output-column", "prompt"), 4, "--output-column prompt_2"),
        (("--messages-column", "a", "--prompt-column", "b"), 2, "both given"),
        (("--temperature", "-1"), 2, "--temperature is -1"),
        (("--top-p", "0"), 2, "--top-p is 0"),
        (("--n", "2", "--temperature", "0"), 2, "equal answers"),
        (("--n", "0"), 2, "not a positive number"),
        (("--lora", "user/adapter"), 2, "--lora has no meaning for --engine openai"),
        (("--json-schema", "[1]"), 2, "not a JSON object"),
        (("--engine-args", "{"), 2, "is not JSON"),
        (("--shard", "3/2"), 2, "--shard"),
    ],
)
def test_usage_is_refused_before_anything_is_asked(
    script: Script, server: ChatServer, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = script(NAME, *asked(server, prompts(tmp_path), "./out", *words))
    assert done.returncode == code
    assert said in done.stderr
    assert server.requests == []
    assert not (tmp_path / "work/out").exists()


def test_columns_that_are_not_there(script: Script, server: ChatServer, tmp_path: Path) -> None:
    done = script(NAME, *asked(server, prompts(tmp_path, [{"text": "a"}]), "./out"))
    assert done.returncode == 4
    assert "--prompt-column text" in done.stderr


def test_an_api_needs_its_address(script: Script, tmp_path: Path) -> None:
    done = script(NAME, prompts(tmp_path), "./out", "--engine", "openai", "--model", "m")
    assert (done.returncode, "--base-url" in done.stderr) == (2, True)


def test_a_machine_without_a_gpu_is_told_so_in_a_moment(script: Script, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    done = script(NAME, prompts(tmp_path), "./out", "--model", tmp_path / "model")
    assert done.returncode == 5
    assert "no GPU here" in done.stderr
    assert "--flavor" in done.stderr
    assert not (tmp_path / "work/out").exists()


def test_seed_command_line_on_the_hub(
    script: Script, server: ChatServer, publish: Publish, client: HfApi, hub_environment: dict[str, str]
) -> None:
    publish("alice/chats", {"train.jsonl": jsonl([{"messages": [{"role": "user", "content": "abc"}]}] * 7)})
    seeds = ("--messages-column", "messages", "--temperature", "0.7", "--top-p", "0.8", "--max-tokens", "2048")
    words = asked(server, "alice/chats", "alice/out", *seeds, "--commit-every", "0")
    words[words.index("--model")] = "--model-id"
    done = script(NAME, *words, env=hub_environment)
    assert told(done)["rows"] == 7
    files = client.list_repo_files("alice/out", repo_type="dataset")
    assert [name for name in files if name.startswith("data/")] == [f"data/train-00000{n}.parquet" for n in (0, 1)]
    head = client.dataset_info("alice/out").sha
    assert told(script(NAME, *words, env=hub_environment))["rows"] == 7
    assert client.dataset_info("alice/out").sha == head
    assert len(server.requests) == 7
    assert TOKEN not in done.stdout + done.stderr


def test_dry_run_asks_and_writes_nothing(script: Script, server: ChatServer, tmp_path: Path) -> None:
    plan = told(script(NAME, *asked(server, prompts(tmp_path), "./out", "--dry-run")))
    assert plan["columns"][:3] == ["id", "prompt", "response"]
    assert server.requests == []
    assert list((tmp_path / "work").iterdir()) == []


def test_a_token_that_may_not_write(
    script: Script, server: ChatServer, tmp_path: Path, hub_environment: dict[str, str]
) -> None:
    words = asked(server, prompts(tmp_path), "alice/out")
    assert script(NAME, *words, env=hub_environment | {"HF_TOKEN": READ_TOKEN}).returncode == 3
    assert server.requests == []


@pytest.mark.heavy
@pytest.mark.inference
def test_killed_at_each_part_and_run_again(environment: dict[str, str], tmp_path: Path) -> None:
    """Every question that was not in a finished part is asked again, no other; the rows are those of a quiet run."""
    prompts(tmp_path)
    with chat_server() as quiet:
        argv = [sys.executable, CATALOG / NAME, *asked(quiet, "prompts.jsonl", "./whole")]
        assert subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    with chat_server(pause=0.2) as server:
        words = asked(server, "prompts.jsonl", "./out", "--concurrency", "2")
        argv = [sys.executable, CATALOG / NAME, *words, "--part-rows", "1"]
        for _ in range(10):
            parts = len(list(tmp_path.glob("out/data/train-*.parquet")))
            process = subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
            while len(list(tmp_path.glob("out/data/train-*.parquet"))) == parts and process.poll() is None:
                time.sleep(0.005)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told(done)["rows"] == 23
    assert answers(tmp_path / "out").equals(answers(tmp_path / "whole"))
    assert sum(server.asked.values()) <= 23 + 10 * (2 + 2)


@pytest.mark.heavy
@pytest.mark.inference
def test_eight_shards_share_one_output(environment: dict[str, str], server: ChatServer, tmp_path: Path) -> None:
    prompts(tmp_path)
    base = [sys.executable, CATALOG / NAME, *asked(server, "prompts.jsonl"), "--part-rows", "2"]
    argv = [*base, "./out", "--shard"]
    running = [subprocess.Popen([*argv, f"{n}/8"], cwd=tmp_path, env=environment, stdout=-1) for n in range(1, 9)]
    assert [process.wait() for process in running] == [0] * 8
    assert answers(tmp_path / "out")["id"].to_list() == list(range(23))
    assert set(server.asked.values()) == {1}
    assert "23 rows" in (tmp_path / "out/README.md").read_text()
    assert subprocess.run([*base, "./whole"], cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "out/data").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "whole/data").iterdir()}
    assert len(files) == 12


def test_copies_of_the_model_share_the_work(environment: dict[str, str], server: ChatServer, tmp_path: Path) -> None:
    prompts(tmp_path)
    argv = [sys.executable, CATALOG / NAME, *asked(server, "prompts.jsonl", "./out"), "--data-parallel-size", "2"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 copies of the model" in done.stderr
    assert answers(tmp_path / "out")["id"].to_list() == list(range(23))
    assert set(server.asked.values()) == {1}


def test_a_broken_api_leaves_what_is_finished_and_says_how_to_go_on(script: Script, tmp_path: Path) -> None:
    broken = {f"question {number}": [500] * 20 for number in range(12, 23)}
    with chat_server(first_answers=broken) as server:
        words = asked(server, prompts(tmp_path), "./out", "--concurrency", "1")
        done = script(NAME, *words)
        assert done.returncode == 5
        assert "it does what is missing" in done.stderr
        kept = pl.read_parquet(tmp_path / "work/out/data/*.parquet")
        assert kept["id"].to_list() == list(range(10))
        server.first_answers.clear()
        assert told(script(NAME, *words))["rows"] == 23
    assert io.StringIO(done.stdout).read() == ""


def test_the_card_can_be_computed_again(script: Script, tmp_path: Path) -> None:
    """Each number of its two first paragraphs, from the rows and the command line."""
    refused = {f"question {number}": [400] for number in (3, 7, 11)}
    with chat_server(first_answers=refused) as server:
        options = ("--temperature", "0.25", "--top-p", "0.75", "--max-tokens", "1234")
        prompts(tmp_path)
        told(script(NAME, *asked(server, "../prompts.jsonl", "./out", *options)))
    rows = answers(tmp_path / "work/out")
    failed = rows["error"].count()
    card = (tmp_path / "work/out/README.md").read_text()
    first, second = card.partition("# Generated responses")[2].strip().split("\n\n")[:2]
    assert [int(number) for number in re.findall(r"(?<![\w.])\d+(?![\w.])", first)] == [rows.height, failed]
    assert re.findall(r"\d[\d.,]*\d", second) == ["0.25", "0.75", "1,234"]
    assert failed == 3


def test_one_row(script: Script, server: ChatServer, tmp_path: Path) -> None:
    assert told(script(NAME, *asked(server, prompts(tmp_path, [{"prompt": "abc"}]), "./out")))["rows"] == 1
    assert answers(tmp_path / "work/out")["response"].to_list() == ["cba"]


def test_a_disk_that_is_full(environment: dict[str, str], server: ChatServer, tmp_path: Path, script: Script) -> None:
    """No file may grow beyond 20 kB, and a part has more: it says so, and later goes on with what it has."""
    rows = [{"prompt": "".join(random.Random(number).choices(string.printable, k=9000))} for number in range(12)]
    words = asked(server, prompts(tmp_path, rows), "./out")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    argv = [sys.executable, CATALOG / NAME, *words]
    done = subprocess.run(
        argv, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, preexec_fn=limited
    )
    assert done.returncode in {5, 6}, done.stderr
    assert re.match(r"error: .*(File too large|disk).* Fix: ", done.stderr.splitlines()[-1])
    assert told(script(NAME, *words))["rows"] == 12
    assert answers(tmp_path / "work/out")["prompt"].to_list() == [row["prompt"] for row in rows]


FAULTS = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    {"kind": "reset"},
    {"kind": "lost"},
    {"kind": "status", "status": 412},
]


def test_commits_that_fail_once(
    script: Script, server: ChatServer, hub: Hub, client: HfApi, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    """One fault at each of the first commits; every write and fault there is in the sweep."""
    for number, fault in enumerate(FAULTS, 1):
        hub.fail(path="^/api/datasets/alice/out/commit/", method="POST", nth=number, times=1, **fault)
    words = asked(server, prompts(tmp_path), "alice/out", "--commit-every", "0")
    assert told(script(NAME, *words, env=hub_environment))["rows"] == 23
    hub.clear_faults()
    folder = Path(client.snapshot_download("alice/out", repo_type="dataset", local_dir=tmp_path / "held"))
    assert answers(folder)["id"].to_list() == list(range(23))
    assert set(server.asked.values()) == {1}


def test_a_hub_that_refuses_for_good(
    script: Script, server: ChatServer, hub: Hub, client: HfApi, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    hub.fail(path="^/api/datasets/alice/out/commit/", method="POST", kind="status", status=403, nth=3, times=1000)
    words = asked(server, prompts(tmp_path), "alice/out", "--commit-every", "0")
    done = script(NAME, *words, env=hub_environment)
    assert done.returncode == 6
    hub.clear_faults()
    command = shlex.split(done.stderr.rpartition("Fix: ")[2].partition(", ")[0])
    env = hub_environment | {"HF_TOKEN": TOKEN}
    assert command[0] == "hf", done.stderr
    pushed = subprocess.run(command, cwd=tmp_path / "work", env=env, capture_output=True, text=True)
    assert pushed.returncode == 0, pushed.stderr
    folder = Path(client.snapshot_download("alice/out", repo_type="dataset", local_dir=tmp_path / "held"))
    assert answers(folder)["id"].to_list() == list(range(23))
    assert set(server.asked.values()) == {1}
