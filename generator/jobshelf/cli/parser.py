"""The parser of the command line: verbs grouped by task, each with an example, and errors that end with what to type."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from jobshelf.errors import UsageError

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and raises UsageError with the help to read."""

    def __init__(self, **settings: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, fix=f"{self.prog} --help")


class Verbs:
    """The verbs of a parser, or the actions of a verb. `dest` is the attribute that names the one that was chosen."""

    def __init__(self, parser: argparse.ArgumentParser, dest: str) -> None:
        self._parsers = parser.add_subparsers(dest=dest, metavar=dest.upper(), required=True, parser_class=Parser)
        self.summaries: dict[str, str] = {}

    def add(
        self, name: str, command: Command, summary: str, *, example: str = "", script_arguments: bool = False
    ) -> Parser:
        """Add a verb that runs `command`; with `script_arguments`, words after `--` are the script's."""
        self.summaries[name] = summary
        notes = ["Arguments after -- are passed to the script."] if script_arguments else []
        notes += [f"Example:\n  {example}"] if example else []
        parser: Parser = self._parsers.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog="\n\n".join(notes)
        )
        parser.set_defaults(command=command, parser=parser, takes_script_arguments=script_arguments)
        return parser


def group_help(title: str, groups: Iterable[tuple[str, dict[str, str]]]) -> str:
    """Return the help of the whole tool: the verbs with their summaries, by task."""
    lines = ["usage: jobshelf VERB ...", "", title]
    for task, summaries in groups:
        lines += ["", f"{task}:", *(f"  {name:<10} {summary}" for name, summary in summaries.items())]
    lines += [
        "",
        "`jobshelf VERB --help` shows the options of a verb and an example; `jobshelf --version` the version.",
    ]
    return "\n".join(lines) + "\n"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f" (did you mean {near[0]}?)" if near else ""


def refuse_unknown(words: Sequence[str], unknown: Sequence[str], arguments: argparse.Namespace) -> NoReturn:
    """Raise UsageError for words that a verb does not take, with the command that passes them to the script if it has one."""
    parser: argparse.ArgumentParser = arguments.parser
    first = unknown[0].partition("=")[0]
    options = [option for action in parser._actions for option in action.option_strings]
    hint = suggest(first, options) if first.startswith("-") else ""
    if hint or not arguments.takes_script_arguments:
        raise UsageError(f"{parser.prog} does not take {first}{hint}", fix=f"{parser.prog} --help")
    ours = list(words)
    for word in reversed(unknown):  # the last of equal words is the one that was left over
        ours.reverse()
        ours.remove(word)
        ours.reverse()
    message = f"{parser.prog} does not take {first}, and the arguments of a script come after --"
    raise UsageError(message, fix=shlex.join(["jobshelf", *ours, "--", *unknown]))


def count(text: str) -> int:
    """Return a whole number of at least 1 (argparse)."""
    if not re.fullmatch(r"0*[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def port(text: str) -> int:
    """Return a TCP port, 0 for any free one (argparse)."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def gigabytes(text: str) -> float:
    """Return an amount of memory (argparse)."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount in GB (for example 80)")
    return float(text)


def dollars(text: str) -> float:
    """Return an amount in US dollars (argparse)."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid amount in US dollars (for example 5 or 0.50)")
    return float(text)


def repo_id(text: str) -> str:
    """Return the id of a repository (argparse)."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a repository id (owner/name)")
    return text
