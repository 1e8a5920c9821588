"""cot-self-instruct.py as a user meets it, an API on loopback playing the models; real models run in the heavy lane."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from blocks.chat_server import ChatServer, chat_server
from catalog.conftest import CATALOG, Publish, Script, jsonl
from catalog.self_instruct import WAYS, K, candidates, drawn, example, kept, play, words
from conftest import READ_TOKEN, TOKEN

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


@pytest.fixture
def seeds(real_rows: RealRows, tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(jsonl(real_rows("gsm8k_test")[:50]))
    return path


def way(row: dict[str, Any]) -> str:
    return re.search(r"the (\w+) way", row["question"])[1]


def of_card(folder: Path) -> dict[str, int]:
    """Return the numbers in the first table of the card."""
    lines = re.findall(r"^\| (.+?) \| ([\d,]+) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    return {name: int(number.replace(",", "")) for name, number in lines}


def test_answer_consistency_drops_what_a_hand_computation_drops(
    script: Script, server: ChatServer, seeds: Path, tmp_path: Path
) -> None:
    done = told(script(NAME, *asked(server, seeds, "./out")))
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
    script: Script, server: ChatServer, seeds: Path, tmp_path: Path, real_rows: RealRows
) -> None:
    told(script(NAME, *asked(server, seeds, "./out", "--max-attempts", "2", "--filter-method", "none")))
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


def test_the_card_can_be_computed_again(script: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    told(script(NAME, *asked(server, seeds, "./out", "--max-attempts", "2")))
    out = tmp_path / "work/out"
    rows, left, card = candidates(out), kept(out), (tmp_path / "work/out/README.md").read_text()
    dropped = Counter(row["dropped"] for row in rows)
    assert of_card(out) == {
        "candidates": len(rows),
        "dropped: the engine gave no answer": dropped["error"],
        "dropped: not written in the form asked for": dropped["unparsed"],
        "dropped: a near copy of a seed": dropped["seed copy"],
        "dropped: the majority of the solutions has another answer, or there is none": dropped["inconsistent"],
        "dropped: a near copy of another candidate": dropped[None] - len(left),
        "kept": len(left),
    }
    assert min(of_card(out).values()) > 0
    attempts, tokens = (sum(row[name] for row in rows) for name in ("attempts", "tokens"))
    assert f"All candidates took {attempts:,} attempts and {tokens:,} tokens." in card
    assert f"{len(left)} reasoning prompts, kept of 40 candidates" in card


def test_both_configs_load(script: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    done = told(script(NAME, *asked(server, seeds, "./out")))
    for config, count in ((None, done["kept"]), ("default", done["kept"]), ("candidates", 40)):
        loaded = load_dataset(str(tmp_path / "work/out"), config, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == count
        assert "question" in loaded.column_names


def test_self_consistency_has_a_threshold_and_takes_the_answer_of_the_majority(
    script: Script, server: ChatServer, seeds: Path, tmp_path: Path
) -> None:
    words = ("--filter-method", "self-consistency", "--quality-threshold", "0.6")
    told(script(NAME, *asked(server, seeds, "./out", *words)))
    out = tmp_path / "work/out"
    passing = {"agree", "spelled", "nested", "differ"}
    for row in candidates(out):
        if row["question"] and way(row) != "refused":
            assert row["dropped"] == (None if way(row) in passing else "low share")
    assert {way(row): row["answer"] for row in kept(out)} == {
        "agree": "42", "spelled": "0.5", "nested": r"\frac{\sqrt{3}}{2}", "differ": "7",
    }  # fmt: skip
    assert "at least 0.6 have the same final answer" in (out / "README.md").read_text()


def test_instructions_are_of_one_category(
    script: Script, server: ChatServer, tmp_path: Path, real_rows: RealRows
) -> None:
    rows = [
        {**row, "category": ("maths", "writing")[number % 2]}
        for number, row in enumerate(real_rows("mt_bench_questions"))
    ]
    (tmp_path / "bench.jsonl").write_bytes(jsonl(rows))
    done = told(script(NAME, *asked(server, tmp_path / "bench.jsonl", "./out", "--filter-method", "none")))
    assert done["task"] == "instruction"
    for row in candidates(tmp_path / "work/out"):
        assert {rows[place]["category"] for place in row["seed_indices"]} == {row["category"]}
        assert row["prompt"].startswith("Please explain")
        assert row["reasoning"] == "A plan."
    assert len(kept(tmp_path / "work/out")) == 40
    assert {request.get("n", 1) for request in server.requests} == {1}


def test_where_there_are_no_categories_the_model_names_them(
    script: Script, server: ChatServer, tmp_path: Path, real_rows: RealRows
) -> None:
    rows = [{"conversations": row["conversations"][-2:]} for row in real_rows("sharegpt_conversations")]
    (tmp_path / "chats.jsonl").write_bytes(jsonl(rows))
    words = ("--filter-method", "none", "--num-samples", "12")
    done = told(script(NAME, *asked(server, tmp_path / "chats.jsonl", "./out"), *words))
    naming = [request for request in server.requests if "name of the category" in request["messages"][0]["content"]]
    assert len(naming) == done["seeds"] > 2
    assert {request["temperature"] for request in naming} == {0}
    named = {row["category"] for row in candidates(tmp_path / "work/out")}
    assert named <= {"Data & Analysis", "Technical & Programming"}
    told(script(NAME, *asked(server, tmp_path / "chats.jsonl", "./out"), *words))
    assert len(server.requests) == len(naming) + 12


def test_an_api_that_gives_one_answer_at_a_time(script: Script, seeds: Path, tmp_path: Path) -> None:
    def one(request: dict[str, Any]) -> list[str]:
        return play({**request, "n": 6})[-request.get("n", 1) :][:1]

    with model(answers=one) as server:
        told(script(NAME, *asked(server, seeds, "./out"), "--num-samples", "8"))
    rows = [row for row in candidates(tmp_path / "work/out") if row["solutions"]]
    assert rows
    assert all(row["solutions"] == [one or None for one in WAYS[way(row)][1]] for row in rows)


def test_another_model_responds(script: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    done = told(script(NAME, *asked(server, seeds, "./out", "--filter-model", "solver"), "--num-samples", "8"))
    assert done["filter_model"] == "solver"
    roles = {(request["model"], "n" in request) for request in server.requests}
    assert roles == {("m", False), ("solver", True)}
    assert "responses of solver" in (tmp_path / "work/out/README.md").read_text()


def test_nothing_left_is_exit_4_with_the_counts_and_the_candidates(script: Script, seeds: Path, tmp_path: Path) -> None:
    with model(answers=lambda _: ["No."]) as server:
        done = script(NAME, *asked(server, seeds, "./out"))
        assert done.returncode == 4
        assert "none of the 40 candidates is left (40 unparsed)" in done.stderr
        assert len(server.requests) == 4 * 40
        rows = candidates(tmp_path / "work/out")
        assert {(row["dropped"], row["attempts"], row["question"]) for row in rows} == {("unparsed", 4, None)}
        assert kept(tmp_path / "work/out") == []
        assert script(NAME, *asked(server, seeds, "./out")).returncode == 4
        assert len(server.requests) == 4 * 40


SEED = {"question": "Why is the sky blue?", "answer": "9"}
BAD_SEEDS: list[tuple[list[dict[str, Any]], str]] = [
    ([SEED], "1 of 1 rows"),
    ([SEED, SEED], "1 of 2 rows"),
    ([{"question": "", "answer": "1"}, {"question": None, "answer": "2"}], "0 of 2 rows"),
    ([SEED, {"question": "Why?", "answer": ""}], "1 of 2 rows"),
    ([{"text": "a"}, {"text": "b"}], "--question-column"),
    ([{"prompt": f"do {n}", "category": f"c{n}"} for n in range(3)], "alone in its category"),
]


@pytest.mark.parametrize(("rows", "said"), BAD_SEEDS)
def test_seeds_that_are_none(
    script: Script, server: ChatServer, tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(jsonl(rows))
    done = script(NAME, *asked(server, tmp_path / "rows.jsonl", "./out"), *(["--filter-method", "none"]))
    assert (done.returncode, said in done.stderr) == (4, True), done.stderr
    assert server.requests == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--question-column", "questoin"), 4, "did you mean 'question'"),
        (("--task-type", "instruction", "--filter-method", "both"), 2, "--filter-method rip"),
        (("--temperature", "0"), 2, "equal responses"),
        (("--temperature", "-1"), 2, "--temperature is -1"),
        (("--k-responses", "100"), 2, "from 1 to 99"),
        (("--quality-threshold", "1.5"), 2, "--quality-threshold is 1.5"),
        (("--rip-quantile", "-0.1"), 2, "--rip-quantile is -0.1"),
        (("--num-samples", "0"), 2, "not a positive number"),
        (("--filter-method", "best"), 2, "invalid choice"),
        (("--engine", "vllm", "--filter-model", "other"), 2, "--engine openai"),
        (("./and-another",), 2, "one argument too many"),
        (("--shard", "3/2"), 2, "--shard"),
    ],
)
def test_usage_is_refused_before_anything_is_asked(
    script: Script, server: ChatServer, seeds: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = script(NAME, *asked(server, seeds, "./out", *words))
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert server.requests == []
    assert not (tmp_path / "work/out").exists()


def test_a_machine_without_a_gpu_is_told_so_in_a_moment(script: Script, seeds: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    done = script(NAME, seeds, "./out", "--model", tmp_path / "model")
    assert (done.returncode, "no GPU here" in done.stderr, "--flavor" in done.stderr) == (5, True, True)
    assert not (tmp_path / "work/out").exists()


def test_dry_run_asks_and_writes_nothing(script: Script, server: ChatServer, seeds: Path, tmp_path: Path) -> None:
    plan = told(script(NAME, *asked(server, "--seed-dataset", seeds, "--output-dataset", "./out", "--dry-run")))
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
    line = (
        "--seed-dataset alice/seeds --output-dataset alice/out --task-type reasoning --filter-method answer-consistency"
    )
    words = [*asked(server), *line.split(), "--batch-size", "1", "--commit-every", "0"]
    done = script(NAME, *words, env=hub_environment)
    assert told(done)["candidates"] == 40
    assert "--batch-size has no effect" in done.stderr
    files = set(client.list_repo_files("alice/out", repo_type="dataset"))
    assert {f"data/candidates-{part:06d}.parquet" for part in range(5)} | {"data/train-000000.parquet"} < files
    info = client.dataset_info("alice/out")
    assert info.private
    count = len(server.requests)
    again = script(NAME, *words, env=hub_environment)
    assert told(again) == told(done)
    assert client.dataset_info("alice/out").sha == info.sha
    assert len(server.requests) == count
    assert TOKEN not in done.stdout + done.stderr + again.stderr
    for name in ("README.md", "jobshelf.json"):
        assert TOKEN not in Path(client.hf_hub_download("alice/out", name, repo_type="dataset")).read_text()
    assert not any(TOKEN in key for key in server.keys)


def test_a_token_that_may_not_write(
    script: Script, server: ChatServer, seeds: Path, hub_environment: dict[str, str]
) -> None:
    done = script(NAME, *asked(server, seeds, "alice/out"), env=hub_environment | {"HF_TOKEN": READ_TOKEN})
    assert done.returncode == 3
    assert server.requests == []


@pytest.mark.heavy
@pytest.mark.inference
def test_killed_at_each_part_and_run_again(environment: dict[str, str], seeds: Path, tmp_path: Path) -> None:
    def argv(server: ChatServer, output: str) -> list[str | Path]:
        return [sys.executable, CATALOG / NAME, *asked(server, seeds, output), "--part-rows", "4", "--concurrency", "2"]

    with model(pause=0.01) as server:
        quiet = subprocess.run(argv(server, "./whole"), cwd=tmp_path, env=environment, capture_output=True, text=True)
        once = len(server.requests)
        server.requests.clear()
        for parts in range(1, 11):
            process = subprocess.Popen(argv(server, "./out"), cwd=tmp_path, env=environment, stdout=-3, stderr=-3)
            while len(list(tmp_path.glob("out/data/candidates-*.parquet"))) < parts and process.poll() is None:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        done = subprocess.run(argv(server, "./out"), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert {**told(done), "output": ""} == {**told(quiet), "output": ""}
    assert candidates(tmp_path / "out") == candidates(tmp_path / "whole")
    assert kept(tmp_path / "out") == kept(tmp_path / "whole")
    # at most what was begun and not in a finished part is asked again: a part's candidates, five questions each
    assert len(server.requests) <= once + 10 * 5 * 5


@pytest.mark.heavy
@pytest.mark.inference
def test_eight_shards_make_the_same_rows(
    environment: dict[str, str], server: ChatServer, seeds: Path, tmp_path: Path
) -> None:
    base = [sys.executable, CATALOG / NAME, *asked(server, seeds), "--part-rows", "4"]
    whole = subprocess.run([*base, "./whole"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    running = [
        subprocess.Popen([*base, "./out", "--shard", f"{n}/8"], cwd=tmp_path, env=environment, stdout=-1)
        for n in range(1, 9)
    ]
    assert [process.wait() for process in running] == [0] * 8
    assert candidates(tmp_path / "out") == candidates(tmp_path / "whole")
    assert kept(tmp_path / "out") == kept(tmp_path / "whole")
    assert told(whole)["kept"] == len(kept(tmp_path / "out"))
    assert of_card(tmp_path / "out") == of_card(tmp_path / "whole")


def test_a_broken_api_leaves_what_is_finished(script: Script, seeds: Path, tmp_path: Path) -> None:
    with model() as server:
        whole = told(script(NAME, *asked(server, seeds, "./whole", "--concurrency", "1")))
    last = candidates(tmp_path / "work/whole")[-1]["seed_indices"]
    rows = [json.loads(line)["question"].strip() for line in seeds.read_text().splitlines()]
    with model() as server:
        breaking = next(
            text
            for text in (request["messages"][0]["content"] for request in _prompts(server, script, seeds))
            if [example(text, number) for number in (1, 2)] == [rows[place] for place in last]
        )
        server.first_answers = {breaking: [500] * 20}
        done = script(NAME, *asked(server, seeds, "./out", "--concurrency", "1"))
        assert done.returncode == 5
        assert "it does what is missing" in done.stderr
        assert len(candidates(tmp_path / "work/out")) == 32
        server.first_answers.clear()
        assert told(script(NAME, *asked(server, seeds, "./out", "--concurrency", "1")))["kept"] == whole["kept"]


def _prompts(server: ChatServer, script: Script, seeds: Path) -> list[dict[str, Any]]:
    told(script(NAME, *asked(server, seeds, "./scout", "--filter-method", "none")))
    return list(server.requests)


@pytest.fixture(scope="module")
def inside() -> dict[str, Any]:
    """What the script defines."""
    return runpy.run_path(str(CATALOG / NAME))


def test_rip_keeps_what_is_not_below_the_quantile_of_the_lowest_rewards(inside: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plan = inside["Plan"](task="instruction", method="rip", question="q", answer=None, category=None)
    lowest = [0.5, -1.0, 2.0, 1.0, None, 2.0]
    rows = [
        {
            "candidate": number,
            "prompt": words(number if number != 5 else 2),
            "category": "c",
            "seed_indices": [0, 1],
            "attempts": 1,
            "tokens": 10,
            "reward": reward,
            "dropped": None if reward is not None else "unparsed",
        }
        for number, reward in enumerate(lowest)
    ]
    schema = inside["candidate_schema"](plan)
    tables = [pa.Table.from_pylist(rows[start : start + 4], schema=schema) for start in (0, 4)]

    def select(quantile: float) -> tuple[list[int], Any]:
        selection = inside["Selection"](plan=plan, quantile=quantile)
        return pq.read_table(pa.BufferReader(selection.select(tables))).column("candidate").to_pylist(), selection

    assert select(0.0)[0] == [0, 1, 2, 3]
    assert select(0.25)[0] == [0, 2, 3]
    numbers, selection = select(0.5)
    assert numbers == [2, 3]
    assert selection.rewards == {"lowest": -1.0, "cut": 1.0, "highest": 2.0}
    assert {name: count for name, count in selection.numbers.items() if count} == {
        "unparsed": 1, "cut": 2, "twice": 1, "kept": 2,
    }  # fmt: skip
    assert select(1.0)[0] == [2]


NEAR = "a farmer has twelve red hens and sells five of them on a sunny market day"


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        (NEAR, True),
        (NEAR.upper().replace(" ", "  ") + "?!", True),
        (NEAR + " morning", True),  # 11 of its 12 runs of five words
        (NEAR + " and then buys six white geese from a friend", False),  # 11 of 20
        (NEAR.replace("red", "brown"), False),  # the word is in five runs
        ("sells five of them", False),
        ("", False),
    ],
)
def test_near_copies(inside: dict[str, Any], text: str, copied: bool) -> None:
    known = inside["NearCopies"](["something else entirely different from that", NEAR])
    assert known.has(text) is copied


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
def test_parsing(inside: dict[str, Any], said: str, prompt: str | None, answer: str | None) -> None:
    written = inside["parse_written"](said, "reasoning")
    assert (written and written.prompt, written and written.answer) == (prompt, answer)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" plain ", "plain"),
        (["first turn", "second"], "first turn"),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}], "hello"),
        ([{"from": "human", "value": "hello"}, {"from": "gpt", "value": "x"}], "hello"),
        ('[{"role": "user", "content": "hello"}]', "hello"),
        ([{"role": "assistant", "content": "x"}], None),
        ([{"role": "user", "content": [{"type": "image"}]}], None),
        ([], None),
        (7, None),
        ("  ", None),
        ('[{"not json', '[{"not json'),
    ],
)
def test_cells_of_seeds(inside: dict[str, Any], cell: object, text: str | None) -> None:
    assert inside["seed_text"](cell) == text


def test_memory_for_the_reward_model_is_left_free(
    inside: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H100, 76294'\n")  # 80 GB
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    args = inside["build_parser"]().parse_args(["a/b", "c/d"])
    reward = inside["EngineModel"](name="r/m", weights=16_000_000_000)
    assert inside["memory_share"](None, args) == 0.9
    assert inside["memory_share"](reward, args) == pytest.approx(0.65, abs=0.002)
    assert "25.0% are for r/m" in capsys.readouterr().err
    with pytest.raises(inside["Stop"]) as stop:
        inside["memory_share"](inside["EngineModel"](name="r/m", weights=80_000_000_000), args)
    assert stop.value.code == 5
