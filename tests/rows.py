"""Rows for tests: real ones where they are to be had, else generated ones of the same schema."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobshelf.sample_data import questions

ROOT = Path(__file__).parents[1]
FILES = {
    "gsm8k_test": "gsm8k_test.jsonl",
    "gsm8k_model_solutions": "gsm8k_model_solutions.jsonl",
    "sharegpt_conversations": "sharegpt_conversations.json",
    "mt_bench_questions": "mt_bench_questions.jsonl",
}
SOLVERS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def folder() -> Path | None:
    """Return the folder of real rows: $JOBSHELF_TEST_DATA, else shared/data beside the checkout, else None."""
    named = os.environ.get("JOBSHELF_TEST_DATA")
    candidates = [Path(named)] if named else [ROOT.parent / "shared" / "data"]
    return next((path for path in candidates if (path / FILES["gsm8k_test"]).is_file()), None)


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows called `name`, a key of FILES."""
    where = folder()
    if where is None:
        return list(GENERATORS[name]())
    text = (where / FILES[name]).read_text(encoding="utf-8")
    return json.loads(text) if FILES[name].endswith(".json") else [json.loads(line) for line in text.splitlines()]


def _solutions() -> Iterator[dict[str, Any]]:
    for number, row in enumerate(questions(120)):
        truth = row["answer"].replace("####", "A:")
        wrong = truth.rsplit(" ", 1)[0] + " 0"
        solved = {
            solver: {"is_correct": (number + place) % 2 == 0, "solution": truth if (number + place) % 2 == 0 else wrong}
            for place, solver in enumerate(SOLVERS)
        }
        yield {"question": row["question"], "ground_truth": truth, **solved}


def _conversations() -> Iterator[dict[str, Any]]:
    for number, row in enumerate(questions(100)):
        turns = [("human", "Hello"), ("gpt", "Hi, what is it?"), ("human", row["question"]), ("gpt", row["answer"])]
        yield {"id": f"made_{number}", "conversations": [{"from": who, "value": said} for who, said in turns]}


def _two_turns() -> Iterator[dict[str, Any]]:
    for number, row in enumerate(questions(80), start=81):
        turns = [row["question"], "Now explain each step to a child."]
        yield {"question_id": number, "category": "math", "turns": turns}


GENERATORS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "gsm8k_test": lambda: questions(150),
    "gsm8k_model_solutions": _solutions,
    "sharegpt_conversations": _conversations,
    "mt_bench_questions": _two_turns,
}
