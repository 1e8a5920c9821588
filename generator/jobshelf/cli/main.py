"""The tool's entry: parse, run one command, and the only place where an error becomes an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from jobshelf.cli import browse, check, cost, jobs, make, publish, schedule, start, webhook
from jobshelf.cli import hub as embedded
from jobshelf.cli.parser import Parser, Verbs, group_help, refuse_unknown, suggest
from jobshelf.cli.printing import INTERRUPTED
from jobshelf.errors import EnvironmentFault, JobshelfError, UsageError

TITLE = "A shelf of vetted single-file UV scripts for Hugging Face Jobs."
GROUPS = {
    "Browse": (browse,),
    "Make": (make,),
    "Check": (check,),
    "Run": (start, cost, jobs, schedule, webhook),
    "Publish": (publish,),
    "Try without an account": (embedded,),
}
# The first is what a verb does when its next word is none of these: `schedule NAME "@daily"` is `schedule add NAME "@daily"`.
ACTIONS = {"schedule": schedule.ACTIONS, "webhook": webhook.ACTIONS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or that of the error (see `jobshelf.errors`)."""
    words = list(sys.argv[1:] if argv is None else argv)
    # SIGTERM and Ctrl-C both unwind, so that no process or folder of ours is left behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        arguments = parse(words)
        return arguments.command(arguments)
    except JobshelfError as error:
        print(f"jobshelf: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("jobshelf: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has what it wanted; stdout goes nowhere, so that the interpreter's flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fault = EnvironmentFault(
            f"{error.strerror or error}{where}", fix="check the path, its permissions and the disk"
        )
        print(f"jobshelf: {fault}", file=sys.stderr)
        return fault.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return what a command line asks for; `script_arguments` are the words after the first `--`. Raises UsageError."""
    words = _with_action(list(words))
    if words[:1] == ["estimate"]:  # all of its words are those of estimate_cost
        words = ["estimate", "--", *words[1:]]
    split = words.index("--") if "--" in words else len(words)
    parser, verbs = _build()
    if words and not words[0].startswith("-") and words[0] not in verbs:
        raise UsageError(f"there is no command {words[0]!r}{suggest(words[0], verbs)}", fix="jobshelf --help")
    arguments, unknown = parser.parse_known_args(words[:split])
    if unknown:
        refuse_unknown(words[:split], unknown, arguments)
    arguments.script_arguments = words[split + 1 :]
    if arguments.script_arguments and not arguments.takes_script_arguments:
        raise UsageError(f"'{arguments.verb}' takes no arguments after --", fix=f"jobshelf {arguments.verb} --help")
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; every verb's function is its default `command`."""
    return _build()[0]


def _build() -> tuple[argparse.ArgumentParser, dict[str, str]]:
    parser = _Top(prog="jobshelf")
    parser.add_argument("--version", action=_Version, nargs=0)
    verbs = Verbs(parser, "verb")
    for task, modules in GROUPS.items():
        before = set(verbs.summaries)
        for module in modules:
            module.add_to(verbs)
        added = {name: summary for name, summary in verbs.summaries.items() if name not in before}
        parser.groups.append((task, added))
    return parser, verbs.summaries


class _Top(Parser):
    """The parser of the tool, with its verbs grouped by task."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog=prog)
        self.groups: list[tuple[str, dict[str, str]]] = []

    def format_help(self) -> str:
        return group_help(TITLE, self.groups)


class _Version(argparse.Action):
    """Read the version only when asked for: it costs as much as the rest of the start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"jobshelf {version('jobshelf')}")
        parser.exit()


def _with_action(words: list[str]) -> list[str]:
    actions = ACTIONS.get(words[0]) if words else None
    if actions is None or (len(words) > 1 and words[1] in {*actions, "-h", "--help"}):
        return words
    return [words[0], actions[0], *words[1:]]
