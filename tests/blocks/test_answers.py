"""Block `answers`: cases computed by hand."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobshelf import blocks

answers = blocks.load("answers")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\sqrt{\frac{3}{4}}} and \boxed{ 7 }", "7"),
        ("[Final Answer to New Question Begin]\n\\boxed{\n42\n}\n", "42"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{a \}", None),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\fbox{6}", "6"),
        ("The answer is **12**.", "12"),
        ("Final answer: $x + 1$\nbecause", "x + 1"),
        ("the answer is 3. No, the answer is 4.", "4"),
        ("the answer is 3.5", "3.5"),
        (r"\boxed{}", None),
        ("no idea", None),
        ("", None),
        (r"\boxed{" + "9" * 2000 + "}", None),
    ],
)
def test_final_answers(text: str, found: str | None) -> None:
    assert answers.final_answer(text) == found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1/2", "0.5", True),
        (r"\frac{1}{2}", "0.5", True),
        (r"\dfrac{1}{2}", r"\frac{1}{2}", True),
        (r"\frac12", "1/2", True),
        ("1,000", "1000", True),
        ("x+1", "1+x", True),
        (r"2\sqrt{2}", r"\sqrt{8}", True),
        ("(A)", "a", True),
        (r"\text{Yes}", "yes", True),
        ("42.", "42", True),
        ("0.33", "1/3", False),
        ("0.33333333", "1/3", True),
        (r"-\frac{1}{2}", "-0.5", True),
        (r"-\frac{1}{2}", "0.5", False),
        ("1/0", "1", False),
        ("42", "43", False),
        ("x", "y", False),
        ("yes", "no", False),
        ("", "1", False),
    ],
)
def test_same_answers(one: str, other: str, same: bool) -> None:
    assert answers.same_answer(one, other) is same
    assert answers.same_answer(other, one) is same


@pytest.mark.parametrize("endless", ["9^{9^{9^{9}}}", "1000000000!", r"\binom{1000000000}{500000000}"])
def test_an_answer_that_nobody_can_compute_ends(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWERS_SECONDS", 1)
    assert not answers.same_answer("x", "y"), "what is imported here is not counted"
    began = time.monotonic()
    assert not answers.same_answer(endless, "1")
    assert time.monotonic() - began < 20


def test_threads_can_compare_too() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(answers.same_answer, "x+1", "1+x").result()


@pytest.mark.parametrize(
    ("given", "winner", "votes"),
    [
        (["4", "4", "5"], "4", 2),
        (["1/2", "0.5", r"\frac{1}{2}", "2", "2"], "1/2", 3),
        (["4", "5"], None, 0),  # a tie
        (["4", "4", "5", "5", "6"], None, 0),
        (["4", None, None], None, 0),  # most have no answer
        (["4", "4", None], "4", 2),
        (["4", None], None, 0),  # as many without as with: a tie
        ([None], None, 0),
        ([], None, 0),
        (["7"], "7", 1),
    ],
)
def test_votes(given: list[str | None], winner: str | None, votes: int) -> None:
    voted = answers.vote(given)
    assert (voted.winner, voted.votes, voted.total) == (winner, votes, len(given))
    assert voted.share == (votes / len(given) if given else 0.0)


def test_answer_consistency_asks_whether_the_majority_agrees_and_for_no_share() -> None:
    """Three of eight are enough where no other answer has three; the paper has no threshold here."""
    voted = answers.vote(["1/2", "0.5", "0.5", "2", "3", "4", "5", None])
    assert (voted.winner, voted.share) == ("1/2", 3 / 8)
    assert answers.is_consistent(voted, r"\frac{1}{2}")
    assert not answers.is_consistent(voted, "2")
    assert not answers.is_consistent(answers.vote(["1", "2"]), "1")


def test_a_prompt_is_worth_its_worst_response() -> None:
    assert answers.lowest_reward([0.5, -2.0, 3.0]) == -2.0
    with pytest.raises(ValueError, match="no reward"):
        answers.lowest_reward([])


@pytest.mark.parametrize(
    ("scores", "quantile", "cut"),
    [
        ([1, 2, 3, 4, 5], 0.5, 3),
        ([1, 2, 3, 4], 0.5, 2.5),
        ([5, 1, 3], 0, 1),
        ([5, 1, 3], 1, 5),
        ([2], 0.25, 2),
        ([1, 2], 0.25, 1.25),
    ],
)
def test_cuts(scores: list[float], quantile: float, cut: float) -> None:
    assert answers.quantile_cut(scores, quantile) == pytest.approx(cut)
