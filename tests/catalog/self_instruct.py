"""The models that cot-self-instruct.py asks, played over an API, and the two tables that it writes."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path
from typing import Any

import polars as pl

# what becomes of a question by the way the model plays it: (its answer, K = 6 solutions, why it is dropped)
WAYS: dict[str, tuple[str, list[str], str | None]] = {
    "agree": ("42", ["42", "42", "42", "42", "42", "7"], None),
    "plural": ("42", ["42", "42", "3", "4", "5", "6"], None),  # a majority of two: there is no threshold
    "spelled": (r"\dfrac{1}{2}", ["0.5", r"\frac{1}{2}", "1/2", r"\frac12", "3", "9"], None),
    "nested": (r"\frac{\sqrt{3}}{2}", [r"\frac{\sqrt{3}}{2}"] * 4 + ["1", "2"], None),
    "differ": ("42", ["7", "7", "7", "7", "42", "42"], "inconsistent"),
    "tie": ("42", ["42", "42", "42", "7", "7", "7"], "inconsistent"),
    "silent": ("42", ["", "", "", "", "42", "42"], "inconsistent"),
    "refused": ("42", [], "error"),
}
K = 6
# the seeds that belong to each response of a candidate, whatever else is asked
RESPONSES = {
    random.Random(f"42 {candidate} response {number}").getrandbits(31): number
    for candidate in range(200)
    for number in range(K)
}


def drawn(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def words(seed: int) -> str:
    return " ".join(hashlib.sha256(f"{seed} {place}".encode()).hexdigest()[:7] for place in range(14))


def example(text: str, number: int) -> str:
    return re.split(r"\n\n(?:\[Example 2\]|Write one new)", text.split(f"[Example {number}]\n")[1])[0]


def play(request: dict[str, Any]) -> list[str]:
    """Speak as the model: the same words for the same conversation and seed."""
    text = request["messages"][-1]["content"]
    if "Write one new question" in text:
        return [play_question(text)]
    if "Write one new task" in text:
        return [f"A plan.\n[New Task]\nPlease explain {words(drawn(text))} to me.\n[End of Task]"]
    number = RESPONSES[request["seed"]]
    found = re.search(r"the (\w+) way", text)
    if found is None:
        return [f"Reply {number} to {text[:20]}"]
    solutions = WAYS[found[1]][1]
    if not solutions:
        return []
    return [rf"Thus \boxed{{{solutions[number]}}}." if solutions[number] else "I do not know."]


def play_question(text: str) -> str:
    number = drawn(text)
    if number % 7 == 0:
        return "I would rather not."
    if number % 7 == 1:
        question, answer = example(text, 1), "1"
    elif number % 7 == 2:
        question, answer = f"Always asked the agree way: {words(0)}?", "42"
    else:
        way = list(WAYS)[number // 7 % len(WAYS)]
        question, answer = f"Asked the {way} way: {words(number)}?", WAYS[way][0]
    draft = "[New Question]\na draft of it\n[End of Question]\n[Final Answer]\n\\boxed{0}\n[End of Answer]\n</think>\n"
    said = f"**[New Question]**\n{question}\n[End of Question]\n[Final Answer]\n\n$$\\boxed{{\n{answer}}}$$\n[End of Answer]"
    return (draft if number % 2 else "") + "Plan.\n" + said


def candidates(folder: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(folder / "data/candidates-*.parquet").to_dicts()


def kept(folder: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(folder / "data/train.parquet").to_dicts()
