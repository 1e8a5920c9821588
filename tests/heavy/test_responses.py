"""generate-responses.py with the header of its users: vLLM itself, and the servers that people have."""

from __future__ import annotations

import json
import struct
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
from jobshelf.rehearse.tiny_model import HEADS, HIDDEN, KEY_VALUE_HEADS, LAYERS
from jobshelf.sample_data import questions

pytestmark = [pytest.mark.heavy, pytest.mark.inference, pytest.mark.timeout(1500)]
NAME = "generate-responses.py"
GREEDY = ("--temperature", "0", "--dtype", "float32", "--max-tokens", "16", "--commit-every", "0", "--json")
ENGINE = ("--engine", "vllm", "--engine-args", '{"enforce_eager": true, "max_model_len": 512}')
Answer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(jsonl([{"id": number, **row} for number, row in enumerate(questions(24))]))
    return path


@pytest.fixture
def answer(user: dict[str, str], in_catalog: InCatalog, prompts: Path, tmp_path: Path) -> Answer:
    """`answer("./out", "--model", model)`: run the script over the prompts."""

    def run(*words: str | Path, source: Path = prompts) -> subprocess.CompletedProcess[str]:
        argv = [*in_catalog(NAME), source, *words, "--prompt-column", "question", *GREEDY]
        return subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=800)

    return run


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def rows(folder: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(folder / "data/*.parquet").sort("id").to_dicts()


def said(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("id", "response", "finish_reason", "prompt_tokens", "output_tokens", "error"))


def test_vllm_is_killed_refused_and_run_again(installed: Installed) -> None:
    """One whole run, its twin, three kills and one fault: the same rows, texts and finish reasons each time."""
    installed(CATALOG / NAME)
    words = [
        "{input:questions}",
        "{output}",
        "--model",
        "{model}",
        "--prompt-column",
        "question",
        *ENGINE,
        *GREEDY[:-1],
    ]
    steps = ["dry-run", "run", "second-run", "kill", "faults", "token"]
    shown = rehearse(
        CATALOG / NAME, arguments=[*words, "--part-rows", "14"], steps=steps, kills=3, faults=1, seconds=900
    )
    assert {verdict.outcome for verdict in shown.verdicts} == {Outcome.PASSED}, to_text(shown)
    assert shown.verdict("run").figures["rows"] == 40
    assert shown.verdict("kill").figures == {"points": 3, "killed": 3, "wrong": 0}
    assert shown.verdict("faults").figures["faults"] == 1
    assert "cpu" in shown.versions.packages["vllm"]


def test_copies_and_an_adapter(answer: Answer, model: Path, tmp_path: Path) -> None:
    told(answer("./plain", "--model", model, *ENGINE))
    done = answer("./copies", "--model", model, *ENGINE, "--part-rows", "6", "--data-parallel-size", "2")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "2 copies of the model" in done.stderr
    plain = rows(tmp_path / "plain")
    assert list(map(said, rows(tmp_path / "copies"))) == list(map(said, plain))
    assert len({row["response"] for row in plain}) > 12
    assert {row["finish_reason"] for row in plain} <= {"stop", "length"}
    assert all(0 < row["output_tokens"] <= 16 for row in plain)

    told(answer("./silent", "--model", model, *ENGINE, "--lora", adapter(tmp_path / "silent-adapter", loud=False)))
    assert list(map(said, rows(tmp_path / "silent"))) == list(map(said, plain)), "an adapter of zeros changes nothing"
    told(answer("./loud", "--model", model, *ENGINE, "--lora", adapter(tmp_path / "loud-adapter", loud=True)))
    assert [row["response"] for row in rows(tmp_path / "loud")] != [row["response"] for row in plain]


def adapter(folder: Path, *, loud: bool) -> Path:
    """A LoRA adapter of rank 8 for the values of the tiny model; a silent one adds zero."""
    folder.mkdir()
    wide, rank = HIDDEN // HEADS * KEY_VALUE_HEADS, 8
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 64, "target_modules": ["v_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors, data = {}, bytearray()
    for layer in range(LAYERS):
        inside = f"base_model.model.model.layers.{layer}.self_attn.v_proj"
        for name, shape, number in (("A", (rank, HIDDEN), 0.5), ("B", (wide, rank), 0.5 if loud else 0.0)):
            size = 4 * shape[0] * shape[1]
            place = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + size]}
            tensors[f"{inside}.lora_{name}.weight"] = place
            data += struct.pack("<f", number) * (size // 4)
    header = json.dumps(tensors).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    return folder


def test_what_does_not_fit_and_what_must_be_json(answer: Answer, model: Path, tmp_path: Path) -> None:
    """A prompt at the limit, one below, one far above, two that are no text; then answers bound to a schema."""
    texts = [of_tokens(model, 511), of_tokens(model, 512), "x" * 5000, None, ""]
    source = tmp_path / "odd.jsonl"
    source.write_bytes(jsonl([{"id": number, "question": text} for number, text in enumerate(texts)]))
    done = told(answer("./odd", "--model", model, *ENGINE, source=source))
    assert (done["rows"], done["failed"]) == (5, 4)
    fits, *others = rows(tmp_path / "odd")
    assert (fits["prompt_tokens"], fits["output_tokens"], fits["error"]) == (511, 1, None)
    assert others[0]["error"] == "the prompt has 512 tokens; the model takes 512, the answer included"
    assert others[1]["prompt_tokens"] > 5000
    assert [row["finish_reason"] for row in others] == ["error"] * 4

    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    told(answer("./bound", "--model", model, *ENGINE, "--json-schema", schema, "--max-tokens", "64"))
    ended = [row["response"] for row in rows(tmp_path / "bound") if row["finish_reason"] == "stop"]
    assert all(isinstance(json.loads(text)["n"], int) for text in ended)
    assert all(row["response"].lstrip().startswith("{") for row in rows(tmp_path / "bound"))


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
        common = (*api, "--max-tokens", "24", "--concurrency", "4", "--json")
        argv = [*in_catalog(NAME), seeds, "./answers", "--prompt-column", "question", "--temperature", "0", *common]
        done = subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert told(done)["failed"] == 0
        # of a seed of a request's own, which goes with a temperature, vLLM 0.32 dies on the CPU
        drawn = ("--k-responses", "1", "--temperature", "0") if "vllm" in server else ("--k-responses", "3")
        words = ("--num-samples", "4", *drawn, "--part-rows", "2", *common)
        argv = [*in_catalog("cot-self-instruct.py"), seeds, "./prompts", *words]
        made = told(subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=300))
    spoken = pl.read_parquet(tmp_path / "answers/data/*.parquet").to_dicts()
    assert len(spoken) == 20
    assert {row["response"].strip() for row in spoken} == {"\n".join(SELF_INSTRUCT)}
    assert {row["finish_reason"] for row in spoken} == {"stop"}
    assert min(row["prompt_tokens"] for row in spoken) > 20
    assert (made["candidates"], made["failed"], made["kept"]) == (4, 0, 1)
    assert {(row["question"], row["answer"], row["votes"]) for row in candidates(tmp_path / "prompts")} == {
        (SELF_INSTRUCT[2], "42", int(drawn[1]))
    }
    assert len(kept(tmp_path / "prompts")) == 1
