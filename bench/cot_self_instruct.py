"""How fast cot-self-instruct is, beside bare batched generation of the same tokens.

    uv run python bench/cot_self_instruct.py [--full] [--rounds 3]

One vLLM in one process, in turns, its start excluded: the whole script, from seeds on the embedded Hub's machine to
candidates and prompts on that Hub, and two bare calls: `LLM.chat` over all that the script had the model write, then over
all that it had it solve. A tiny model says 150 tokens of plan, question and answer to whatever it is asked: the same
tokens on both sides. Prints medians; exits 1 when the limit is broken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines import INSIDE, call, in_environment, load, model_files, start_vllm

NAME = "cot-self-instruct.py"
SOLUTIONS = 8
TOKENS = 256
LIMIT = 0.9


class Noting:
    """The engine, and what it was asked."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.asked: list[tuple[list[Any], int]] = []
        self.tokens = 0

    def replies(self, questions: Any, sampling: Any) -> Iterator[Any]:
        for reply in self.engine.replies(Following(questions, self), sampling):
            self.tokens += sum(answer.tokens for answer in reply.answers)
            yield reply


class Following:
    """The stream of questions, which may go on after it seemed to end."""

    def __init__(self, questions: Any, noting: Noting) -> None:
        self.questions, self.noting = iter(questions), noting

    def __iter__(self) -> Following:
        return self

    def __next__(self) -> Any:
        question = next(self.questions)
        count = question.sampling.count if question.sampling else 1
        self.noting.asked.append((list(question.conversation), count))
        return question


def speed(job: dict[str, Any]) -> dict[str, Any]:
    """Time the script and the bare calls."""
    from vllm import SamplingParams

    module, folder = load(NAME), Path(job["folder"])
    seeds = folder / "seeds.jsonl"
    rows = ({"question": f"What is {n} plus {n * 7 % 100}?", "answer": str(n + n * 7 % 100)} for n in range(200))
    seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = start_vllm(module, job["model"])
    noting = Noting(engine)
    module.start_engine = lambda *_, **__: noting
    outputs = (f"alice/prompts-{number}" for number in itertools.count())
    words = ["--model", job["model"], "--k-responses", SOLUTIONS, "--max-tokens", TOKENS, "--commit-every", "5"]

    def script() -> None:
        noting.asked.clear()
        noting.tokens = 0
        call(module, [seeds, next(outputs), *words, "--num-samples", job["candidates"]])

    def bare() -> int:
        written = 0
        for count in (1, SOLUTIONS):
            chats = [conversation for conversation, wanted in noting.asked if wanted == count]
            sampling = SamplingParams(n=count, temperature=0.6, top_p=0.95, max_tokens=TOKENS)
            for done in engine._llm.chat(chats, sampling, use_tqdm=False):
                written += sum(len(said.token_ids) for said in done.outputs)
        return written

    script()
    if bare() != noting.tokens:
        raise SystemExit("the bare calls did not write what the script had written")
    times: dict[str, list[float]] = {"script": [], "bare": []}
    for _ in range(job["rounds"]):
        for name, work in (("bare", bare), ("script", script)):
            began = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - began)
    return {**{name: statistics.median(values) for name, values in times.items()}, "tokens": noting.tokens}


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
        job = {"candidates": 1000 if args.full else 200, "model": model, "rounds": args.rounds}
        found = in_environment(__file__, NAME, {"speed": job})["speed"]
    ratio = found["bare"] / found["script"]
    for name in ("script", "bare"):
        print(f"{name}: {found['tokens'] / found[name]:,.0f} tokens/s")
    print(f"beside bare generation: {ratio:.3f} (limit {LIMIT:g})")
    return int(ratio < LIMIT)


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        print(json.dumps(speed(json.loads(sys.argv[2]))))
        raise SystemExit(0)
    raise SystemExit(main())
