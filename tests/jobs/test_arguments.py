"""A Job whose script would refuse its arguments is refused here, before it costs anything, also without a login."""

from __future__ import annotations

import pytest

from jobshelf.errors import UsageError
from jobshelf.jobs.arguments import check_arguments
from jobshelf.script import parse_script

PARSES = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("rows")
parser.add_argument("--mode", choices=("fast", "slow"))
{rest}
"""


def script(rest: str = "parser.parse_args()"):
    source = f"# /// script\n# dependencies = []\n# ///{PARSES.format(rest=rest)}"
    return parse_script(source.encode(), "work.py")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "the following arguments are required: rows"),
        (("r", "--mode", "odd"), "argument --mode: invalid choice: 'odd'"),
        (("r", "--moed", "fast"), "unrecognized arguments: --moed fast"),
    ],
)
def test_what_the_parser_refuses(words, why):
    with pytest.raises(UsageError) as caught:
        check_arguments(script(), words, named="my work.py")
    assert f"work refuses its arguments: {why}" in str(caught.value)
    assert str(caught.value).endswith("Fix: jobshelf run 'my work.py' -- --help")


@pytest.mark.parametrize(
    "rest",
    [
        "parser.parse_args()",
        "parser.parse_known_args()",
        "import torch; parser.parse_args(); raise SystemExit(2 if torch.cuda.is_available() else 2)",
        "parser.parse_args(); open('/nowhere/rows')",
    ],
)
def test_everything_else_is_left_to_the_job(rest):
    check_arguments(script(rest), ("r", "--mode", "fast"), named="work.py")


def test_options_for_another_parser_are_passed_on():
    check_arguments(script("parser.parse_known_args()"), ("r", "--max-steps", "5"), named="work.py")


def test_text_of_the_script_cannot_steer_the_terminal():
    hostile = script(r"parser.prog = 'x'; parser.error('\x1b[31mred\u202e')")
    with pytest.raises(UsageError, match="red") as caught:
        check_arguments(hostile, ("r",), named="work.py")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["submit", "finepdfs-stats", "--dry-run", "--", "--nope"], 2, "unrecognized arguments: --nope"),
        (["command", "finepdfs-stats", "--", "--limt", "5"], 2, "unrecognized arguments: --limt"),
        (
            ["submit", "train-sft", "--dry-run", "--flavor", "gpu-xl", "--", "a", "./b"],
            2,
            "there is no flavor 'gpu-xl'",
        ),
        (["submit", "train-sft", "--dry-run", "--flavor", "a100", "--", "a", "./b"], 2, "--flavor a100-large"),
        (["submit", "train-sft", "--dry-run", "--timeout", "999d", "--", "a", "./b"], 0, "with the timeout of 999d"),
    ],
)
def test_without_a_login_and_without_a_network(jobshelf, environment, words, code, said):
    """The script is the copy here, the price that of the dated list."""
    done = jobshelf(*words, env=environment | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": ""})
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    if code == 0:
        assert "at most $" in done.stdout
        assert "(prices of 20" in done.stdout
