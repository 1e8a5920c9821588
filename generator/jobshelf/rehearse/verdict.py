"""What a step found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """How a step ended; the values stand in records."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


Figures = Mapping[str, int | float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one step. `reason` says why it failed or does not apply; `figures` are counts and sizes."""

    step: str
    outcome: Outcome
    reason: str = ""
    seconds: float
    figures: Figures = field(default_factory=dict)


class Failed(Exception):
    """The script does not have the property; the message says what was found and what was expected."""

    def __init__(self, reason: str, figures: Figures | None = None) -> None:
        super().__init__(reason)
        self.figures = dict(figures or {})


class NotApplicable(Exception):
    """The property means nothing for this script; the message says why."""
