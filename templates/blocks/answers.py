# block: answers 1
"""Final answers: found in a text, compared as mathematics, voted on; and the quality of prompts from rewards.

Answer-Consistency and Self-Consistency as in CoT-Self-Instruct (https://arxiv.org/abs/2507.23751), the reward cut as in
Rejecting Instruction Preferences (https://arxiv.org/abs/2501.18578).

Promises: braces are matched, so that fractions stay whole; 1/2, 0.5 and \\frac{1}{2} are one answer; a solution without
an answer is a vote for none; a tie has no majority; in the main thread no comparison takes longer than some seconds.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

ANSWERS_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
ANSWERS_WORDS = re.compile(r"(?i)(?:final\s+)?answer\s*(?:is|:|=)+\s*")
ANSWERS_LONGEST = 1000  # characters of a final answer; what is longer is none
ANSWERS_SECONDS = 3  # of each step of a comparison: models do write 9^{9^{9^9}}, which nobody can compute
_ANSWER_NUMBER = re.compile(
    r"(-?\d{1,40}(?:\.\d{1,40})?)|(-?)\\frac\{(-?\d{1,40})\}\{(\d{1,40})\}|(-?\d{1,40})/(\d{1,40})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """How a set of solutions voted. `winner` is None on a tie, and where most have no answer.

    `votes` of `total` solutions are for the winner; `share` is that as a number from 0 to 1.
    """

    winner: str | None
    votes: int
    total: int

    @property
    def share(self) -> float:
        """The part of all solutions, those without an answer included, that is for the winner."""
        return self.votes / self.total if self.total else 0.0


def final_answer(text: str) -> str | None:
    """Return the last boxed answer in `text`, else what follows the last "answer is"; None when there is neither."""
    boxed = [found for opening in ANSWERS_BOXED.finditer(text) if (found := _braced(text, opening.end())) is not None]
    if boxed:
        answer = boxed[-1]
    else:
        said = list(ANSWERS_WORDS.finditer(text))
        answer = text[said[-1].end() :].strip().partition("\n")[0] if said else ""
    answer = tidy_answer(answer)
    return answer if 0 < len(answer) <= ANSWERS_LONGEST else None


def tidy_answer(text: str) -> str:
    """Return an answer without what does not belong to it: dollar signs, boxes around it, a closing full stop."""
    answer = " ".join(text.split())
    while True:
        before = answer
        opening = ANSWERS_BOXED.match(answer)
        if opening and (inner := _braced(answer, opening.end())) is not None:
            answer = inner
        answer = answer.strip().strip("$").strip()
        answer = re.sub(r"^\\[(\[]\s*|\s*\\[)\]]$", "", answer)
        answer = re.sub(r"(?<=[^.])\.$", "", answer)
        answer = re.sub(r"^\*\*(.*)\*\*$", r"\1", answer)
        if answer == before:
            return answer


def same_answer(one: str, other: str) -> bool:
    """Whether two answers are the same: as text, else as mathematics."""
    plain = _plain(one), _plain(other)
    if plain[0] == plain[1]:
        return True
    numbers = _answer_number(plain[0]), _answer_number(plain[1])
    if numbers[0] is not None and numbers[1] is not None:
        if numbers[0] == numbers[1]:
            return True
        if _answers_far_apart(numbers[0], numbers[1]):
            return False
    first, second = _answer_parsed(one), _answer_parsed(other)
    if not first or not second:
        return False
    verify, limit = _answer_math()[1], _answer_seconds()
    return bool(verify(first, second, timeout_seconds=limit) or verify(second, first, timeout_seconds=limit))


def vote(answers: Sequence[str | None]) -> Vote:
    """Return how these answers voted, equal ones together; the winner is the first spelling that was met."""
    groups: list[tuple[str | None, int]] = []
    for answer in answers:
        for place, (known, count) in enumerate(groups):
            if known is answer or (known is not None and answer is not None and same_answer(known, answer)):
                groups[place] = (known, count + 1)
                break
        else:
            groups.append((answer, 1))
    most = max((count for _, count in groups), default=0)
    leading = [known for known, count in groups if count == most]
    if len(leading) != 1 or leading[0] is None:
        return Vote(winner=None, votes=0, total=len(answers))
    return Vote(winner=leading[0], votes=most, total=len(answers))


def is_consistent(voted: Vote, answer: str) -> bool:
    """Answer-Consistency: whether the majority of the solutions is the answer that came with the question."""
    return voted.winner is not None and same_answer(voted.winner, answer)


def lowest_reward(rewards: Sequence[float]) -> float:
    """Return the score of a prompt: the lowest reward among its responses. Raises ValueError when there are none."""
    if not rewards:
        raise ValueError("no reward to take the lowest of")
    return min(rewards)


def quantile_cut(scores: Sequence[float], quantile: float) -> float:
    """Return the score at `quantile` (0 to 1) of `scores`, between two of them in proportion; keep what is not below."""
    if not scores:
        raise ValueError("no score to cut at")
    ordered = sorted(scores)
    place = quantile * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _braced(text: str, start: int) -> str | None:
    """Return what stands between the brace that opens before `start` and the one that closes it."""
    depth = 1
    for place in range(start, len(text)):
        if text[place - 1] == "\\" and text[place] in "{}":
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start:place]
    return None


def _plain(text: str) -> str:
    """Return an answer with its spelling evened out: spaces, case, brackets of a choice, thin spaces, dfrac."""
    plain = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", text)
    plain = (
        re.sub(r"\\[,;:! ]|\\(?:left|right)(?![a-z])|[\s$]", "", plain)
        .replace("\\dfrac", "\\frac")
        .replace("\\tfrac", "\\frac")
    )
    plain = re.sub(r"^\(([A-Za-z])\)$", r"\1", plain)
    return plain.rstrip(".").casefold()


def _answer_number(plain: str) -> Fraction | None:
    """Return the number that an answer is when it is nothing but one; most are, and need no algebra."""
    match = _ANSWER_NUMBER.fullmatch(plain)
    if match is None:
        return None
    decimal, sign, over, under, numerator, denominator = match.groups()
    if decimal is not None:
        return Fraction(decimal)
    below = int(under or denominator)
    above = int(over or numerator) * (-1 if sign else 1)
    return Fraction(above, below) if below else None


def _answers_far_apart(one: Fraction, other: Fraction) -> bool:
    """Whether two numbers differ by more than rounding does."""
    return abs(one - other) > max(1, abs(one), abs(other)) / 1000


@cache
def _answer_math() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return math-verify's (parse, verify), at work once, so that no time limit counts what they import."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it tells of each answer that is none
    verify(parse("$x$", parsing_timeout=None), parse("$2x/2$", parsing_timeout=None), timeout_seconds=None)
    return parse, verify


@lru_cache(maxsize=4096)
def _answer_parsed(text: str) -> list[Any]:
    return _answer_math()[0](f"${text}$", parsing_timeout=_answer_seconds())


def _answer_seconds() -> int | None:
    """Return the time limit of one step, None in other threads: math-verify keeps it by a signal."""
    return ANSWERS_SECONDS if threading.current_thread() is threading.main_thread() else None
