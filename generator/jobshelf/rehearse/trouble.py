"""Where a run is killed and which requests fail: chosen from the journal of an uninterrupted run, the same every time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from jobshelf.hub import Hub, Request

# Long enough to notice that a request has come, short enough not to hold up the end of the scenario.
HOLD_SECONDS = 1.0
LASTING = 1_000_000
# The Hub says nothing for longer than any run may take; a client is told to wait so long for a word, which would be minutes.
_SILENCE_SECONDS = 3600.0
_PATIENCE_SECONDS = 4
# A script reads the same few ways again and again.
_READS = 4
# preparing a write is part of it; a question that happens to be a POST is not
_QUESTIONS = re.compile(r"/paths-info|^/api/validate-yaml")
_PREPARING = re.compile(r"/xet-write-token")
_COMMIT = re.compile(r"/commit/|/batch$")

_Item = TypeVar("_Item")
Moment = Literal["before", "after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillPoint:
    """SIGKILL when the `number`-th request (from 1) has come: `before` it is done, or `after`, its answer not yet sent."""

    number: int
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} request {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What happens to one request: the `nth` (from 1) with this method and path; `at_read` says that it changes nothing."""

    name: str
    method: str
    path: str
    nth: int
    times: int
    kind: Literal["status", "delay", "reset", "lost", "truncate"] = "status"
    status: int = 0
    seconds: float = 0.0
    at_read: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} at {self.method} {self.path.partition('?')[0]} ({self.nth})"

    def plan(self, hub: Hub) -> None:
        """Let it happen on `hub`."""
        hub.fail(
            path=f"^{self.path}$",
            method=self.method,
            kind=self.kind,
            status=self.status,
            seconds=self.seconds,
            nth=self.nth,
            times=self.times,
            headers=self.headers,
        )

    @property
    def variables(self) -> Mapping[str, str]:
        """What the run's environment has beside the usual, so that it need not take minutes."""
        return {"HF_HUB_DOWNLOAD_TIMEOUT": str(_PATIENCE_SECONDS)} if self.kind == "delay" else {}


def kill_points(requests: Sequence[Request], count: int) -> tuple[KillPoint, ...]:
    """Return `count` points: half of them right after what changed the Hub, the others spread over all requests.

    In a run of several commits four of five points lie after the second one is done: the first claims the output, the
    second holds the first part, and only a kill after that shows whether a part is kept, and not made twice.
    """
    commits = [number for number, one in enumerate(requests, start=1) if one.wrote and _COMMIT.search(one.path)]
    part = commits[1] if len(commits) > 2 else 1
    early = _points(requests, range(1, part), count // 5 if part > 1 else 0)
    late = _points(requests, range(part, len(requests) + 1), count - len(early), done=part > 1)
    return tuple(sorted((*early, *late), key=lambda point: (point.number, point.moment == "after")))


def _points(requests: Sequence[Request], numbers: range, count: int, *, done: bool = False) -> list[KillPoint]:
    """Return up to `count` points at these requests; with `done`, none before the first of them is done."""
    writes = [number for number in numbers if requests[number - 1].wrote]
    after = [KillPoint(number=number, moment="after") for number in spread(writes, count // 2)]
    before = numbers[1:] if done else numbers
    return after + [KillPoint(number=number, moment="before") for number in spread(before, count - len(after))]


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Return up to `count` of `items` at even distances, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    if count < 2:
        return list(items[-1:]) * count
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]


def troubles(requests: Sequence[Request], count: int | None = None) -> list[Trouble]:
    """Return `count` of all troubles at even distances, all of them for None."""
    every = [*spread(list(_broken_reads(requests)), _READS), *_every_trouble(requests)]
    return every if count is None else spread(every, count)


def _broken_reads(requests: Sequence[Request]) -> Iterator[Trouble]:
    """Yield an answer that breaks off in the middle at each thing that is read, the first time."""
    read = {request.path: request for request in requests if request.method == "GET" and request.bytes_out}
    for path in read:
        yield Trouble(name="truncated", method="GET", path=path, nth=1, times=1, kind="truncate", at_read=True)


def _every_trouble(requests: Sequence[Request]) -> Iterator[Trouble]:
    """Yield every trouble at every write request: 500, 429 with Retry-After, a reset, an answer that is lost, 412 where
    there is a parent to be stale; and at the last commit a Hub that says nothing, which takes seconds, and one that refuses for good.
    """
    seen: Counter[tuple[str, str]] = Counter()
    at_the_last: tuple[Trouble, ...] = ()
    for request in requests:
        where = (request.method, request.path)
        seen[where] += 1
        if not is_write(request):
            continue
        at = {"method": request.method, "path": request.path, "nth": seen[where]}
        yield Trouble(name="500", status=500, times=1, **at)
        yield Trouble(name="429", status=429, times=1, headers={"Retry-After": "1"}, **at)
        yield Trouble(name="reset", kind="reset", times=1, **at)
        if request.wrote:
            yield Trouble(name="lost answer", kind="lost", times=1, **at)
        if _COMMIT.search(request.path):
            yield Trouble(name="412", status=412, times=1, **at)
            at_the_last = (
                Trouble(name="silence", kind="delay", seconds=_SILENCE_SECONDS, times=1, **at),
                Trouble(name="refused for good", status=403, times=LASTING, **at),
            )
    yield from at_the_last


def is_write(request: Request) -> bool:
    """Whether the request changes something on the Hub, or prepares to."""
    changes = request.method in {"POST", "PUT", "PATCH", "DELETE"} and not _QUESTIONS.search(request.path)
    return changes or bool(_PREPARING.search(request.path))
