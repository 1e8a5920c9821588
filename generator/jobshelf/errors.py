"""Every error that the tool explains to a person, with its exit code.

::

    JobshelfError                  1  a finding, a failed check, or the unexpected
    ├── UsageError                 2  the command line asks for something that does not exist
    ├── TokenError                 3  token missing, invalid, or without the permission
    ├── InputError                 4  the input data is not what it must be
    │   └── ScriptError            4  a script that cannot be read as one (points at a file line)
    ├── EnvironmentFault           5  machine, network, Hub, port or disk
    │   ├── NoCredit               5  the account that would pay for a machine cannot
    │   └── BadAnswer              5  the Hub answered in a form that its client cannot read
    └── NotPersisted               6  planned or computed, but not (provably) on the Hub

A message is one line: what was found, where, what was expected. `fix` is what to type or change next.
`cli.main` is the only place that turns these into exit codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

# Exit code -> what it means, and what to do about it; the same for the tool and for every script.
EXIT_CODES: Final[Mapping[int, tuple[str, str]]] = {
    0: ("done", "nothing"),
    1: ("a finding, a failed check, or the unexpected", "read the last lines of the output"),
    2: ("usage", "correct the command; nothing was started"),
    3: ("token missing, invalid, or without the permission", "`hf auth login`; for a Job add `--secrets HF_TOKEN`"),
    4: ("input data", "correct the input or the column names; running it again as it is changes nothing"),
    5: ("environment, hardware or resources", "another flavor, more disk or memory, or wait for the network"),
    6: (
        "computed or planned, but not persisted; says where the data is and what pushes it",
        "run the command that it prints",
    ),
}


def printable(text: str) -> str:
    r"""Return `text` with every control character written as an escape, so that it is one line and steers no terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class JobshelfError(Exception):
    """Base of all errors that end in one line instead of a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(printable(message))
        self.message = printable(message)
        self.fix = printable(fix)

    def __str__(self) -> str:
        return f"{self.message}. Fix: {self.fix}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Without this an error raised in a worker process cannot be put together again, and breaks the pool.
        return _restore, (type(self), vars(self))


class UsageError(JobshelfError):
    """The command line names something that does not exist or cannot be combined."""

    exit_code = 2


class TokenError(JobshelfError):
    """The Hub token is missing, invalid, or lacks the permission that the work needs."""

    exit_code = 3


class InputError(JobshelfError):
    """The input is not what it must be."""

    exit_code = 4


class ScriptError(InputError):
    """A script cannot be read as a UV script; says `path:line`, what was found and what was expected."""

    def __init__(self, path: str, line: int, *, found: str, expected: str, fix: str) -> None:
        super().__init__(f"{path}:{line}: found {found}, expected {expected}", fix=fix)
        self.path = path
        self.line = line


class EnvironmentFault(JobshelfError):
    """The machine, the network, the Hub or the disk does not let the work be done."""

    exit_code = 5


class NoCredit(EnvironmentFault):
    """The account that would pay for a Job has no credit left: waiting does not help."""


class BadAnswer(EnvironmentFault):
    """The Hub answered in a form that its client cannot read: another try gets the same answer."""


class NotPersisted(JobshelfError):
    """The result was planned or computed, but it is not (or not provably) where it was meant to be."""

    exit_code = 6


def _restore(kind: type[JobshelfError], state: dict[str, Any]) -> JobshelfError:
    error = kind.__new__(kind, state["message"])
    vars(error).update(state)
    return error
