"""What the command line says to somebody who mistypes, forgets `--`, or asks for help."""

from __future__ import annotations

import argparse
import shlex

import pytest

from jobshelf.cli import ACTIONS, build_parser, parse
from jobshelf.cli.main import GROUPS
from jobshelf.errors import UsageError


def parsers(parser: argparse.ArgumentParser, *words: str):
    """Yield (words, parser) of every verb and action."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                yield (*words, name), verb
                yield from parsers(verb, *words, name)


VERBS = list(parsers(build_parser()))


def told(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(shlex.split(line)[1:])
    return str(caught.value)


def test_help_lists_every_verb_under_its_task():
    text = build_parser().format_help()
    for task in GROUPS:
        assert f"\n{task}:\n" in text
    for words, _ in VERBS:
        if len(words) == 1:
            assert f"\n  {words[0]} " in text
    assert len(text.splitlines()) < 50


@pytest.mark.parametrize(
    ("words", "parser"), VERBS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_the_example_of_each_verb_can_be_typed(words, parser):
    if words[-1:] == ("jobs",):
        assert "Example:\n  jobshelf jobs list" in parser.format_help()
    example = parser.epilog.partition("Example:\n")[2].strip()
    typed = shlex.split(example)
    assert parse(typed[1:]).verb == words[0]
    assert typed[1] == words[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("jobshelf vett x.py", "there is no command 'vett' (did you mean vet?)"),
        ("jobshelf zeppelin", "there is no command 'zeppelin'. Fix: jobshelf --help"),
        ("jobshelf vet --stritc x.py", "jobshelf vet does not take --stritc (did you mean --strict?)"),
        ("jobshelf vet --stri x.py", "did you mean --strict?"),  # no abbreviations: a script's options may be longer
        ("jobshelf submit x --flavour=l4x1", "jobshelf submit does not take --flavour (did you mean --flavor?)"),
        ("jobshelf submit x --attempts 0", "'0' is not a whole number of at least 1"),
        ("jobshelf submit x --max-cost five", "'five' is not a valid amount in US dollars (for example 5 or 0.50)"),
        ("jobshelf hub --port 70000", "'70000' is not a port (0 to 65535)"),
        ("jobshelf hardware --ram many", "'many' is not an amount in GB (for example 80)"),
        ("jobshelf publish --repo shelf", "'shelf' is not a repository id (owner/name)"),
    ],
)
def test_a_mistake_is_named_with_what_was_meant(line, said):
    assert said in told(line)


@pytest.mark.parametrize(
    ("line", "fixed"),
    [
        ("jobshelf run dataset-inspector rows.jsonl", "jobshelf run dataset-inspector -- rows.jsonl"),
        (
            "jobshelf run dataset-inspector --split train rows.jsonl",
            "jobshelf run dataset-inspector -- --split train rows.jsonl",
        ),
        (
            "jobshelf submit train-sft --flavor l4x1 me/data me/model --model m",
            "jobshelf submit train-sft --flavor l4x1 -- me/data me/model --model m",
        ),
        ("jobshelf run x 'a b' x", "jobshelf run x -- 'a b' x"),
        ("jobshelf webhook x --on me/data rows", "jobshelf webhook add x --on me/data -- rows"),
    ],
)
def test_a_forgotten_separator_is_put_where_it_belongs(line, fixed):
    message = told(line)
    assert "the arguments of a script come after --" in message
    assert message.endswith(f"Fix: {fixed}")
    assert parse(shlex.split(fixed)[1:]).script_arguments


def test_what_a_verb_does_not_take_is_no_script_argument_where_there_is_no_script():
    assert told("jobshelf list all") == "jobshelf list does not take all. Fix: jobshelf list --help"


@pytest.mark.parametrize("verb", ACTIONS)
def test_the_first_action_is_the_default(verb):
    words = {"schedule": ["x", "@daily"], "webhook": ["x", "--on", "me/data"]}[verb]
    assert parse([verb, *words]).action == parse([verb, "add", *words]).action == "add"
