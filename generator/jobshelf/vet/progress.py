"""How far a long run is, on stderr: a line that is written over on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

Tell = Callable[[str, int, int | None], None]
"""Called with what is counted ("scripts checked"), how many are done, and how many there are (None: not known yet)."""

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 5.0


def tell_nobody(what: str, done: int, total: int | None) -> None:
    """The `Tell` of a caller who shows no progress."""


class Progress:
    """A `Tell` that writes to `stream`; says nothing in a run shorter than its interval. `clear` wipes the line of a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._terminal = stream.isatty()
        self._seconds = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        self._next = clock() + self._seconds
        self._shown = False

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show the count, when the last one is old enough and there is more to do."""
        if done == total or self._clock() < self._next:
            return
        line = f"{what}: {done:,}" if total is None else f"{what}: {done:,} of {total:,}"
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()
        self._shown = True
        self._next = self._clock() + self._seconds

    def clear(self) -> None:
        """Leave a terminal as it was found, for the report."""
        if self._terminal and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False
