"""train_grpo.py as far as it comes without a model: where its rewards come from, and what is said when they fail."""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import http.server
import math
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.conftest import module

NAME = "train_grpo.py"
FILE = """
from dataclasses import dataclass
from statistics import mean

@dataclass
class Words:
    text: str

def short(completions, **columns):
    return [-len(_words(text)) for text in completions]

def right(completions, answer, **columns):
    return [float(answer in text) for answer, text in zip(answer, completions)]

def _words(text, completions=None):
    return Words(text).text.split()

def helper(texts):
    return mean(map(len, texts))
"""

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused(4, function, *arguments)`: the line on stderr with which the script stops."""

    def call(code: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        with pytest.raises(SystemExit) as stopped:
            function(*args, **kwargs)
        said = capsys.readouterr().err
        assert stopped.value.code == code, said
        assert "Traceback" not in said
        assert re.fullmatch(r"error: .*\. Fix: .*", said.splitlines()[-1])
        return said.splitlines()[-1]

    return call


def load(**options: Any) -> dict[str, Any]:
    names = ("reward_model_name_or_path", "reward_funcs", "reward_file")
    return module(NAME).load_rewards(argparse.Namespace(**{**dict.fromkeys(names), **options}), 100)


def write(folder: Path, text: str = FILE, name: str = "judge.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


# --- where rewards come from ---


def test_the_functions_of_a_file_that_take_completions(tmp_path: Path) -> None:
    rewards = load(reward_file=[write(tmp_path)])
    assert list(rewards) == ["short", "right"]
    assert rewards["short"](completions=["a b", "c"]) == [-2, -1]


def test_a_file_is_not_imported_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "raise RuntimeError('imported')", "judge.py")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, FILE, "other.py")
    assert list(load(reward_file=["other.py"])) == ["short", "right"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the file."""
    write(tmp_path)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/judge.py"
        server.shutdown()


def test_a_file_at_an_address_with_its_sha256(served: str, refused: Refused) -> None:
    right = hashlib.sha256(FILE.encode()).hexdigest()
    assert list(load(reward_file=[f"{served}#sha256={right}"])) == ["short", "right"]
    assert f"curl -sL {served} | sha256sum" in refused(2, load, reward_file=[served])
    said = refused(4, load, reward_file=[f"{served}#sha256={right[::-1]}"])
    assert f"has the sha256 {right}, expected {right[::-1]}" in said


def test_a_function_of_a_module_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FILE, "my_judges.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert list(load(reward_funcs=["my_judges.right"])) == ["right"]


def test_the_order_is_that_of_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "def polite(completions, **columns): return [1] * len(completions)", "my_manners.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    words = {"reward_file": [write(tmp_path)], "reward_funcs": ["my_manners.polite"]}
    rewards = load(reward_model_name_or_path="model", **words)
    assert list(rewards) == ["model", "polite", "short", "right"]
    assert re.fullmatch("[0-9a-f]{64}", rewards["model"])  # which model it is


def test_a_changed_reward_is_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(tmp_path, FILE, "my_rules.py")

    def digest(**words: Any) -> str:
        args = argparse.Namespace(**{"reward_file": None, "reward_funcs": None, **words})
        return module(NAME).digest_rewards(args, load(**words))

    by_file, by_module = {"reward_file": ["my_rules.py"]}, {"reward_funcs": ["my_rules.short"]}
    before = digest(**by_file), digest(**by_module)
    assert before == (digest(**by_file), digest(**by_module))
    write(tmp_path, FILE.replace("-len", "-2 * len"), "my_rules.py")
    assert not set(before) & {digest(**by_file), digest(**by_module)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def (", "SyntaxError"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("def helper(texts): ...", "has no reward"),
        ("from operator import add\ndef _private(completions): ...", "has no reward"),
    ],
)
def test_a_file_that_is_no_reward(tmp_path: Path, refused: Refused, text: str, said: str) -> None:
    line = refused(4, load, reward_file=[write(tmp_path, text)])
    assert said in line and "judge.py" in line


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, {}, "no reward was given"),
        (2, {"reward_funcs": ["acuracy"]}, "there is no reward 'acuracy'"),
        (2, {"reward_funcs": ["no.such.reward"]}, "cannot import the reward no.such.reward"),
        (2, {"reward_funcs": ["math.no_such_reward"]}, "cannot import the reward math.no_such_reward"),
        (2, {"reward_funcs": ["math.fsum", "math.fsum"]}, "two rewards are called fsum"),
        (4, {"reward_file": ["missing.py"]}, "missing.py"),
    ],
)
def test_a_reward_that_is_not_there(refused: Refused, code: int, words: dict[str, list[str]], said: str) -> None:
    assert said in refused(code, load, **words)


# --- how many weights ---


@pytest.mark.parametrize(
    ("given", "weights"),
    [(None, [1.0, 1.0, 1.0]), ([0.5], [0.5, 1.0, 1.0]), ([1, 0, -2.5], [1, 0, -2.5])],
)
def test_a_reward_without_a_weight_weighs_1(given: list[float] | None, weights: list[float]) -> None:
    assert module(NAME).weigh(given, ["accuracy_reward", "short", "right"]) == weights


@pytest.mark.parametrize("given", [[1, 2], [math.nan]])
def test_weights_that_are_too_many_or_no_numbers(refused: Refused, given: list[float]) -> None:
    assert "short" in refused(2, module(NAME).weigh, given, ["short"])


# --- what a reward is given, and what it returns ---


def test_a_reward_gets_the_columns_it_asks_for(refused: Refused) -> None:
    def right(completions: Any, solution: Any, level: int = 1, **columns: Any) -> Any: ...
    def narrow(completions: Any, solution: Any) -> Any: ...

    check = module(NAME).check_columns
    check({"right": right, "alice/judge": "c0ffee"}, ["prompt", "solution"])
    said = refused(4, check, {"right": right}, ["prompt", "answer"])
    assert "reward right needs a column 'solution'; there are prompt, answer" in said and "--map" in said
    assert "**kwargs" in refused(4, check, {"narrow": narrow}, ["prompt", "solution"])


def give(value: Any) -> Callable[..., Any]:
    """A reward that returns it, or what it makes of the completions."""
    return lambda completions, **columns: value(completions) if callable(value) else value


def judged(value: Any) -> Any:
    reward = module(NAME).guarded("mine", give(value))
    assert reward.__name__ == "mine"  # as TRL's log calls it
    return reward(completions=["a", "bb"], prompts=["p", "p"], answer=["a", "b"])


def test_numbers_and_none_reach_trl() -> None:
    assert judged([1, None]) == [1.0, None]
    assert judged((True, 0.25)) == [1.0, 0.25]
    assert judged(lambda texts: map(len, texts)) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1.0], "the reward mine returned 1 numbers for 2 completions"),
        ([1.0, math.nan], "the reward mine returned nan"),
        ([math.inf, 0], "the reward mine returned inf"),
        ([1.0, "high"], "could not convert string to float: 'high'"),
        (0.5, "'float' object is not iterable"),
        (None, "'NoneType' object is not iterable"),
        (lambda texts: {}[texts[0]], "the reward mine failed at test_train_grpo.py:"),
    ],
)
def test_what_is_no_reward_is_named(refused: Refused, value: Any, said: str) -> None:
    assert said in refused(4, judged, value)


def test_an_asynchronous_reward(refused: Refused) -> None:
    loops = set()

    async def slow(completions: list[str], **columns: Any) -> list[float]:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return [float(len(text)) for text in completions]

    reward = module(NAME).guarded("slow", slow)
    assert reward(completions=["a", "bb"]) == [1.0, 2.0]
    assert reward(completions=["ccc"]) == [3.0]
    assert len(loops) == 1  # clients are bound to theirs

    async def broken(completions: list[str], **columns: Any) -> list[float]:
        raise TimeoutError("the judge is away")

    assert "the judge is away" in refused(4, module(NAME).guarded("broken", broken), completions=["a"])


def test_rewards_of_trl_read_text_and_numbers() -> None:
    """By themselves they take conversations, and solutions that are text."""

    def trl_reward(completions: Any, solution: Any, **columns: Any) -> list[float]:
        return [float(chat[0]["content"] == right) for chat, right in zip(completions, solution, strict=True)]

    reward = module(NAME).reading_text(trl_reward)
    assert reward.__name__ == "trl_reward"
    chats = [[{"role": "assistant", "content": "7"}], [{"role": "assistant", "content": "8"}]]
    assert reward(completions=chats, solution=[7, 9], level=[1, 2]) == [1.0, 0.0]
    assert reward(completions=["7", ""], solution=["7", None]) == [1.0, 1.0]
