"""How fast generate-responses is beside a bare `LLM.chat` over all prompts.

    uv run python bench/generate_responses.py [--full] [--model M] [--rounds 7] [--rows N]

The whole script (it reads the prompts from a file and sends the answers to the embedded Hub as it goes) and the bare call,
in turns, each in a process of its own with an engine that is loaded already. M is a folder or a model of the Hub (the tiny
model of the rehearsals where none is named). Prints medians; exits 1 when the limit is broken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines import INSIDE, in_environment, load, model_files

NAME = "generate-responses.py"
TOKENS = 64
PART_ROWS = 500
LIMIT = 0.95
ENGINE = {"enforce_eager": True, "enable_prefix_caching": False}


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Time the bare call or the whole script, the first time excluded."""
    folder = Path(job["folder"])
    prompts = [f"What is {number} plus {number * 7 % 1000}?" for number in range(job["rows"])]
    work = bare(job, prompts) if job["job"].startswith("bare") else script(job, prompts, folder)
    work()
    return {"seconds": [seconds(work) for _ in range(job["rounds"])]}


def bare(job: dict[str, Any], prompts: list[str]) -> Callable[[], object]:
    """Return the call of vLLM that does nothing else."""
    from vllm import LLM, SamplingParams

    engine = LLM(model=job["model"], **ENGINE)
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    sampling = SamplingParams(temperature=0, max_tokens=TOKENS)
    return lambda: engine.chat(chats, sampling, use_tqdm=False)


def script(job: dict[str, Any], prompts: list[str], folder: Path) -> Callable[[], object]:
    """Return the whole script, with an engine that is loaded once."""
    module = load(NAME)
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    words = ["--model", job["model"], "--temperature", "0", "--max-tokens", str(TOKENS), "--commit-every", "5"]
    words += ["--part-rows", str(PART_ROWS), "--engine-args", json.dumps(ENGINE)]
    engine = module.start_engine(module.parse_arguments([str(path), "alice/none", *words]), None)
    module.start_engine = lambda *_: engine
    outputs = (f"alice/{job['job']}-{number}" for number in itertools.count())
    return lambda: module.main([str(path), next(outputs), *words])


def main() -> int:
    """Measure and print; 1 when the limit is broken."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more rows: minutes instead of one")
    parser.add_argument("--model", help="default: the tiny model of the rehearsals")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, help="default: 2,000, with --full 4,000")
    args = parser.parse_args()
    rows = args.rows or (4000 if args.full else 2000)
    from jobshelf.rehearse.tiny_model import tiny_model

    with tempfile.TemporaryDirectory() as folder:
        model = args.model or model_files(Path(folder), tiny_model())
        job = {"rows": rows, "model": model, "rounds": -(-args.rounds // 2)}
        found = in_environment(__file__, NAME, {f"{name}{turn}": job for turn in (1, 2) for name in ("bare", "script")})
    middle = {
        name: statistics.median(found[f"{name}1"]["seconds"] + found[f"{name}2"]["seconds"])
        for name in ("bare", "script")
    }
    for name, taken in middle.items():
        print(f"{name}: {rows / taken:,.1f} rows/s of {TOKENS} tokens at most")
    ratio = middle["bare"] / middle["script"]
    print(f"beside LLM.chat: {ratio:.3f} (limit {LIMIT:g})")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        result = measure(json.loads(sys.argv[2]))
        print(f"\n{json.dumps(result)}")
        raise SystemExit(0)
    raise SystemExit(main())
