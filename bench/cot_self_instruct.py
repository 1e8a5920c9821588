"""How fast cot-self-instruct is, beside bare batched generation of the same tokens.

    uv run python bench/cot_self_instruct.py [--full] [--rounds 3]

The whole script, from seeds in a file to candidates and prompts on the embedded Hub, and two bare calls, in turns, each in
a process of its own, the start of vLLM excluded: `LLM.chat` over all that the script had the model write, then over all
that it had it solve. A tiny model says 150 tokens of plan, question and answer to whatever it is asked: the same tokens on
both sides. Prints medians; exits 1 when the limit is broken.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engines import INSIDE, in_environment, load, model_files

NAME = "cot-self-instruct.py"
SOLUTIONS = 8
TOKENS = 256
LIMIT = 0.9
ENGINE = {"enforce_eager": True, "enable_prefix_caching": False}


def script(job: dict[str, Any]) -> dict[str, Any]:
    """Time the whole script, and leave what it asked for the bare calls."""
    module, folder = load(NAME), Path(job["folder"])
    seeds, asked, loading = folder / "seeds.jsonl", [], []
    rows = ({"question": f"What is {n} plus {n * 7 % 100}?", "answer": str(n + n * 7 % 100)} for n in range(200))
    seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))

    class Timed(module.Vllm):
        def __init__(self, *words: Any) -> None:
            began = time.perf_counter()
            super().__init__(*words)
            loading.append(time.perf_counter() - began)

        async def ask(self, text: str, step: str, model: str) -> Any:
            said = await super().ask(text, step, model)
            asked.append((text, "attempt" in step, said.tokens))
            return said

    module.ENGINES["vllm"] = Timed
    words = ["--model", job["model"], "--k-responses", str(SOLUTIONS), "--max-tokens", str(TOKENS)]
    words += ["--num-samples", str(job["candidates"]), "--commit-every", "5", "--engine-args", json.dumps(ENGINE)]
    began = time.perf_counter()
    if module.main([str(seeds), f"alice/{job['job']}", *words]) != 0:
        raise SystemExit("the script failed")
    whole = time.perf_counter() - began - sum(loading)
    (folder / "asked.json").write_text(json.dumps(asked))
    return {"seconds": whole, "tokens": sum(tokens for *_, tokens in asked)}


def bare(job: dict[str, Any]) -> dict[str, Any]:
    """Time two calls of vLLM that do nothing else."""
    from vllm import LLM, SamplingParams

    asked = json.loads(Path(job["folder"], "asked.json").read_text())
    engine = LLM(model=job["model"], **ENGINE)
    sampling = SamplingParams(temperature=0.6, top_p=0.95, max_tokens=TOKENS)
    began, tokens = time.perf_counter(), 0
    for is_written in (True, False):
        chats = [[{"role": "user", "content": text}] for text, written, _ in asked if written == is_written]
        tokens += sum(len(done.outputs[0].token_ids) for done in engine.chat(chats, sampling, use_tqdm=False))
    return {"seconds": time.perf_counter() - began, "tokens": tokens}


def main() -> int:
    """Measure and print; 1 when the limit is broken."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more candidates: minutes instead of one")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    from jobshelf.rehearse.fixtures import SELF_INSTRUCT
    from jobshelf.rehearse.tiny_model import speaking_model

    plan = [f"Step {number} of the plan is as good as any other." for number in range(140)]
    with tempfile.TemporaryDirectory() as folder:
        model = model_files(Path(folder), speaking_model([*plan, *SELF_INSTRUCT]))
        job = {"candidates": 1000 if args.full else 200, "model": model}
        jobs = {f"{name}{turn}": job for turn in range(args.rounds) for name in ("script", "bare")}
        found = in_environment(__file__, NAME, jobs)
    if len({one["tokens"] for one in found.values()}) > 1:
        raise SystemExit("the bare calls did not write what the script had written")
    middle = {
        name: statistics.median(one["seconds"] for job, one in found.items() if job.startswith(name))
        for name in ("script", "bare")
    }
    for name, taken in middle.items():
        print(f"{name}: {found['bare0']['tokens'] / taken:,.0f} tokens/s")
    ratio = middle["bare"] / middle["script"]
    print(f"beside bare generation: {ratio:.3f} (limit {LIMIT:g})")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        job = json.loads(sys.argv[2])
        result = script(job) if job["job"].startswith("script") else bare(job)
        print(f"\n{json.dumps(result)}")
        raise SystemExit(0)
    raise SystemExit(main())
