"""Rate limits: how many requests a caller, and how many commits a repo, may have in a time."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from jobshelf.hub.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `count` in any `seconds`."""

    count: int
    seconds: float


class Meter:
    """Counts one kind of thing for each of many keys; without a limit it counts nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._limit: Limit | None = None
        self._times: dict[str, deque[float]] = defaultdict(deque)

    def set(self, limit: Limit | None) -> None:
        """Count from zero against a new limit; None lifts it."""
        with self._lock:
            self._limit = limit
            self._times.clear()

    def count(self, key: str) -> None:
        """Count one for `key`. Raises Refusal (429), and counts nothing, when that is one too many.

        The refusal says in seconds when to come back: `Retry-After`, and `RateLimit` as in
        https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/.
        """
        with self._lock:
            limit = self._limit
            if limit is None:
                return
            now, times = time.monotonic(), self._times[key]
            while times and times[0] <= now - limit.seconds:
                times.popleft()
            if len(times) < limit.count:
                times.append(now)
                return
            wait = math.ceil(times[0] + limit.seconds - now) if times else math.ceil(limit.seconds)
        raise Refusal(
            429,
            f"Too many {self._name}: the limit is {limit.count} in {limit.seconds:g} seconds. Retry after {wait} seconds",
            headers={
                "Retry-After": str(wait),
                "RateLimit": f'"{self._name}";r=0;t={wait}',
                "RateLimit-Policy": f'"fixed window";"{self._name}";q={limit.count};w={math.ceil(limit.seconds)}',
            },
        )


class Limits:
    """The limits of one Hub: `commits` by repo, `requests` by user (by address when anonymous)."""

    def __init__(self) -> None:
        self.commits = Meter("commits")
        self.requests = Meter("requests")
