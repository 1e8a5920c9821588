"""cot-self-instruct.py as a user meets it, an API on loopback playing the models; real models run in the heavy lane."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from huggingface_hub import HfApi

from catalog.conftest import CATALOG, Publish, Script, jsonl, module
from catalog.self_instruct import RESPONSES, WAYS, K, candidates, drawn, example, kept, play
from conftest import READ_TOKEN, TOKEN
from harness.chat_server import ChatServer, chat_server

NAME = "cot-self-instruct.py"
RealRows = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with model() as running:
        yield running


def model(**options: Any) -> AbstractContextManager[ChatServer]:
    return chat_server(**{"answers": play, **options})


def asked(server: ChatServer, *words: str | Path) -> list[str | Path]:
    served = ["--engine", "openai", "--base-url", server.url, "--model", "m", "--json"]
    return [*served, "--num-samples", "40", "--part-rows", "8", "--k-responses", str(K), *words]


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that says why, without a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.match(r"error: .*\. Fix: |\S+: error: ", last), done.stderr
    return last


@pytest.fixture
def seeds(real_rows: RealRows, tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(jsonl(real_rows("gsm8k_test")[:50]))
    return path


def inside(main: Script) -> Any:
    """Return the module that `main` runs."""
    return main.__globals__["module"](NAME)


def way(row: dict[str, Any]) -> str:
    return re.search(r"the (\w+) way", row["question"])[1]


def of_card(folder: Path) -> dict[str, int]:
    """Return the numbers in the table of the card."""
    lines = re.findall(r"^\| (.+?) \| ([\d,]+) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    return {name: int(number.replace(",", "")) for name, number in lines}


def test_answer_consistency_drops_what_a_hand_computation_drops(
    main: Script, server: ChatServer, seeds: Path, tmp_path: Path
) -> None:
    done = told(main(NAME, *asked(server, seeds, "./out")))
    assert (done["task"], done["filter_method"], done["seeds"]) == ("reasoning", "answer-consistency", 50)
    out = tmp_path / "work/out"
    rows = candidates(out)
    assert [row["candidate"] for row in rows] == list(range(40))
    answered = [row for row in rows if row["question"]]
    ways = Counter(way(row) for row in answered if row["dropped"] != "seed copy")
    assert ways.keys() == WAYS.keys(), "the rows do not show every way"
    for row in answered:
        answer, solutions, dropped = WAYS[way(row)]
        assert (row["answer"], row["dropped"]) == (answer, dropped)
        assert row["solutions"] == ([one or None for one in solutions] or None)
        assert "draft" not in row["question"]
    agreeing = next(row for row in answered if way(row) == "agree")
    assert (agreeing["majority"], agreeing["votes"], agreeing["share"]) == ("42", 5, 5 / 6)
    assert all("the API gave no answer" in row["error"] for row in answered if way(row) == "refused")
    sound = {row["question"]: row for row in reversed(rows) if row["dropped"] is None}
    assert {row["question"] for row in kept(out)} == sound.keys()
    assert len(kept(out)) == len(sound) == done["kept"]
    assert sum(row["dropped"] is None for row in rows) > len(sound), "no copy of another candidate was made"
    assert [row["candidate"] for row in kept(out)] == sorted(row["candidate"] for row in sound.values())
    assert all(not row["question"].startswith("**") for row in kept(out))


def test_every_attempt_has_its_seeds_and_they_are_few(
    main: Script, server: ChatServer, seeds: Path, tmp_path: Path, real_rows: RealRows
) -> None:
    told(main(NAME, *asked(server, seeds, "./out", "--max-attempts", "2", "--filter-method", "none")))
    texts = [row["question"].strip() for row in real_rows("gsm8k_test")[:50]]
    prompts = {request["messages"][0]["content"] for request in server.requests}
    assert len(prompts) > 0.9 * len(server.requests), "attempts share their seeds"
    rows = candidates(tmp_path / "work/out")
    assert sum(row["attempts"] for row in rows) == len(server.requests)
    assert {row["attempts"] for row in rows} == {1, 2}
    for row in rows:
        first, second = (texts[place] for place in row["seed_indices"])
        assert first != second
        prompt = next(text for text in prompts if example(text, 1) == first and example(text, 2) == second)
        assert (row["dropped"] is None) == (drawn(prompt) % 7 > 1)
    assert {row["dropped"] for row in rows if row["attempts"] == 1} == {None}


def test_a_seed_belongs_to_a_step_of_a_candidate(main: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    """The same in parts of another size, in shards and after a lost part; another for each step and each --seed."""

    def said() -> set[tuple[str, int]]:
        found = {(request["messages"][0]["content"], request["seed"]) for request in server.requests}
        server.requests.clear()
        return found

    words = asked(server, seeds, "--num-samples", "24")
    told(main(NAME, *words, "./out"))
    whole = said()
    assert len({seed for _, seed in whole}) == len(whole) > 24 * 3
    for number in (1, 2):
        told(main(NAME, *words, "./shards", "--shard", f"{number}/2", "--part-rows", "6"))
    assert said() == whole
    assert candidates(tmp_path / "work/shards") == candidates(tmp_path / "work/out")
    lost = tmp_path / "work/out/data/candidates-00000008.parquet"
    before = lost.read_bytes()
    lost.unlink()
    told(main(NAME, *words, "./out", "--concurrency", "3"))
    assert said() < whole
    assert lost.read_bytes() == before
    told(main(NAME, *words, "./other", "--seed", "1", "--filter-method", "none"))
    assert not {seed for _, seed in said()} & {seed for _, seed in whole}


def test_the_card_can_be_computed_again(main: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    done = told(main(NAME, *asked(server, seeds, "./out", "--max-attempts", "2")))
    out = tmp_path / "work/out"
    rows, left, card = candidates(out), kept(out), (tmp_path / "work/out/README.md").read_text()
    dropped = Counter(row["dropped"] for row in rows)
    assert of_card(out) == {
        "candidates": len(rows),
        "dropped: the engine gave no answer": dropped["error"],
        "dropped: not written in the form asked for": dropped["unparsed"],
        "dropped: a near copy of a seed": dropped["seed copy"],
        "dropped: the majority of the solutions has another answer, or there is none": dropped["inconsistent"],
        "dropped: the lowest reward is below the cut": 0,
        "dropped: a near copy of another candidate": dropped[None] - len(left),
        "kept": len(left),
    }
    assert Counter(of_card(out).values())[0] == 1
    assert done["failed"] == sum(row["error"] is not None for row in rows)
    attempts, tokens = (sum(row[name] for row in rows) for name in ("attempts", "tokens"))
    assert f"All candidates took {attempts:,} attempts and {tokens:,} tokens." in card
    assert f"{len(left)} reasoning prompts, kept of 40 candidates" in card
    held = json.loads((out / "run.json").read_text())
    told_run = json.loads(re.search(r"```json\n(.*)\n```", card, re.DOTALL)[1])
    assert {name: told_run[name] for name in held} == held
    assert json.loads(held["arguments"])["max_attempts"] == 2


def test_both_configs_load(main: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    done = told(main(NAME, *asked(server, seeds, "./out")))
    for config, count in ((None, done["kept"]), ("default", done["kept"]), ("candidates", 40)):
        loaded = load_dataset(str(tmp_path / "work/out"), config, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == count
        assert "question" in loaded.column_names


def test_rip_keeps_what_is_not_below_the_quantile_of_the_lowest_rewards(
    main: Script, server: ChatServer, seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(prompt: str, response: str) -> float:
        return drawn(prompt + response) % 1000 / 7

    monkeypatch.setattr(inside(main), "load_judge", lambda name, commit: judge)
    task = ("--task-type", "instruction", "--rip-quantile", "0.25", "--reward-model", tmp_path)
    done = told(main(NAME, *asked(server, seeds, "./rip", *task)))
    assert (done["task"], done["filter_method"]) == ("instruction", "rip")
    rows = candidates(tmp_path / "work/rip")
    for row in rows:
        texts = [f"Reply {number} to {row['prompt'][:20]}" for number in range(K)]
        assert row["rewards"] == [judge(row["prompt"], text) for text in texts]
        assert row["reward"] == min(row["rewards"])
    edge = pl.Series([row["reward"] for row in rows]).quantile(0.25, "linear")
    expected = [row["candidate"] for row in rows if row["reward"] >= edge]
    assert [row["candidate"] for row in kept(tmp_path / "work/rip")] == expected
    assert (
        len(expected)
        == done["kept"]
        == 30
        == 40 - of_card(tmp_path / "work/rip")["dropped: the lowest reward is below the cut"]
    )

    told(main(NAME, *asked(server, seeds, "./both", "--filter-method", "both", "--reward-model", tmp_path)))
    rows = candidates(tmp_path / "work/both")
    assert all((row["reward"] is not None) == (row["dropped"] is None) for row in rows)
    sound = [row for row in rows if row["dropped"] is None]
    edge = pl.Series([row["reward"] for row in sound]).quantile(0.5, "linear")
    above = [row["question"] for row in sound if row["reward"] >= edge]
    assert [row["question"] for row in kept(tmp_path / "work/both")] == list(dict.fromkeys(above))


def test_instructions_are_of_one_category(
    main: Script, server: ChatServer, tmp_path: Path, real_rows: RealRows
) -> None:
    rows = [
        {**row, "category": ("maths", "writing")[number % 2]}
        for number, row in enumerate(real_rows("mt_bench_questions"))
    ]
    (tmp_path / "bench.jsonl").write_bytes(jsonl(rows))
    done = told(main(NAME, *asked(server, tmp_path / "bench.jsonl", "./out", "--filter-method", "none")))
    assert done["task"] == "instruction"
    for row in candidates(tmp_path / "work/out"):
        assert {rows[place]["category"] for place in row["seed_indices"]} == {row["category"]}
        assert row["prompt"].startswith("Please explain")
        assert row["reasoning"] == "A plan."
    assert len(kept(tmp_path / "work/out")) == len(server.requests) == 40
    assert kept(tmp_path / "work/out")[0].keys() == {"prompt", "category", "candidate", "seed_indices"}


def test_seeds_are_conversations(main: Script, server: ChatServer, tmp_path: Path, real_rows: RealRows) -> None:
    rows = [{"conversations": row["conversations"][-2:]} for row in real_rows("sharegpt_conversations")]
    (tmp_path / "chats.jsonl").write_bytes(jsonl(rows))
    words = ("--filter-method", "none", "--num-samples", "12")
    told(main(NAME, *asked(server, tmp_path / "chats.jsonl", "./out"), *words))
    for request in server.requests:
        text = request["messages"][0]["content"]
        assert "'value'" not in text and '"value"' not in text
    said = {one["value"].strip() for row in rows for one in row["conversations"] if one["from"] == "human"}
    assert example(server.requests[0]["messages"][0]["content"], 1) in said


def test_another_model_responds(main: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    told(main(NAME, *asked(server, seeds, "./out", "--filter-model", "solver"), "--num-samples", "8"))
    roles = {(request["model"], request["seed"] in RESPONSES) for request in server.requests}
    assert roles == {("m", False), ("solver", True)}
    assert "solutions by `solver`" in (tmp_path / "work/out/README.md").read_text()


def test_options_reach_the_api(main: Script, server: ChatServer, seeds: Path) -> None:
    words = '--temperature 0.9 --top-p 0.5 --max-tokens 9 --engine-args {"a":1} --chat-template-kwargs {"b":2}'
    told(main(NAME, *asked(server, seeds, "./out", *words.split(), "--filter-method", "none")))
    told(main(NAME, *asked(server, seeds, "./plain", "--temperature", "0", "--filter-method", "none")))
    sent = server.requests[0]
    expected = {"temperature": 0.9, "top_p": 0.5, "max_tokens": 9, "a": 1, "chat_template_kwargs": {"b": 2}}
    assert {name: sent[name] for name in expected} == expected
    assert server.requests[-1].keys() == {"model", "messages", "temperature", "max_tokens"}


def test_a_response_that_is_refused_drops_its_candidate_alone(
    main: Script, server: ChatServer, seeds: Path, tmp_path: Path
) -> None:
    whole = told(main(NAME, *asked(server, seeds, "./whole")))
    row = next(row for row in candidates(tmp_path / "work/whole") if row["dropped"] is None)
    server.first_answers = {module(NAME).SOLVE.format(prompt=row["question"]): [400]}
    done = told(main(NAME, *asked(server, seeds, "./out")))
    found = candidates(tmp_path / "work/out")[row["candidate"]]
    assert found["dropped"] == "error" and "400 for" in found["error"]
    assert done["failed"] == whole["failed"] + 1
    assert (
        f"engine gave no answer | {of_card(tmp_path / 'work/whole')['dropped: the engine gave no answer'] + 1} |"
        in (tmp_path / "work/out/README.md").read_text()
    )


def test_when_no_candidate_is_left_it_stops_early_and_says_why(main: Script, seeds: Path, tmp_path: Path) -> None:
    """The reasons of the first three on the screen, no part written, and nothing in the way of the next try."""
    with model(answers=lambda _: ["I would rather not."]) as server:
        line = refused(main(NAME, *asked(server, seeds, "./out")), 4)
        assert (
            "none of the first 8 candidates is left: candidate 0: found no question at the end of 'I would ra" in line
        )
        assert "candidate 2: " in line and "candidate 3" not in line
        assert len(server.requests) == 4 * 8
    assert not (tmp_path / "work/out").exists()
    wrong = [name for name, (_, _, dropped) in WAYS.items() if dropped]

    def mostly_wrong(request: dict[str, Any]) -> list[str]:
        said = play(request)[0] if request["seed"] not in RESPONSES else ""
        if "[Final Answer]" not in said or drawn(said) % 10 == 0:
            return play(request)
        return [said.replace("\\boxed", "\\boxed{1}, not \\boxed{9").replace("}}$$", "}}}$$")]

    assert wrong
    with model(answers=mostly_wrong) as server:
        line = refused(main(NAME, *asked(server, seeds, "./out", "--part-rows", "2")), 4)
        assert "its answer is" in line and "its solutions say" in line
        assert "--part-rows" in line.rpartition("Fix: ")[2]
        told(main(NAME, *asked(server, seeds, "./out", "--part-rows", "40")))


SEED = {"question": "Why is the sky blue?", "answer": "9"}
BAD_SEEDS: list[tuple[list[dict[str, Any]], str]] = [
    ([SEED], "1 rows of"),
    ([SEED, SEED], "1 rows of"),
    ([{"question": "", "answer": "1"}, {"question": None, "answer": "2"}], "0 rows of"),
    ([SEED, {"question": "Why?", "answer": ""}], "1 rows of"),
    ([{"text": "a"}, {"text": "b"}], "add --question-column; choose from text"),
    ([{"prompt": f"do {n}", "category": f"c{n}"} for n in range(3)], "no two of them in one category"),
]


@pytest.mark.parametrize(("rows", "said"), BAD_SEEDS)
def test_seeds_that_are_none(
    main: Script, server: ChatServer, tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(jsonl(rows))
    assert said in refused(main(NAME, *asked(server, tmp_path / "rows.jsonl", "./out"), "--filter-method", "none"), 4)
    assert server.requests == []
    assert not (tmp_path / "work/out").exists()


def test_the_fixes_for_columns_and_filters_work(main: Script, server: ChatServer, tmp_path: Path) -> None:
    odd = 'te"xt\n'
    (tmp_path / "rows.jsonl").write_bytes(jsonl([{odd: f"do {n} things", "kind": str(n)} for n in range(4)]))
    words = asked(server, tmp_path / "rows.jsonl", "./out", "--filter-method", "none")
    assert "add --question-column; choose from" in refused(main(NAME, *words), 4)
    words += ["--question-column", odd]
    assert "or --category-column" in refused(main(NAME, *words, "--category-column", "kind"), 4)
    assert "add --filter-method rip" in refused(main(NAME, *words, "--filter-method", "both"), 2)
    assert told(main(NAME, *words))["kept"] == 12, "so many pairs there are"
    words += ["--task-type", "reasoning", "--filter-method", "answer-consistency", "--part-rows", "40", "--overwrite"]
    assert told(main(NAME, *words))["kept"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--question-column", "questoin"), 4, "no column 'questoin'. Fix: correct --question-column; choose from"),
        (("--task-type", "instruction", "--filter-method", "both"), 2, "--filter-method rip"),
        (("--temperature", "0"), 2, "equal responses"),
        (("--temperature", "-1"), 2, "--temperature must be"),
        (("--k-responses", "0"), 2, "at least 1"),
        (("--rip-quantile", "-0.1"), 2, "--rip-quantile must be"),
        (("--num-samples", "0"), 2, "at least 1"),
        (("--filter-method", "best"), 2, "invalid choice"),
        (("--engine", "transformers", "--filter-model", "other"), 2, "--engine openai"),
        (("--base-url", "http://user:secret@127.0.0.1/v1"), 2, "needs --base-url"),
        (("--engine-args", "[1]"), 2, "take a JSON object"),
        (("./and-another",), 2, "unrecognized arguments"),
        (("--shard", "3/2"), 2, "--shard"),
        (("--split", "test"), 4, "cannot read"),
    ],
)
def test_usage_is_refused_before_anything_is_asked(
    main: Script, server: ChatServer, seeds: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    assert said in refused(main(NAME, *asked(server, seeds, "./out", *words)), code)
    assert server.requests == []
    assert not (tmp_path / "work/out").exists()


@pytest.mark.parametrize("output", [".", "./seeds.jsonl"])
def test_an_input_that_is_the_output(
    main: Script, server: ChatServer, seeds: Path, tmp_path: Path, output: str
) -> None:
    seeds.rename(tmp_path / "work/seeds.jsonl")
    assert "must not lie in OUTPUT" in refused(main(NAME, *asked(server, "./seeds.jsonl", output)), 2)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["seeds.jsonl"]


def test_a_model_that_cannot_be_loaded(script: Script, seeds: Path, tmp_path: Path) -> None:
    """Neither vLLM nor transformers is here: one line, and nothing was written."""
    (tmp_path / "model").mkdir()
    for words in (("--engine", "vllm"), ("--engine", "transformers"), ("--filter-method", "both")):
        models = ("--model", tmp_path / "model", "--reward-model", tmp_path / "model")
        assert "cannot load" in refused(script(NAME, seeds, "./out", *models, *words), 5)
    assert not (tmp_path / "work/out").exists()


@pytest.mark.parametrize(("status", "code"), [(401, 3), (404, 4), (405, 5)])
def test_an_api_that_refuses_everything(script: Script, seeds: Path, tmp_path: Path, status: int, code: int) -> None:
    with model(refuses=status) as server:
        done = script(NAME, *asked(server, seeds, "./out"))
        assert f"answered {status}" in refused(done, code)
        assert done.stderr.count("error: ") == 1
        assert len(server.requests) < 50
    assert not (tmp_path / "work/out").exists()


def test_an_api_that_is_busy_for_a_moment(main: Script, seeds: Path, tmp_path: Path) -> None:
    with model() as server:
        told(main(NAME, *asked(server, seeds, "./whole")))
        texts = [request["messages"][0]["content"] for request in server.requests[:6]]
        server.first_answers = {text: [429, 500] if number % 2 else [503] for number, text in enumerate(texts)}
        told(main(NAME, *asked(server, seeds, "./out")))
    assert candidates(tmp_path / "work/out") == candidates(tmp_path / "work/whole")


def test_dry_run_asks_and_writes_nothing(main: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    plan = told(main(NAME, *asked(server, "--seed-dataset", seeds, "--output-dataset", "./out", "--dry-run")))
    assert (plan["dry_run"], plan["seeds"], plan["num_samples"]) == (True, 50, 40)
    assert server.requests == []
    assert list((tmp_path / "work").iterdir()) == []


def test_seed_command_line_on_the_hub(
    script: Script,
    server: ChatServer,
    publish: Publish,
    client: HfApi,
    hub_environment: dict[str, str],
    real_rows: RealRows,
) -> None:
    publish("alice/seeds", {"train.jsonl": jsonl(real_rows("gsm8k_test")[:30])}, private=True)
    line = "--seed-dataset alice/seeds --output-dataset alice/out --task-type reasoning --num-samples 5000"
    line += " --filter-method answer-consistency"
    words = [*line.split(), *asked(server), "--commit-every", "0"]
    done = script(NAME, *words, env=hub_environment)
    assert told(done)["candidates"] == 40
    files = set(client.list_repo_files("alice/out", repo_type="dataset"))
    assert {f"data/candidates-{start:08d}.parquet" for start in range(0, 40, 8)} | {"data/train.parquet"} < files
    info = client.dataset_info("alice/out")
    assert info.private
    count = len(server.requests)
    again = script(NAME, *words, env=hub_environment)
    assert told(again) == told(done)
    assert client.dataset_info("alice/out").sha == info.sha
    assert len(server.requests) == count
    assert TOKEN not in done.stdout + done.stderr + again.stderr
    for name in ("README.md", "run.json"):
        assert TOKEN not in Path(client.hf_hub_download("alice/out", name, repo_type="dataset")).read_text()
    assert not any(TOKEN in key for key in server.keys)


@pytest.mark.parametrize("method", ["answer-consistency", "rip", "both", "none"])
def test_the_seed_command_line_as_it_is_written(
    method: str, main: Script, seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the models of its defaults, which are not here: 5,000 candidates of a large model, and a plan of it."""
    monkeypatch.setattr(inside(main), "model_commit", lambda *_: ("f" * 40, False))
    line = (
        f"--seed-dataset {seeds} --output-dataset ./O --task-type reasoning --num-samples 5000 --filter-method {method}"
    )
    done = main(NAME, *line.split(), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"filter_method: {method}\nmodel: Qwen/Qwen3-30B-A3B-Thinking-2507\nnum_samples: 5000\n" in done.stdout


def test_a_token_that_may_not_write(
    script: Script, server: ChatServer, seeds: Path, hub_environment: dict[str, str]
) -> None:
    words = asked(server, seeds, "alice/out")
    refused(script(NAME, *words, env=hub_environment | {"HF_TOKEN": READ_TOKEN}), 3)
    assert server.requests == []


def test_another_run_is_not_mixed_in(main: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    told(main(NAME, *asked(server, seeds, "./out")))
    other = asked(server, seeds, "./out", "--temperature", "0.1")
    line = refused(main(NAME, *other), 4)
    assert "another run (arguments differ)" in line and "--keep" in line and "--overwrite" in line
    told(main(NAME, *other, "--keep"))
    assert "kept" in json.loads((tmp_path / "work/out/run.json").read_text())
    told(main(NAME, *other, "--overwrite"))


@pytest.mark.timeout(900)
@pytest.mark.heavy
@pytest.mark.inference
def test_killed_at_each_part_and_run_again(environment: dict[str, str], seeds: Path, tmp_path: Path) -> None:
    def argv(server: ChatServer, output: str) -> list[str | Path]:
        words = asked(server, seeds, output, "--part-rows", "3", "--concurrency", "2")
        return [sys.executable, CATALOG / NAME, *words]

    with model(pause=0.01) as server:
        quiet = subprocess.run(argv(server, "./whole"), cwd=tmp_path, env=environment, capture_output=True, text=True)
        once = len(server.requests)
        server.requests.clear()
        for _ in range(10):
            parts = len(list(tmp_path.glob("out/data/candidates-*.parquet")))
            process = subprocess.Popen(argv(server, "./out"), cwd=tmp_path, env=environment, stdout=-3, stderr=-3)
            while len(list(tmp_path.glob("out/data/candidates-*.parquet"))) == parts and process.poll() is None:
                time.sleep(0.005)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        done = subprocess.run(argv(server, "./out"), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert {**told(done), "output": ""} == {**told(quiet), "output": ""}
    assert candidates(tmp_path / "out") == candidates(tmp_path / "whole")
    assert kept(tmp_path / "out") == kept(tmp_path / "whole")
    assert len(server.requests) <= once + 10 * 3 * (4 + K), "finished parts were asked again"


@pytest.mark.timeout(900)
@pytest.mark.heavy
@pytest.mark.inference
def test_eight_shards_share_one_output_and_half_of_them_are_killed(
    environment: dict[str, str], seeds: Path, tmp_path: Path
) -> None:
    with model(pause=0.02) as server:
        base = [sys.executable, CATALOG / NAME, *asked(server, seeds), "--part-rows", "3", "--concurrency", "2"]
        whole = subprocess.run([*base, "./whole"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        start = {"cwd": tmp_path, "env": environment, "stdout": -3, "stderr": -3}
        running = [subprocess.Popen([*base, "./out", "--shard", f"{number}/8"], **start) for number in range(1, 9)]
        while not list(tmp_path.glob("out/data/candidates-*.parquet")) and any(one.poll() is None for one in running):
            time.sleep(0.005)
        for process in running[::2]:
            process.kill()
        assert [process.wait() for process in running[1::2]] == [0] * 4
        killed = [number for number in range(1, 9, 2) if running[number - 1].wait() == -signal.SIGKILL]
        assert killed
        again = [subprocess.Popen([*base, "./out", "--shard", f"{number}/8"], **start) for number in killed]
        assert [process.wait() for process in again] == [0] * len(killed)
    assert candidates(tmp_path / "out") == candidates(tmp_path / "whole")
    assert kept(tmp_path / "out") == kept(tmp_path / "whole")
    assert told(whole)["kept"] == len(kept(tmp_path / "out"))
    assert of_card(tmp_path / "out") == of_card(tmp_path / "whole")


def test_a_broken_api_leaves_what_is_finished(script: Script, seeds: Path, tmp_path: Path) -> None:
    words = ("--concurrency", "1", "--num-samples", "20")
    with model() as server:
        whole = told(script(NAME, *asked(server, seeds, "./whole", *words)))
        last = candidates(tmp_path / "work/whole")[-1]["seed_indices"]
        rows = [json.loads(line)["question"].strip() for line in seeds.read_text().splitlines()]
        texts = {request["messages"][0]["content"] for request in server.requests}
        written = [text for text in texts if "[Example 1]" in text]
        breaking = next(
            text for text in written if [example(text, number) for number in (1, 2)] == [rows[place] for place in last]
        )
        server.first_answers = {breaking: [403] * 20}
        assert "OPENAI_API_KEY" in refused(script(NAME, *asked(server, seeds, "./out", *words)), 3)
        assert len(candidates(tmp_path / "work/out")) == 16
        assert not (tmp_path / "work/out/README.md").exists()
        server.first_answers.clear()
        assert told(script(NAME, *asked(server, seeds, "./out", *words)))["kept"] == whole["kept"]
    assert candidates(tmp_path / "work/out") == candidates(tmp_path / "work/whole")


def test_shards_keep_below_the_limit_of_commits() -> None:
    parse = module(NAME).parse_arguments
    for count in (2, 4, 5, 8, 100):
        args = parse(["in", "out", "--shard", f"2/{count}"])
        assert args.shard == (2, count)
        assert count * 3600 / args.commit_every <= 60


def test_help_is_short_and_light() -> None:
    code = (
        "import runpy, sys; sys.argv = [sys.argv[1], '--help']\ntry: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    code += "except SystemExit: print(sorted({'vllm', 'torch', 'datasets', 'pyarrow', 'openai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, CATALOG / NAME], capture_output=True, text=True)
    assert done.stdout.endswith("\n[]\n")


NEAR = "a farmer has twelve red hens and sells five of them on a sunny market day"


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        (NEAR, True),
        (NEAR.upper().replace(" ", "  ") + "?!", True),
        (NEAR + " morning", True),
        (NEAR.replace("red", "brown"), True),
        (NEAR + " and then buys six white geese from a friend", False),
        (NEAR.replace("red hens", "litres of milk").replace("them", "the rest"), False),
        ("sells five of them", False),
        ("", False),
    ],
)
def test_near_copies(text: str, copied: bool) -> None:
    known = [module(NAME).normal(one) for one in ("something else entirely different from that", NEAR)]
    assert module(NAME).is_near_copy(text, known) is copied


@pytest.mark.parametrize(
    ("said", "prompt", "answer"),
    [
        ("[New Question]\nHow many then?\n[End of Question]\n[Final Answer]\\boxed{4}[End of Answer]", "How many then?", "4"),
        ("## [New Question]:\nHow many then?\n\n**[Final Answer]**\n\n\\boxed{\\frac{1}{2}}", "How many then?", "\\frac{1}{2}"),
        ("<think>[New Question] no [Final Answer] 1</think>[new question] How many then? [final answer] 12.", "How many then?", "12"),
        ("[New Question]A first try?[Final Answer]\\boxed{1}\nBetter:\n[New Question]How many then?[Final Answer]\\boxed{2}", "How many then?", "2"),
        ("[New Question]\nHow many then?\n[End of Question]", None, None),
        ("[New Question]\n...\n[End of Question]\n[Final Answer]\n\\boxed{...}\n[End of Answer]", None, None),
        ("<think>[New Question]How many then?[Final Answer]\\boxed{2}", None, None),
        ("[New Question]How many then?[Final Answer][End of Answer]", None, None),
        ("", None, None),
    ],
)  # fmt: skip
def test_parsing(said: str, prompt: str | None, answer: str | None) -> None:
    written = module(NAME).parse_written("reasoning", said)
    assert (written and written[:2]) == (prompt and (prompt, answer))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\sqrt{\frac{3}{4}}} and \boxed{ 7 }", "7"),
        ("[Final Answer]\n$$\\boxed{\n42\n}$$\n", "42"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{a \}", None),
        (r"\boxed{" + "{" * 5000, None),
        (r"\fbox{6}", "6"),
        ("The answer is **12**.", "12"),
        ("Final answer: $x + 1$\nbecause", "x + 1"),
        ("the answer is 3. No, the answer is 4.", "4"),
        ("the answer is 3.5", "3.5"),
        (r"\boxed{}", None),
        ("no idea", None),
        ("", None),
        (r"\boxed{" + "9" * 2000 + "}", None),
    ],
)
def test_final_answers(text: str, found: str | None) -> None:
    assert module(NAME).final_answer(text) == found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1/2", "0.5", True),
        (r"\dfrac{1}{2}", "0.5", True),
        (r"\frac12", "1/2", True),
        ("1,000", "1000", True),
        ("x+1", "1+x", True),
        (r"2\sqrt{2}", r"\sqrt{8}", True),
        ("(A)", "a", True),
        (r"\text{Yes}", "yes", True),
        (r"\boxed{5}", "5", True),
        ("42.", "42", True),
        ("0.33", "1/3", False),
        ("0.33333333", "1/3", True),
        (r"-\frac{1}{2}", "-0.5", True),
        (r"-\frac{1}{2}", "0.5", False),
        ("1/0", "1", False),
        ("42", "43", False),
        ("x", "y", False),
        ("yes", "no", False),
        ("rats", "star", False),  # no products of letters
        ("", "1", False),
        ("9^{9^{9^{9}}}", "1", False),  # nobody can compute it
    ],
)
def test_same_answers(one: str, other: str, same: bool) -> None:
    assert module(NAME).same_answer(one, other) is same
    assert module(NAME).same_answer(other, one) is same


@pytest.mark.parametrize(
    ("given", "winner", "votes"),
    [
        (["4", "4", "5"], "4", 2),
        (["1/2", "0.5", r"\frac{1}{2}", "2", "2"], "1/2", 3),
        (["4", "5"], None, 0),  # a tie
        (["4", "4", "5", "5", "6"], None, 0),
        (["4", None, None], None, 0),  # most have no answer
        (["4", "4", None], "4", 2),
        (["4", None], None, 0),  # as many without as with: a tie
        ([None], None, 0),
        (["7"], "7", 1),
        (["1/2", "0.5", "0.5", "2", "3", "4", "5", None], "1/2", 3),  # no share is asked for
    ],
)
def test_votes(given: list[str | None], winner: str | None, votes: int) -> None:
    assert module(NAME).vote(given) == (winner, votes)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" plain ", "plain"),
        (["first turn", "second"], "first turn"),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}], "hello"),
        ([{"from": "human", "value": "hello"}, {"from": "gpt", "value": "x"}], "hello"),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "1"}]}], "hi\n1"),
        ('[{"role": "user", "content": "hello"}]', "hello"),
        ([{"role": "assistant", "content": "x"}], None),
        ([{"role": "user", "content": [{"type": "image", "text": None}]}], None),
        ([{"role": "user", "content": None}], None),
        ([], None),
        (7, None),
        ("  ", None),
        ('[{"not json', '[{"not json'),
    ],
)
def test_cells_of_seeds(cell: object, text: str | None) -> None:
    assert (module(NAME).seed_text(cell) or None) == text


def test_a_step_has_one_seed() -> None:
    assert [module(NAME).seed_of(Namespace(seed=42), f"3 response {number}") for number in range(K)] == [
        seed for seed, number in list(RESPONSES.items())[3 * K : 4 * K]
    ]
