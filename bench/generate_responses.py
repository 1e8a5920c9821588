"""How fast generate-responses is: beside a bare `LLM.chat`, beside one call a row; what a restart costs; its memory.

    uv run python bench/generate_responses.py [--full] [--model M] [--rounds 7] [--rows N]

All of it with one vLLM in one process, in turns, its start excluded: the bare call over all prompts, and the whole script,
which reads them from the embedded Hub and persists the answers there as it goes. M is a folder or a model of the Hub (the
tiny model of the rehearsals where none is named). A restart costs what a run that goes on does before it asks its first row.
Then two processes each answer rows with an engine that takes no time: 10,000 and 100,000 (with --full), whose memory must be
the same; pages of the file they read, which the kernel takes back at will, are none of it. Prints medians; exits 1 when a
limit is broken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines import INSIDE, call, in_environment, load, model_files, start_vllm

NAME = "generate-responses.py"
TOKENS = 64
PART_ROWS = 250
LIMITS = {"beside LLM.chat": 0.9, "beside one call a row": 3.0, "restart": 0.02, "memory": 1.1}


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write_prompts(path: Path, count: int, *, letters: int = 0) -> Path:
    """Write so many prompts; with `letters`, each has as many of no meaning."""
    with path.open("w") as file:
        for number in range(count):
            text = f"{'x' * letters}What is {number} plus {number * 7 % 1000}?"
            file.write(json.dumps({"id": number, "prompt": text}) + "\n")
    return path


class Broken:
    """An engine that is terminated, as a Job is, once it has given `count` answers; it notes when it was asked first."""

    def __init__(self, engine: Any, count: int | None) -> None:
        self.engine, self.count, self.given, self.first = engine, count, 0, 0.0

    def replies(self, questions: Iterable[Any], sampling: Any) -> Iterator[Any]:
        first = next(iter(questions))
        self.first = time.perf_counter()
        for reply in self.engine.replies(itertools.chain([first], questions), sampling):
            if self.given == self.count:
                for waiting in list(self.engine._llm.llm_engine.output_processor.request_states):
                    self.engine._llm.llm_engine.abort_request([waiting], internal=True)
                raise SystemExit(143)
            self.given += 1
            yield reply


def speed(job: dict[str, Any]) -> dict[str, Any]:
    """Time the bare call, the script, one call a row, and a run that is terminated half way and run again."""
    from vllm import SamplingParams

    module, folder = load(NAME), Path(job["folder"])
    prompts = write_prompts(folder / "prompts.jsonl", job["rows"])
    chats = [[{"role": "user", "content": json.loads(line)["prompt"]}] for line in prompts.open()]
    engine = start_vllm(module, job["model"])
    sampling = SamplingParams(temperature=0, max_tokens=TOKENS)
    words = ["--prompt-column", "prompt", "--model", job["model"], "--temperature", "0", "--max-tokens", TOKENS]
    words += ["--part-rows", PART_ROWS, "--commit-every", "5"]
    outputs = (f"alice/answers-{number}" for number in itertools.count())

    def script(output: str) -> None:
        call(module, [prompts, output, *words])

    def bare(some: list[Any]) -> None:
        engine._llm.chat(some, sampling, use_tqdm=False)

    bare(chats[:64])
    script(next(outputs))
    few = chats[: job["each"]]
    times: dict[str, list[float]] = {"bare": [], "script": [], "each": [], "restart": []}
    again = 0
    for _ in range(job["rounds"]):
        times["bare"].append(seconds(lambda: bare(chats)))
        times["script"].append(seconds(lambda: script(next(outputs))))
        times["each"].append(seconds(lambda: [bare([one]) for one in few]) / len(few) * len(chats))
        output, given = next(outputs), 0
        for count in (len(chats) // 2 + PART_ROWS // 2, None):
            broken = Broken(engine, count)
            with lent(module, broken):
                began = time.perf_counter()
                ended(script, output)
            given += broken.given
        times["restart"].append(broken.first - began)
        again = given - len(chats)
    middle = {name: statistics.median(values) for name, values in times.items()}
    return {**middle, "again": again, "rows": len(chats)}


@contextmanager
def lent(module: Any, engine: Any) -> Iterator[None]:
    """Have the script find another engine, for a while."""
    usual = module.start_engine
    module.start_engine = lambda *_, **__: engine
    yield
    module.start_engine = usual


def ended(script: Callable[[str], object], output: str) -> None:
    """Run the script, to its end or until it is terminated."""
    try:
        script(output)
    except SystemExit as stop:
        if stop.code != 143:
            raise


def memory(job: dict[str, Any]) -> dict[str, Any]:
    """Answer rows of 1,000 letters without an engine's work; return the most memory and the seconds."""
    module, folder = load(NAME), Path(job["folder"])
    prompts = write_prompts(folder / f"rows-{job['rows']}.jsonl", job["rows"], letters=1000)

    class Echo:
        packages = ()

        def replies(self, questions: Iterable[Any], _: Any) -> Iterator[Any]:
            for question in questions:
                text = question.conversation[-1]["content"]
                answer = module.Answer(text=text, finish_reason="stop", tokens=1)
                yield module.Reply(key=question.key, answers=(answer,), prompt_tokens=1)

    module.start_engine = lambda *_, **__: Echo()
    words = ["--engine", "openai", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
    output = f"alice/rows-{job['rows']}"
    with watched() as most:
        taken = seconds(lambda: call(module, [prompts, output, *words]))
    return {"MiB": most[0] / 1024, "seconds": taken}


@contextmanager
def watched() -> Iterator[list[int]]:
    """Yield a list whose item becomes the most KiB of memory beyond mapped files that the process has meanwhile."""
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            most[0] = max(most[0], int(status.partition("RssAnon:")[2].split()[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield most
    over.set()
    watcher.join()


def main() -> int:
    """Measure and print; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more rows: minutes instead of one")
    parser.add_argument("--model", help="default: the tiny model of the rehearsals")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, help="rows for vLLM (default: 2,000, with --full 4,000)")
    args = parser.parse_args()
    rows, many = (4000, 100_000) if args.full else (2000, 20_000)
    rows = args.rows or rows
    import tempfile

    from jobshelf.rehearse.tiny_model import tiny_model

    with tempfile.TemporaryDirectory() as folder:
        model = args.model or model_files(Path(folder), tiny_model())
        found = in_environment(
            __file__,
            NAME,
            {
                "speed": {"rows": rows, "model": model, "rounds": args.rounds, "each": 100 if args.full else 30},
                "few": {"rows": many // 10},
                "many": {"rows": many},
            },
        )
    fast, few, lots = found["speed"], found["few"], found["many"]
    shown = {
        "beside LLM.chat": fast["bare"] / fast["script"],
        "beside one call a row": fast["each"] / fast["script"],
        "restart": fast["restart"] / fast["script"],
        "memory": lots["MiB"] / few["MiB"],
    }
    for name in ("script", "bare", "each"):
        print(f"{name}: {fast['rows'] / fast[name]:,.1f} rows/s of {TOKENS} tokens at most")
    print(
        f"terminated half way and run again: {fast['restart']:.2f} s to the first row, {fast['again']} rows answered twice"
    )
    print(f"memory: {few['MiB']:.0f} MiB for {many // 10:,} rows, {lots['MiB']:.0f} MiB for {many:,}")
    for name, value in shown.items():
        print(f"{name}: {value:.3f} (limit {LIMITS[name]:g})")
    at_least = ("beside LLM.chat", "beside one call a row")
    return int(any((shown[name] < LIMITS[name]) == (name in at_least) for name in LIMITS))


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        given = json.loads(sys.argv[2])
        print(json.dumps(speed(given) if given["job"] == "speed" else memory(given)))
        raise SystemExit(0)
    raise SystemExit(main())
