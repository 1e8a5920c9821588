"""The ordered record of what a script did: one JSON line an event, written as it happens so that a kill loses nothing.

The script shares the process with its record: one that knows this module can forge it. The record judges scripts; what protects the
machine are the fences.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import NoReturn

MAX_EVENTS = 2_000
MAX_ARGUMENTS = 8
MAX_TEXT = 200
STOPPED = 70


class Trace:
    """Writes events to a pipe, in order, at most MAX_EVENTS of them; `clean` takes this machine's paths out of texts."""

    def __init__(self, handle: int, clean: Callable[[str], str]) -> None:
        self._handle = handle
        self._clean = clean
        self._count = 0
        self._guessed: set[str] = set()

    def call(self, name: str, /, *arguments: object, **keywords: object) -> None:
        """A stubbed function was called."""
        given = [shown(value) for value in arguments[:MAX_ARGUMENTS]]
        given += [f"{key}={shown(value)}" for key, value in list(keywords.items())[:MAX_ARGUMENTS]]
        self._event("call", name, [self._clean(text) for text in given])

    def guess(self, name: str) -> None:
        """The script asked a stubbed value for its truth, size or order, and was given an answer that may be wrong."""
        self._count += 1
        if self._count > MAX_EVENTS:
            self.stop(f"it asked stubbed values such as {name} more than {MAX_EVENTS} times")
        if name not in self._guessed:
            self._guessed.add(name)
            self._event("guess", name)

    def touch(self, kind: str, name: str) -> None:
        """The script did something to the machine: `write`, `remove`, `process`, `network`, `signal` or `native`."""
        self._event(kind, self._clean(name))

    def record(self, kind: str, value: object) -> None:
        """Write anything else that the parent reads: the command line, the end."""
        self._send([kind, value])

    def stop(self, reason: str) -> NoReturn:
        """End the process here: the run cannot decide anything."""
        self._send(["stop", reason])
        os._exit(STOPPED)

    def _event(self, kind: str, name: str, arguments: list[str] | None = None) -> None:
        self._count += 1
        if self._count > MAX_EVENTS:
            self.stop(f"it did more than {MAX_EVENTS} things that a stub run records")
        self._send(["event", [kind, name[:MAX_TEXT], arguments or []]])

    def _send(self, message: object) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError:  # the script closed what it does not own: without a record there is nothing to judge
            os._exit(STOPPED)


def shown(value: object) -> str:
    """Return a short text for a value that is the same in every run (no addresses)."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)[:MAX_TEXT]
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return f"<{type(value).__name__} of {len(value)}>"
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))[:MAX_TEXT]
    return getattr(value, "stub_name", None) or f"<{type(value).__name__}>"
