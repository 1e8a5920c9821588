"""cot-self-instruct.py with the header of its users: transformers and vLLM speak, and a real reward model judges."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalog.conftest import jsonl
from catalog.self_instruct import candidates, kept, play
from harness.chat_server import chat_server
from heavy.conftest import InCatalog
from jobshelf.rehearse.fixtures import SELF_INSTRUCT
from jobshelf.rehearse.tiny_model import tiny_model
from jobshelf.sample_data import questions

pytestmark = [pytest.mark.heavy, pytest.mark.inference, pytest.mark.timeout(900)]
NAME = "cot-self-instruct.py"
WORDS = ("--k-responses", "3", "--part-rows", "2", "--commit-every", "0", "--json")
SPEAKING = ("--num-samples", "6", "--max-tokens", "24")
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    folder = tmp_path / "judge"
    folder.mkdir()
    for name, data in reward_model().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    path.write_bytes(jsonl(list(questions(30))))
    return path


def reward_model() -> dict[str, bytes]:
    """Return the tiny model with one number for a text in the place of the next token."""
    files = tiny_model()
    config = {**json.loads(files["config.json"]), "architectures": ["LlamaForSequenceClassification"]}
    weights = files["model.safetensors"]
    (length,) = struct.unpack("<Q", weights[:8])
    header, numbers = json.loads(weights[8 : 8 + length]), weights[8 + length :]
    begin = header.pop("lm_head.weight")["data_offsets"][0]  # the last one: what comes before keeps its place
    header["score.weight"] = {"dtype": "BF16", "shape": [1, 256], "data_offsets": [begin, begin + 512]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    model = struct.pack("<Q", len(text)) + text + numbers[: begin + 512]
    labels = {"id2label": {"0": "reward"}, "label2id": {"reward": 0}, "pad_token_id": 2}
    return {**files, "config.json": json.dumps({**config, **labels}).encode(), "model.safetensors": model}


@pytest.fixture
def make(user: dict[str, str], in_catalog: InCatalog, seeds: Path, tmp_path: Path) -> Make:
    """`make("./out", "--engine", "vllm")`: run the script from the seeds."""

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [*in_catalog(NAME), seeds, *words, *WORDS]
        return subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=800)

    return run


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_both_engines_write_the_same_questions(
    make: Make, speaker: Path, tmp_path: Path, user: dict[str, str], seeds: Path, in_catalog: InCatalog
) -> None:
    for engine in ("transformers", "vllm"):
        extra = ("--engine-args", '{"enforce_eager": true}') if engine == "vllm" else ()
        done = told(make(f"./{engine}", "--model", speaker, "--engine", engine, *SPEAKING, *extra))
        assert (done["candidates"], done["failed"], done["kept"]) == (6, 0, 1)
        rows = candidates(tmp_path / engine)
        assert {(row["question"], row["answer"], row["dropped"]) for row in rows} == {(SELF_INSTRUCT[2], "42", None)}
        assert {tuple(row["solutions"]) for row in rows} == {("42",) * 3}
        assert {row["votes"] for row in rows} == {3}
        # nine tokens an answer, its end included: the question, then three solutions
        assert {row["tokens"] for row in rows} == {9 * 4}
    assert candidates(tmp_path / "vllm") == candidates(tmp_path / "transformers")
    assert kept(tmp_path / "vllm") == kept(tmp_path / "transformers")

    # killed when a part is there, and run again: the same rows
    argv = [*in_catalog(NAME), seeds, "./killed", "--model", speaker, "--engine", "vllm", *SPEAKING, *WORDS]
    argv += ["--engine-args", '{"enforce_eager": true}']
    process = subprocess.Popen(argv, env=user, cwd=tmp_path, stdout=-3, stderr=-3, start_new_session=True)
    while not list(tmp_path.glob("killed/data/candidates-*.parquet")) and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = told(make("./killed", "--model", speaker, "--engine", "vllm", *SPEAKING, *argv[-2:]))
    assert done["kept"] == 1
    assert candidates(tmp_path / "killed") == candidates(tmp_path / "vllm")


def test_a_real_reward_model_judges(make: Make, judge: Path, tmp_path: Path) -> None:
    with chat_server(answers=play) as server:
        api = ("--engine", "openai", "--base-url", server.url, "--model", "m", "--num-samples", "24")
        rip = (*api, "--task-type", "instruction", "--question-column", "question", "--reward-model", judge)
        done = told(make("./rip", *rip))
        assert done["filter_method"] == "rip"
        told(make("./again", *rip, "--part-rows", "24"))
        both = told(make("./both", *api, "--filter-method", "both", "--reward-model", judge))
    rows = candidates(tmp_path / "rip")
    assert {len(row["rewards"]) for row in rows} == {3}
    assert all(row["reward"] == min(row["rewards"]) for row in rows)
    assert len({row["reward"] for row in rows}) == 24
    assert [row["rewards"] for row in candidates(tmp_path / "again")] == [row["rewards"] for row in rows]
    edge = pl.Series([row["reward"] for row in rows]).quantile(0.5, "linear")
    expected = [row["candidate"] for row in rows if row["reward"] >= edge]
    assert [row["candidate"] for row in kept(tmp_path / "rip")] == expected
    assert len(expected) == done["kept"] == 12
    assert "| dropped: the lowest reward is below the cut | 12 |" in (tmp_path / "rip/README.md").read_text()

    rows = candidates(tmp_path / "both")
    assert all((row["reward"] is not None) == (row["dropped"] is None) for row in rows)
    assert {row["dropped"] for row in rows} >= {None, "inconsistent"}
    sound = [row for row in rows if row["dropped"] is None]
    edge = pl.Series([row["reward"] for row in sound]).quantile(0.5, "linear")
    above = [row["question"] for row in sound if row["reward"] >= edge]
    assert [row["question"] for row in kept(tmp_path / "both")] == list(dict.fromkeys(above))
    assert 0 < both["kept"] < len(sound)


def test_a_reward_model_that_is_none_stops_before_anything_is_asked(make: Make, model: Path, tmp_path: Path) -> None:
    with chat_server(answers=play) as server:
        words = ("--engine", "openai", "--base-url", server.url, "--filter-method", "both", "--reward-model", model)
        done = make("./out", *words)
        assert done.returncode == 4
        assert "is no reward model (LlamaForCausalLM" in done.stderr
        assert server.requests == []
    assert not (tmp_path / "out").exists()
