"""train_sft.py before TRL is imported: what it refuses, with which code, and what it says to do instead."""

from __future__ import annotations

import pytest

from catalog.conftest import Script
from jobshelf.hub import Hub
from support import READ_TOKEN

NAME = "train_sft.py"


def test_help(script: Script) -> None:
    """The options of ours, and where those of TRL are."""
    shown = script(NAME, "--help")
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in ("DATASET", "OUTPUT", "--map", "--checkpoints", "--help-all"))
    assert "--learning_rate" not in shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("user/rows",), "DATASET and OUTPUT come first"),
        (("--model", "m", "--max-samples", "-3"), "at least 1"),
        (("user/rows", "./out", "--map", "question"), "OLD=NEW"),
        (("user/rows", "./out", "--commit-every", "soon"), "invalid int value"),
    ],
)
def test_usage(script: Script, words: tuple[str, ...], said: str) -> None:
    ended = script(NAME, *words)
    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr


def test_nobody_and_a_reader_may_not_write(script: Script, hub: Hub, environment: dict[str, str]) -> None:
    for token, said in (("", "no Hub token"), (READ_TOKEN, "may not write")):
        env = {**environment, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token}
        ended = script(NAME, "alice/rows", "alice/out", "--model", "alice/tiny", env=env)
        assert (ended.returncode, said in ended.stderr) == (3, True), ended.stderr
        assert "Traceback" not in ended.stderr
