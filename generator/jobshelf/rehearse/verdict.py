"""How a check says that a script lacks a property, or that the property means nothing for it."""

from __future__ import annotations

from jobshelf.record import Figures


class Failed(Exception):
    """The script does not have the property; the message says what was found and what was expected."""

    def __init__(self, reason: str, figures: Figures | None = None) -> None:
        super().__init__(reason)
        self.figures = dict(figures or {})


class NotApplicable(Exception):
    """The property means nothing for this script; the message says why."""
