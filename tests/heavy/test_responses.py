"""generate-responses.py with the header of its users: vLLM itself, and the servers that people have."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tokenizers import Tokenizer

from catalog.conftest import CATALOG, jsonl
from catalog.self_instruct import candidates, kept
from heavy.conftest import InCatalog, Installed, Serving
from jobshelf.rehearse import Outcome, rehearse, to_text
from jobshelf.rehearse.fixtures import SELF_INSTRUCT
from jobshelf.rehearse.tiny_model import CONTEXT
from jobshelf.sample_data import questions

pytestmark = [pytest.mark.heavy, pytest.mark.inference, pytest.mark.timeout(1500)]
NAME = "generate-responses.py"
ENGINES = {
    "vllm": ("--engine", "vllm", "--engine-args", '{"enforce_eager": true, "max_model_len": 512, "dtype": "float32"}'),
    "transformers": ("--engine", "transformers"),
}
Rows = list[dict[str, Any]]
Answer = Callable[[dict[str, tuple[Rows, tuple[str, ...]]], tuple[str | Path, ...]], dict[str, Rows]]


@pytest.fixture
def answer(user: dict[str, str], installed: Installed, tmp_path: Path) -> Answer:
    """`answer({"out": (rows, options)}, options)`: the rows of each output, in the order of their ids; one model for all."""

    def run(runs: dict[str, tuple[Rows, tuple[str, ...]]], common: tuple[str | Path, ...]) -> dict[str, Rows]:
        lines = []
        for name, (rows, words) in runs.items():
            output = name.partition("-")[0]
            (tmp_path / f"{output}.jsonl").write_bytes(jsonl(rows))
            given = (f"{output}.jsonl", f"./{output}", "--prompt-column", "question", "--max-tokens", "16")
            lines.append([*given, *map(str, common), *words])
        argv = [installed(CATALOG / NAME), Path(__file__).with_name("one_engine.py"), CATALOG / NAME, json.dumps(lines)]
        done = subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stderr[-4000:]
        outputs = {name.partition("-")[0] for name in runs}
        return {name: pl.read_parquet(tmp_path / name / "data/*.parquet").sort("id").to_dicts() for name in outputs}

    return run


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"id": number, **row} for number, row in enumerate(questions(count))]


def said(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("id", "response", "finish_reason", "prompt_tokens", "output_tokens", "error"))


def test_vllm_is_killed_refused_and_run_again(installed: Installed) -> None:
    """One whole run, its twin, three kills and one fault: the same rows, texts and finish reasons each time."""
    installed(CATALOG / NAME)
    words = ["{input:questions}", "{output}", "--model", "{model}", "--prompt-column", "question", *ENGINES["vllm"]]
    words += ["--temperature", "0.9", "--max-tokens", "16", "--commit-every", "0", "--part-rows", "14"]
    steps = ["dry-run", "run", "second-run", "kill", "faults", "token"]
    shown = rehearse(CATALOG / NAME, arguments=words, steps=steps, kills=3, faults=1, seconds=900)
    assert {verdict.outcome for verdict in shown.verdicts} == {Outcome.PASSED}, to_text(shown)
    assert shown.verdict("run").figures["rows"] == 40
    assert shown.verdict("kill").figures == {"points": 3, "killed": 3, "wrong": 0}
    assert shown.verdict("faults").figures["faults"] == 1
    assert "cpu" in shown.versions.packages["vllm"]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_neighbour_changes_an_answer(answer: Answer, model: Path, engine: str) -> None:
    """One prompt that leaves room for 7 tokens among ten short ones: alone, among a few, and in reverse order.

    Then with a temperature: an output whose second half was there first is that of an uninterrupted run.
    """
    longest = 512 if engine == "vllm" else CONTEXT
    rows, some = numbered(11), [2, 4, 9]
    rows[4]["question"] = of_tokens(model, longest - 7)
    many, drawn = numbered(40), ("--temperature", "0.9", "--top-p", "0.9", "--part-rows", "10")
    runs: dict[str, tuple[Rows, tuple[str, ...]]] = {
        "whole": (rows, ("--temperature", "0")),
        "reversed": (rows[::-1], ("--temperature", "0")),
        "some": ([rows[number] for number in some], ("--temperature", "0")),
        "alone": (rows[6:7], ("--temperature", "0")),
        "drawn": (many, drawn),
        "resumed-half": (many, (*drawn, "--shard", "2/2")),
        "resumed-rest": (many, drawn),
        "other": (many, (*drawn, "--seed", "1")),
    }
    found = answer(runs, ("--model", model, *ENGINES[engine]))
    whole = found["whole"]
    assert whole[4]["prompt_tokens"] == longest - 7 and whole[4]["output_tokens"] <= 7
    assert [row["output_tokens"] for row in whole].count(16) > 5
    assert len({row["response"] for row in whole}) > 8
    assert list(map(said, found["reversed"])) == list(map(said, whole))
    assert list(map(said, found["some"])) == [said(whole[number]) for number in some]
    assert list(map(said, found["alone"])) == [said(whole[6])]
    assert len({row["response"] for row in found["drawn"]}) > 35
    assert list(map(said, found["resumed"])) == list(map(said, found["drawn"]))
    assert sum(a["response"] == b["response"] for a, b in zip(found["other"], found["drawn"], strict=True)) < 5


@pytest.mark.parametrize("engine", ENGINES)
def test_what_does_not_fit_and_what_ends_early(answer: Answer, model: Path, engine: str) -> None:
    """A prompt at the limit, one below, one far above, two that are no text; tools; and a text to stop at."""
    longest = 512 if engine == "vllm" else CONTEXT
    texts = [of_tokens(model, longest - 1), of_tokens(model, longest), "x" * 5000, None, ""]
    odd = [{"id": number, "question": text} for number, text in enumerate(texts)]
    equipped = numbered(2)
    equipped[1]["tools"] = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    runs: dict[str, tuple[Rows, tuple[str, ...]]] = {
        "odd": (odd, ()),
        "plain": (numbered(6), ()),
        "stopped": (numbered(6), ("--stop", "a")),
        "tools": (equipped, ()),
    }
    found = answer(runs, ("--model", model, *ENGINES[engine], "--temperature", "0"))
    fits, *others = found["odd"]
    assert (fits["prompt_tokens"], fits["output_tokens"], fits["error"]) == (longest - 1, 1, None)
    too_long = f"question: the prompt has {longest:,} tokens; the model takes {longest:,}, the response included"
    assert others[0]["error"] == too_long
    assert "tokens; the model takes" in others[1]["error"]
    assert [row["response"] for row in others] == [None] * 4
    expected = [row["response"].partition("a")[0] for row in found["plain"]]
    assert [row["response"] for row in found["stopped"]] == expected != [row["response"] for row in found["plain"]]
    assert "stop" in {row["finish_reason"] for row in found["stopped"]}
    assert [row["error"] for row in found["tools"]] == [
        None,
        "question: the model's chat template has no place for tools",
    ]


def test_two_copies_of_the_model(answer: Answer, model: Path) -> None:
    """vLLM's data parallelism: the same answers, in the same order."""
    rows, options = {"out": (numbered(24), ())}, ("--model", model, "--temperature", "0.9")
    plain = answer(rows, (*options, *ENGINES["vllm"]))["out"]
    args = json.dumps(json.loads(ENGINES["vllm"][-1]) | {"data_parallel_size": 2})
    copies = answer(rows, (*options, "--engine-args", args, "--overwrite"))["out"]
    assert list(map(said, copies)) == list(map(said, plain))


def of_tokens(model: Path, count: int) -> str:
    """A question that is so many tokens long with its template."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    template = "<s>[user] {}\n[assistant] "
    text = "~" * (count - len(tokenizer.encode(template.format(""), add_special_tokens=False)))
    assert len(tokenizer.encode(template.format(text), add_special_tokens=False)) == count
    return text  # of a letter that the tokenizer has not learned: a byte, a token


@pytest.mark.parametrize("server", ["serve_vllm.py", "serve_transformers.py", "serve_llama.py"])
def test_servers_that_people_have(
    server: str,
    serving: Serving,
    speaker: Path,
    real_rows: Callable[[str], list[dict[str, Any]]],
    tmp_path: Path,
    user: dict[str, str],
    in_catalog: InCatalog,
) -> None:
    """Both scripts, through the API of a real server, over rows of gsm8k: the model says what it is made to say."""
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_bytes(jsonl(real_rows("gsm8k_test")[:20]))
    extra = (tmp_path / "model.gguf",) if server == "serve_llama.py" else ()
    with serving(server, speaker, *extra) as url:
        api = ("--engine", "openai", "--base-url", url, "--model", "m" if "vllm" in server else str(speaker))
        common = (*api, "--max-tokens", "24", "--concurrency", "4")
        argv = [*in_catalog(NAME), seeds, "./answers", "--prompt-column", "question", "--temperature", "0", *common]
        done = subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
        # of a seed of a request's own, which goes with a temperature, vLLM 0.32 dies on the CPU
        drawn = ("--k-responses", "1", "--temperature", "0") if "vllm" in server else ("--k-responses", "3")
        words = ("--num-samples", "4", *drawn, "--part-rows", "2", *common, "--json")
        argv = [*in_catalog("cot-self-instruct.py"), seeds, "./prompts", *words]
        done = subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
        made = json.loads(done.stdout)
    spoken = pl.read_parquet(tmp_path / "answers/data/*.parquet").to_dicts()
    assert len(spoken) == 20
    assert {row["response"].strip() for row in spoken} == {"\n".join(SELF_INSTRUCT)}
    assert {row["finish_reason"] for row in spoken} == {"stop"}
    assert {row["error"] for row in spoken} == {None}
    assert min(row["prompt_tokens"] for row in spoken) > 20
    assert (made["candidates"], made["failed"], made["kept"]) == (4, 0, 1)
    assert {(row["question"], row["answer"], row["votes"]) for row in candidates(tmp_path / "prompts")} == {
        (SELF_INSTRUCT[2], "42", int(drawn[1]))
    }
    assert len(kept(tmp_path / "prompts")) == 1
