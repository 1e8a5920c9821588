"""Check the arguments of a script before it runs: the script itself parses them, in a stub run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from jobshelf.errors import EnvironmentFault, UsageError
from jobshelf.interface import run_with
from jobshelf.render import printable
from jobshelf.script import Script

_REFUSED = re.compile(r"^usage: .*^\S+: error: (?P<why>.*)", re.MULTILINE | re.DOTALL)
_USAGE = 2


def check_arguments(script: Script, arguments: Sequence[str], *, named: str) -> None:
    """Raise UsageError when the script refuses its arguments; `named` is what the user called it.

    The script runs fenced, with its imports stubbed. Where it cannot run so, nothing is said.
    """
    try:
        run = run_with(script, arguments)
    except EnvironmentFault:
        return
    refused = _REFUSED.search(run.stderr)
    if run.inconclusive is None and run.exit == _USAGE and refused:
        why = printable(" ".join(refused["why"].split()))[:300]
        fix = f"jobshelf run {shlex.quote(named)} -- --help"
        raise UsageError(f"{script.name} refuses its arguments: {why}", fix=fix)
