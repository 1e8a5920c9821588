"""A rehearsal as text: for people, line by line as it goes; for programs, as JSON."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jobshelf.errors import printable
from jobshelf.record import Outcome, Verdict
from jobshelf.rehearse.run import Rehearsal
from jobshelf.rehearse.steps import STEPS

JSON_VERSION = 1
_WIDTH = max(len(step.name) for step in STEPS)
_PROVES = {step.name: step.proves for step in STEPS}
_COLOURS = {Outcome.PASSED: "32", Outcome.FAILED: "31", Outcome.NOT_APPLICABLE: "2"}


def to_text(shown: Rehearsal, *, colour: bool = False) -> str:
    """Return the whole report, with a newline at the end."""
    lines = [title(shown), *(verdict_text(verdict, colour=colour) for verdict in shown.verdicts), summary(shown)]
    return "".join(f"{line}\n" for line in lines)


def title(shown: Rehearsal) -> str:
    """Return the line that says what was rehearsed, and how."""
    words = "" if shown.arguments is None else f": {shlex.join(shown.arguments)}"
    return f"{shown.name} ({shown.sha256[:12]}){words}"


def verdict_text(verdict: Verdict, *, colour: bool = False) -> str:
    """Return a verdict as one line; a failed one as three: what was to be shown and what was found follow."""
    outcome = verdict.outcome.value
    painted = f"\x1b[{_COLOURS[verdict.outcome]}m{outcome}\x1b[0m" if colour else outcome
    padding = " " * (len(Outcome.NOT_APPLICABLE.value) - len(outcome))
    head = f"  {verdict.step:<{_WIDTH}}  {painted}{padding}"
    if verdict.outcome is Outcome.NOT_APPLICABLE:
        return f"{head}          {printable(verdict.reason)}"
    figures = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in verdict.figures.items())
    line = f"{head}  {verdict.seconds:6.1f} s  {figures}".rstrip()
    if verdict.outcome is Outcome.PASSED:
        return line
    return f"{line}\n      expected: {_PROVES[verdict.step]}\n      found: {printable(verdict.reason)}"


def summary(shown: Rehearsal) -> str:
    """Return the last line: how many steps of each outcome, and where to look."""
    counted = Counter(verdict.outcome for verdict in shown.verdicts)
    counts = ", ".join(f"{counted[outcome]} {outcome.value}" for outcome in Outcome)
    kept = f"; everything is in {shown.folder}" if shown.folder else ""
    return f"{counts} in {shown.seconds:.1f} s{kept}"


def to_json(shown: Sequence[Rehearsal]) -> str:
    """Return the report of some rehearsals for programs, with a newline at the end."""
    document = {"version": JSON_VERSION, "rehearsals": [_rehearsal_json(one) for one in shown]}
    return json.dumps(document, indent=2) + "\n"


def _rehearsal_json(shown: Rehearsal) -> Mapping[str, Any]:
    return {
        "name": shown.name,
        "sha256": shown.sha256,
        "passed": shown.passed,
        "arguments": None if shown.arguments is None else list(shown.arguments),
        "seconds": round(shown.seconds, 1),
        "folder": str(shown.folder) if shown.folder else None,
        "steps": [verdict.to_json() for verdict in shown.verdicts],
    }
