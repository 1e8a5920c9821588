"""generate-responses.py as a user meets it, an API on loopback answering; the engines themselves run in the heavy lane."""

from __future__ import annotations

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

from catalog.conftest import CATALOG, Publish, Script, jsonl, module
from conftest import READ_TOKEN, TOKEN
from harness.chat_server import ChatServer, chat_server
from jobshelf.hub import Hub

NAME = "generate-responses.py"
PROMPTS = [{"id": number, "prompt": f"question {number}"} for number in range(23)]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


def asked(server: ChatServer, *words: str | Path) -> list[str | Path]:
    return [*words, "--engine", "openai", "--base-url", server.url, "--model", "m", "--part-rows", "5"]


def done_well(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that says why, without a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.match(r"error: .*\. Fix: |\S+: error: ", last), done.stderr
    return last


def answers(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "data" / "*.parquet")


def prompts(folder: Path, rows: list[dict[str, Any]] = PROMPTS) -> Path:
    path = folder / "prompts.jsonl"
    path.write_bytes(jsonl(rows))
    return path


def test_every_row_gets_its_answer_in_order(script: Script, server: ChatServer, tmp_path: Path) -> None:
    said = done_well(script(NAME, *asked(server, prompts(tmp_path), "./out", "--system", "Be brief.")))
    assert "23 rows of" in said and "in 5 parts" in said
    rows = answers(tmp_path / "work/out")
    assert rows["id"].to_list() == list(range(23))
    assert rows["response"].to_list() == [f"question {number}"[::-1] for number in range(23)]
    assert set(rows["finish_reason"]) == {"stop"}
    assert rows["prompt_tokens"].to_list() == [len(f"question {number}") for number in range(23)]
    assert rows["error"].null_count() == 23
    assert all(request["messages"][0] == {"role": "system", "content": "Be brief."} for request in server.requests)
    names = {path.relative_to(tmp_path / "work/out").as_posix() for path in (tmp_path / "work/out").rglob("*.*")}
    assert names == {"README.md", "run.json", *(f"data/train-{start:08d}.parquet" for start in range(0, 23, 5))}


ASKED = [  # cells of one column beside each other, and the messages that the API is to get for them
    ([{"role": "user", "content": "abc"}], ["abc"]),
    ([{"role": "user", "content": [{"type": "text", "text": "hi 1"}]}], ["hi 1"]),
    ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], ["a\nb"]),
    ([{"role": "user", "content": "[1]"}], ["[1]"]),
    (
        [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}, {"from": "human", "value": "s"}],
        ["q", "r", "s"],
    ),
    ('[{"role": "user", "content": "text"}]', ["text"]),
    ([{"role": "developer", "content": "be"}, {"role": "user", "content": "d"}], ["be", "d"]),
]


@pytest.mark.parametrize("together", [True, False], ids=["mixed", "apart"])
def test_conversations_of_each_form(script: Script, server: ChatServer, tmp_path: Path, together: bool) -> None:
    for number, some in enumerate([ASKED] if together else [[one] for one in ASKED]):
        server.requests.clear()
        rows = [{"chat": cell} for cell, _ in some]
        words = asked(
            server, prompts(tmp_path, rows), f"./out-{number}", "--messages-column", "chat", "--concurrency", "1"
        )
        done_well(script(NAME, *words))
        assert [[one["content"] for one in request["messages"]] for request in server.requests] == [m for _, m in some]
        assert {one["role"] for request in server.requests for one in request["messages"]} <= {
            "user",
            "assistant",
            "developer",
        }


def test_structs_and_json_columns_of_parquet(script: Script, server: ChatServer, tmp_path: Path) -> None:
    chats = [[{"role": "user", "content": f"q{number}"}] for number in range(6)]
    pl.DataFrame({"messages": chats}).write_parquet(tmp_path / "rows.parquet")
    done_well(script(NAME, *asked(server, tmp_path / "rows.parquet", "./out")))
    assert answers(tmp_path / "work/out")["response"].to_list() == [f"{number}q" for number in range(6)]


def test_tools_reach_the_model(script: Script, server: ChatServer, tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    spoken = [
        {"role": "user", "content": "add"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "2"},
    ]
    rows = [
        {"messages": spoken, "tools": TOOLS},
        {"messages": spoken[:1], "tools": json.dumps(TOOLS)},
        {"messages": [{"role": "user", "content": "abc"}], "tools": None},
        {"messages": spoken[:1], "tools": "no list"},
    ]
    done_well(script(NAME, *asked(server, prompts(tmp_path, rows), "./out", "--concurrency", "1")))
    assert [request.get("tools") for request in server.requests] == [TOOLS, TOOLS, None]
    sent = server.requests[0]["messages"][1]["tool_calls"][0]["function"]
    assert json.loads(sent["arguments"]) == {"a": 1}, "an API takes arguments as JSON text"
    assert answers(tmp_path / "work/out")["error"].null_count() == 3


def test_turns_are_answered_one_after_the_other(script: Script, server: ChatServer, tmp_path: Path) -> None:
    rows = [{"turns": ["ab", "cd"]}, {"turns": ["ef"]}, {"turns": []}]
    done_well(script(NAME, *asked(server, prompts(tmp_path, rows), "./out", "--concurrency", "1")))
    first, second, third = answers(tmp_path / "work/out").to_dicts()
    assert (first["response"], second["response"], third["response"]) == (["ba", "dc"], ["fe"], [])
    assert first["finish_reason"] == ["stop", "stop"]
    assert (first["prompt_tokens"], first["output_tokens"]) == (4, 6)
    assert "nothing" in third["error"]
    last = [(one["role"], one["content"]) for one in server.requests[-1]["messages"]]
    assert last == [("user", "ab"), ("assistant", "ba"), ("user", "cd")]
    assert len({request["seed"] for request in server.requests}) == 3


BAD_ROWS = [
    (None, "found nothing"),
    ([], "found nothing"),
    ("not json [", "Expecting value"),
    ("[1]", "found int, expected a message"),
    ('[{"content": "x"}]', "a message of None, expected one of system"),
    ('[{"role": "user"}]', "without text"),
    ('[{"role": "user", "content": [{"type": "image"}]}]', "without text"),
    ('[{"role": "user", "content": {"a": 1}}]', "without text"),
    ('[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]', "ends with the assistant"),
    ("[{", "Expecting property name"),
    ('{"role": "user"}', "found dict, expected text or a list"),
]


def test_rows_that_cannot_be_asked_keep_an_error(script: Script, server: ChatServer, tmp_path: Path) -> None:
    good = '[{"role": "user", "content": "abc"}]'
    cells = [cell if isinstance(cell, str | None) else json.dumps(cell) for cell, _ in BAD_ROWS]
    rows = [{"chat": cell} for cell in [good, *cells, good]]
    said = done_well(script(NAME, *asked(server, prompts(tmp_path, rows), "./out", "--messages-column", "chat")))
    assert "data/train-00000000.parquet: 5 rows, 4 failed" in said
    held = answers(tmp_path / "work/out").to_dicts()
    assert [held[0]["response"], held[-1]["response"]] == ["cba", "cba"]
    for row, (_, why) in zip(held[1:-1], BAD_ROWS, strict=True):
        assert row["error"].startswith("chat: ") and why in row["error"]
        assert (row["response"], row["finish_reason"]) == (None, None)
    assert len(server.requests) == 2
    assert f"\n{len(BAD_ROWS)} of them have an `error`" in (tmp_path / "work/out/README.md").read_text()


def test_a_refusal_of_the_engine_is_one_row(script: Script, tmp_path: Path) -> None:
    with chat_server(first_answers={"question 7": [400]}) as server:
        done_well(script(NAME, *asked(server, prompts(tmp_path), "./out")))
    errors = answers(tmp_path / "work/out")["error"]
    assert errors.null_count() == 22
    assert "400 for question 7" in errors[7]


def test_when_all_rows_fail_it_stops_early_and_says_why(script: Script, server: ChatServer, tmp_path: Path) -> None:
    """The first three errors on the screen, no part written, and nothing in the way of the next try."""
    wrong = [{"id": number, "prompt": [{"role": "user", "text": f"q{number}"}]} for number in range(80)]
    line = refused(script(NAME, *asked(server, prompts(tmp_path, wrong), "./out")), 4)
    assert "the first 5 rows all failed: row 0, prompt: found a message without text" in line
    assert "row 1, " in line and "row 2, " in line and "row 3" not in line
    assert server.requests == []
    assert not (tmp_path / "work/out").exists()
    done_well(script(NAME, *asked(server, prompts(tmp_path), "./out")))


def test_a_part_that_fails_later_does_not_stop_the_run(script: Script, server: ChatServer, tmp_path: Path) -> None:
    rows = [{"prompt": "abc" if number < 5 else ""} for number in range(12)]
    done_well(script(NAME, *asked(server, prompts(tmp_path, rows), "./out")))
    assert answers(tmp_path / "work/out")["error"].null_count() == 5


def test_thinking_has_a_column_of_its_own(script: Script, server: ChatServer, tmp_path: Path) -> None:
    texts = ["<think>why</think>\n\nbecause", "why</think>because", "because"]
    done_well(script(NAME, *asked(server, prompts(tmp_path, [{"prompt": text[::-1]} for text in texts]), "./out")))
    split = answers(tmp_path / "work/out")
    assert split["response"].to_list() == ["because"] * 3
    assert split["response_reasoning"].to_list() == ["why", "why", None]


@pytest.mark.parametrize(
    ("name", "data"), [("none.jsonl", b""), ("none.csv", b"prompt\n"), ("odd.jsonl", b'{"prompt": "a"}\n{"prompt": \n')]
)
def test_files_without_rows_and_malformed_ones(
    main: Script, server: ChatServer, tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    assert name in refused(main(NAME, *asked(server, tmp_path / name, "./out")), 4)
    assert server.requests == []
    assert not (tmp_path / "work/out").exists()


def test_what_datasets_knows_of_the_columns_stays_known(script: Script, server: ChatServer, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value, load_dataset

    features = Features({"prompt": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    Dataset.from_dict({"prompt": ["abc"], "label": [1]}, features=features).to_parquet(tmp_path / "rows.parquet")
    done_well(script(NAME, *asked(server, tmp_path / "rows.parquet", "./out")))
    files = {"train": str(tmp_path / "work/out/data/*.parquet")}
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["label"].names == ["no", "yes"]
    assert loaded[0]["response"] == "cba"


def test_columns_are_renamed_first(script: Script, server: ChatServer, tmp_path: Path) -> None:
    rows = prompts(tmp_path, [{"question": "abc", "response": "old"}])
    line = refused(script(NAME, *asked(server, rows, "./out", "--map", "question=prompt")), 4)
    assert "there would be two columns 'response'" in line
    fix = shlex.split(line.rpartition("--map ")[2])
    done_well(script(NAME, *asked(server, rows, "./out", "--map", "question=prompt", *fix)))
    (row,) = answers(tmp_path / "work/out").to_dicts()
    assert (row["prompt"], row["my_response"], row["response"]) == ("abc", "old", "cba")


def test_options_reach_the_api(script: Script, server: ChatServer, tmp_path: Path) -> None:
    words = '--temperature 0.9 --top-p 0.5 --top-k 7 --max-tokens 9 --stop x --stop-token-ids 3 4 --engine-args {"a":1}'
    more = '--presence-penalty 0.5 --frequency-penalty -0.5 --repetition-penalty 1.1 --chat-template-kwargs {"b":2}'
    rows = prompts(tmp_path, [{"prompt": "abc"}])
    done_well(script(NAME, *asked(server, rows, "./out", *words.split(), *more.split())))
    done_well(script(NAME, *asked(server, rows, "./plain", "--temperature", "0")))
    full, plain = server.requests
    expected = {"temperature": 0.9, "top_p": 0.5, "top_k": 7, "max_tokens": 9, "stop": ["x"], "stop_token_ids": [3, 4]}
    expected |= {"presence_penalty": 0.5, "frequency_penalty": -0.5, "repetition_penalty": 1.1, "a": 1}
    assert {**full, "seed": 0} == {
        **expected,
        "chat_template_kwargs": {"b": 2},
        "model": "m",
        "messages": [{"role": "user", "content": "abc"}],
        "seed": 0,
    }
    assert plain.keys() == {"model", "messages", "temperature", "max_tokens"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--prompt-column", "promt"), 4, "no column 'promt'"),
        (("--map", "a=b"), 4, "no column 'a'"),
        (("--map", "a"), 2, "--map takes OLD=NEW"),
        (("--output-column", "prompt"), 4, "two columns 'prompt'"),
        (("--messages-column", "a", "--prompt-column", "b"), 2, "--messages-column or --prompt-column"),
        (("--temperature", "-1"), 2, "--temperature must be at least 0"),
        (("--temperature", "nan"), 2, "--temperature must be at least 0"),
        (("--top-p", "0"), 2, "--top-p must be above 0"),
        (("--presence-penalty", "3"), 2, "from -2 to 2"),
        (("--part-rows", "0"), 2, "--part-rows must be at least 1"),
        (("--engine-args", "{"), 2, "--engine-args"),
        (("--engine-args", "[1]"), 2, "take a JSON object"),
        (("--base-url", "http://user:secret@127.0.0.1/v1"), 2, "needs --base-url"),
        (("--engine", "transformers", "--presence-penalty", "1"), 2, "no such penalty"),
        (("--shard", "3/2"), 2, "--shard takes I/N"),
        (("--split", "test"), 4, "cannot read"),
    ],
)
def test_usage_is_refused_before_anything_is_asked(
    main: Script, server: ChatServer, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    assert said in refused(main(NAME, *asked(server, prompts(tmp_path), "./out"), *words), code)
    assert server.requests == []
    assert not (tmp_path / "work/out").exists()


def test_the_fix_for_a_missing_column_works(script: Script, server: ChatServer, tmp_path: Path) -> None:
    rows = prompts(tmp_path, [{"text": "ab"}])
    line = refused(script(NAME, *asked(server, rows, "./out")), 4)
    assert line.endswith("Fix: add --prompt-column; choose from text")
    done_well(script(NAME, *asked(server, rows, "./out", "--prompt-column", "text")))


def test_names_with_quotes_and_line_breaks(script: Script, server: ChatServer, tmp_path: Path) -> None:
    name = "a\"b'\n`# x`"
    rows = prompts(tmp_path, [{name: "abc"}, {name: ""}])
    assert "\n" not in refused(script(NAME, *asked(server, rows, "./out")), 4)
    done_well(script(NAME, *asked(server, rows, "./out", "--prompt-column", name)))
    assert answers(tmp_path / "work/out")["response"].to_list() == ["cba", None]


@pytest.mark.parametrize("output", [".", "./prompts.jsonl"])
def test_an_input_that_is_the_output(script: Script, server: ChatServer, tmp_path: Path, output: str) -> None:
    prompts(tmp_path / "work")
    assert "lie in OUTPUT" in refused(script(NAME, *asked(server, "./prompts.jsonl", output)), 2)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["prompts.jsonl"]


def test_an_api_needs_its_address(script: Script, tmp_path: Path) -> None:
    done = script(NAME, prompts(tmp_path), "./out", "--engine", "openai", "--model", "m")
    assert "--base-url" in refused(done, 2)


@pytest.mark.parametrize(("status", "code"), [(401, 3), (404, 4), (405, 5)])
def test_an_api_that_refuses_everything(script: Script, tmp_path: Path, status: int, code: int) -> None:
    with chat_server(refuses=status) as server:
        line = refused(script(NAME, *asked(server, prompts(tmp_path), "./out")), code)
    assert f"answered {status}" in line
    assert not (tmp_path / "work/out").exists()


def test_a_model_that_cannot_be_loaded(script: Script, tmp_path: Path) -> None:
    """Neither vLLM nor transformers is here: one line, and nothing was written."""
    (tmp_path / "model").mkdir()
    for engine in ("vllm", "transformers"):
        words = (prompts(tmp_path), "./out", "--engine", engine, "--model", tmp_path / "model")
        assert f"{engine} cannot load" in refused(script(NAME, *words), 5)
    assert not (tmp_path / "work/out").exists()


def test_a_model_that_is_not_there(script: Script, tmp_path: Path, hub_environment: dict[str, str]) -> None:
    for name in ("alice/none", "no model"):
        done = script(NAME, prompts(tmp_path), "./out", "--model", name, env=hub_environment)
        assert f"there is no model {name}" in refused(done, 4)


def test_seed_command_line_on_the_hub(
    script: Script, server: ChatServer, publish: Publish, client: HfApi, hub_environment: dict[str, str]
) -> None:
    publish("alice/chats", {"train.jsonl": jsonl([{"messages": [{"role": "user", "content": "abc"}]}] * 7)})
    seeds = ("--messages-column", "messages", "--temperature", "0.7", "--top-p", "0.8", "--max-tokens", "2048")
    words = asked(server, "alice/chats", "alice/out", *seeds, "--commit-every", "0")
    words[words.index("--model")] = "--model-id"
    done = script(NAME, *words, env=hub_environment)
    assert "7 rows" in done_well(done)
    files = client.list_repo_files("alice/out", repo_type="dataset")
    names = [f"data/train-{start:08d}.parquet" for start in (0, 5)]
    assert [name for name in files if name.startswith("data/")] == names
    head = client.dataset_info("alice/out").sha
    done_well(script(NAME, *words, env=hub_environment))
    assert client.dataset_info("alice/out").sha == head
    assert len(server.requests) == 7
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize(("option", "private"), [((), True), (("--public",), False)])
def test_the_output_is_as_private_as_the_input(
    script: Script,
    server: ChatServer,
    publish: Publish,
    client: HfApi,
    hub_environment: dict[str, str],
    option: tuple[str, ...],
    private: bool,
) -> None:
    publish("alice/chats", {"train.jsonl": jsonl([{"prompt": "abc"}])}, private=True)
    done_well(script(NAME, *asked(server, "alice/chats", "alice/out", *option), env=hub_environment))
    assert client.dataset_info("alice/out").private == private


def test_dry_run_asks_and_writes_nothing(script: Script, server: ChatServer, tmp_path: Path) -> None:
    said = done_well(script(NAME, *asked(server, prompts(tmp_path), "./out", "--dry-run")))
    assert re.fullmatch(r"23 rows of \S+ at [0-9a-f]{64}, in 5 parts, to \./out\n", said)
    assert server.requests == []
    assert list((tmp_path / "work").iterdir()) == []


def test_a_token_that_may_not_write(
    script: Script, server: ChatServer, tmp_path: Path, hub_environment: dict[str, str]
) -> None:
    words = asked(server, prompts(tmp_path), "alice/out")
    refused(script(NAME, *words, env=hub_environment | {"HF_TOKEN": READ_TOKEN}), 3)
    assert server.requests == []


def test_a_seed_belongs_to_a_row(script: Script, server: ChatServer, tmp_path: Path) -> None:
    """The same in parts of another size, in shards and after a lost part; another for each row and each --seed."""

    def seeds() -> dict[str, int]:
        found = {request["messages"][-1]["content"]: request["seed"] for request in server.requests}
        server.requests.clear()
        return found

    rows = prompts(tmp_path)
    done_well(script(NAME, *asked(server, rows, "./out")))
    whole = seeds()
    assert len(set(whole.values())) == 23
    for number in (1, 2):
        done_well(script(NAME, *asked(server, rows, "./shards", "--shard", f"{number}/2", "--part-rows", "3")))
    assert seeds() == whole
    (tmp_path / "work/out/data/train-00000010.parquet").unlink()
    done_well(script(NAME, *asked(server, rows, "./out", "--concurrency", "3")))
    again = seeds()
    assert again == {f"question {number}": whole[f"question {number}"] for number in range(10, 15)}
    done_well(script(NAME, *asked(server, rows, "./other", "--seed", "1")))
    assert not set(seeds().values()) & set(whole.values())


def test_another_run_is_not_mixed_in(script: Script, server: ChatServer, tmp_path: Path) -> None:
    rows = prompts(tmp_path)
    done_well(script(NAME, *asked(server, rows, "./out")))
    other = asked(server, rows, "./out", "--temperature", "0.1")
    line = refused(script(NAME, *other), 4)
    assert "another run (arguments differ)" in line and "--keep" in line and "--overwrite" in line
    (tmp_path / "work/out/data/train-00000000.parquet").unlink()
    done_well(script(NAME, *other, "--keep"))
    assert len(server.requests) == 23 + 5
    assert "kept" in (tmp_path / "work/out/README.md").read_text()
    done_well(script(NAME, *other, "--overwrite"))
    assert len(server.requests) == 2 * 23 + 5


@pytest.mark.heavy
@pytest.mark.inference
def test_killed_at_each_part_and_run_again(environment: dict[str, str], tmp_path: Path) -> None:
    """Only questions of unfinished parts are asked again, and the rows are those of a quiet run."""
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
        done_well(subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True))
    assert answers(tmp_path / "out").equals(answers(tmp_path / "whole"))
    assert sum(server.asked.values()) <= 23 + 10 * 2


@pytest.mark.heavy
@pytest.mark.inference
def test_eight_shards_share_one_output_and_half_of_them_are_killed(environment: dict[str, str], tmp_path: Path) -> None:
    prompts(tmp_path)
    with chat_server(pause=0.3) as server:
        words = asked(server, "prompts.jsonl", "./out", "--concurrency", "1")
        argv = [sys.executable, CATALOG / NAME, *words, "--part-rows", "2", "--shard"]
        start = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL}
        running = [subprocess.Popen([*argv, f"{number}/8"], **start) for number in range(1, 9)]
        while not list(tmp_path.glob("out/data/train-*.parquet")) and any(one.poll() is None for one in running):
            time.sleep(0.005)
        for process in running[::2]:
            process.kill()
        assert [process.wait() for process in running[1::2]] == [0] * 4
        killed = [number for number in range(1, 9, 2) if running[number - 1].wait() == -signal.SIGKILL]
        assert killed
        again = [subprocess.Popen([*argv, f"{number}/8"], **start) for number in killed]
        assert [process.wait() for process in again] == [0] * len(killed)
        whole = [sys.executable, CATALOG / NAME, *asked(server, "prompts.jsonl", "./whole"), "--part-rows", "2"]
        assert subprocess.run(whole, cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    assert answers(tmp_path / "out")["id"].to_list() == list(range(23))
    assert "23 rows" in (tmp_path / "out/README.md").read_text()
    files = {path.name: path.read_bytes() for path in (tmp_path / "out/data").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "whole/data").iterdir()}
    assert len(files) == 12


def test_shards_keep_below_the_limit_of_commits() -> None:
    parse = module(NAME).parse_arguments
    words = ["in", "out", "--model", "m"]
    assert parse(words).commit_every == 240
    for count in (2, 4, 5, 8, 100):
        args = parse([*words, "--shard", f"2/{count}"])
        assert args.shard == (2, count)
        assert count * 3600 / args.commit_every <= 60


def test_a_broken_api_leaves_what_is_finished_and_says_how_to_go_on(script: Script, tmp_path: Path) -> None:
    with chat_server(first_answers={f"question {number}": [401] * 20 for number in range(12, 23)}) as server:
        words = asked(server, prompts(tmp_path), "./out", "--concurrency", "1")
        assert "OPENAI_API_KEY" in refused(script(NAME, *words), 3)
        assert answers(tmp_path / "work/out")["id"].to_list() == list(range(10))
        server.first_answers.clear()
        done_well(script(NAME, *words))
    assert answers(tmp_path / "work/out")["id"].to_list() == list(range(23))


def test_an_api_that_is_busy_for_a_moment(script: Script, tmp_path: Path) -> None:
    with chat_server(first_answers={"question 3": [429, 500], "question 4": [503]}) as server:
        done_well(script(NAME, *asked(server, prompts(tmp_path), "./out")))
    assert answers(tmp_path / "work/out")["error"].null_count() == 23
    assert server.asked["question 3"] == 3


def test_answers_that_are_none(script: Script, tmp_path: Path) -> None:
    with chat_server(answers=lambda _: []) as server:
        line = refused(script(NAME, *asked(server, prompts(tmp_path), "./out")), 4)
    assert "row 0, prompt: the API answered 200" in line


def test_the_card_says_what_the_rows_are(script: Script, tmp_path: Path) -> None:
    with chat_server(first_answers={f"question {number}": [400] for number in (3, 7, 11)}) as server:
        prompts(tmp_path)
        done_well(script(NAME, *asked(server, "../prompts.jsonl", "./out", "--temperature", "0.25")))
    rows = answers(tmp_path / "work/out")
    card = (tmp_path / "work/out/README.md").read_text()
    _, front, text = card.split("---\n", 2)
    assert json.loads(front)["tags"] == ["uv-script", "jobshelf"]
    assert f"{rows.height} rows of `../prompts.jsonl`" in text and f"\n{rows['error'].count()} of them" in text
    run = json.loads(re.search(r"```json\n(.*)\n```", text, re.DOTALL)[1])
    held = json.loads((tmp_path / "work/out/run.json").read_text())
    assert {name: run[name] for name in held} == held
    assert json.loads(run["arguments"])["temperature"] == 0.25
    assert run["versions"].keys() == {"datasets"}


def test_a_name_with_backticks_stays_code(script: Script, server: ChatServer, tmp_path: Path) -> None:
    source = tmp_path / "a` [b](c) `\n# d.jsonl"
    source.write_bytes(jsonl([{"prompt": "abc"}]))
    done_well(script(NAME, *asked(server, source, "./out")))
    text = (tmp_path / "work/out/README.md").read_text()
    assert "' [b](c) ' # d.jsonl`" in text and "\n# d" not in text


def test_a_disk_that_is_full(environment: dict[str, str], server: ChatServer, tmp_path: Path, script: Script) -> None:
    """No file may grow beyond 20 kB, and a part has more: it says so, and later goes on with what it has."""
    rows = [{"prompt": "".join(random.Random(number).choices(string.printable, k=9000))} for number in range(12)]
    words = asked(server, prompts(tmp_path, rows), "./out")
    cached = {"HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done_well(script(NAME, *words, "--dry-run", env=environment | cached))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    argv = [sys.executable, CATALOG / NAME, *words]
    done = subprocess.run(
        argv, cwd=tmp_path / "work", env=environment | cached, capture_output=True, text=True, preexec_fn=limited
    )
    assert "File too large" in refused(done, 5)
    done_well(script(NAME, *words, env=environment | cached))
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
    done_well(script(NAME, *words, env=hub_environment))
    hub.clear_faults()
    folder = Path(client.snapshot_download("alice/out", repo_type="dataset", local_dir=tmp_path / "held"))
    assert answers(folder)["id"].to_list() == list(range(23))
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize("status", [405, 422, 501])
def test_a_hub_without_buckets(
    script: Script,
    server: ChatServer,
    hub: Hub,
    client: HfApi,
    hub_environment: dict[str, str],
    tmp_path: Path,
    status: int,
) -> None:
    """A dataset needs none; for an output that is one, the Hub's answer is shown."""
    for method in ("GET", "POST", "PUT"):
        hub.fail(path="^/api/buckets", method=method, kind="status", status=status, times=1000)
    done_well(script(NAME, *asked(server, prompts(tmp_path), "alice/out"), env=hub_environment))
    assert "README.md" in client.list_repo_files("alice/out", repo_type="dataset")
    done = script(NAME, *asked(server, prompts(tmp_path), "hf://buckets/alice/b/run"), env=hub_environment)
    assert str(status) in refused(done, 5)


def test_a_hub_that_refuses_for_good(
    script: Script, server: ChatServer, hub: Hub, client: HfApi, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    hub.fail(path="^/api/datasets/alice/out/commit/", method="POST", kind="status", status=403, nth=3, times=1000)
    words = asked(server, prompts(tmp_path), "alice/out", "--commit-every", "0")
    line = refused(script(NAME, *words, env=hub_environment), 6)
    hub.clear_faults()
    command = shlex.split(line.rpartition("Fix: ")[2])
    env = hub_environment | {"HF_TOKEN": TOKEN}
    assert command[:2] == ["hf", "upload"], line
    pushed = subprocess.run(command, cwd=tmp_path / "work", env=env, capture_output=True, text=True)
    assert pushed.returncode == 0, pushed.stderr
    done_well(script(NAME, *words, env=hub_environment))
    folder = Path(client.snapshot_download("alice/out", repo_type="dataset", local_dir=tmp_path / "held"))
    assert answers(folder)["id"].to_list() == list(range(23))
    assert set(server.asked.values()) == {1}
