"""How long to wait for a server that is away: one policy for the Hub's client and for the reader of scripts."""

from __future__ import annotations

import os
import re
import socket
import sys
import time

BOUND = "JOBSHELF_RETRY_SECONDS"
BOUND_SECONDS = 120.0
PASSING = frozenset({429, 500, 502, 503, 504})
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class Outage:
    """The waiting for one request: at most `seconds` in all, by default what the environment allows."""

    def __init__(self, seconds: float | None = None) -> None:
        most = bound_seconds() if seconds is None else min(seconds, bound_seconds())
        self._end, self._pause = time.monotonic() + most, _FIRST_PAUSE_SECONDS

    def wait(self, what: str, retry_after: str = "") -> bool:
        """Say `what` failed and wait before the next try, as long as `Retry-After` asks; False when it is over."""
        asked = float(retry_after) if re.fullmatch(r"\d{1,6}", retry_after) else 0.0
        pause = max(self._pause, asked)
        if time.monotonic() + pause > self._end:
            return False
        print(f"note: {what}; trying again in {pause:g} s", file=sys.stderr, flush=True)
        time.sleep(pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return True


def bound_seconds() -> float:
    """Return how long the environment lets a request be repeated; 0 means not at all."""
    given = os.environ.get(BOUND, "")
    return float(given) if re.fullmatch(r"\d+(\.\d+)?", given) else BOUND_SECONDS


def is_unknown_host(error: BaseException | None) -> bool:
    """Return whether a name was not found: then there is no network, or no such host, and waiting rarely helps."""
    while error is not None:
        if isinstance(error, socket.gaierror) or isinstance(getattr(error, "reason", None), socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
