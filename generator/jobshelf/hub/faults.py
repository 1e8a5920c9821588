"""The plan of what is to fail, and how."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobshelf.hub.refusal import Refusal

FaultKind = Literal["status", "delay", "reset", "lost", "truncate"]
_LONGEST_SECONDS = 3600
_LONGEST_PATTERN = 4096
_MOST_FAULTS = 256
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPattern:
    """Text that a path contains; matching takes time in proportion to the path, whatever the pattern.

    `*` in the text stands for any text; `^` at its beginning and `$` at its end tie it to those of the path. No other
    character is special.
    """

    text: str

    def matches(self, path: str) -> bool:
        """Whether the pattern occurs in `path`."""
        at_start, at_end = self.text.startswith("^"), self.text.endswith("$")
        parts = self.text[at_start : len(self.text) - at_end].split("*")
        begin, end = 0, len(path)
        if at_start:
            first = parts.pop(0)
            if not path.startswith(first):
                return False
            begin = len(first)
            if not parts:
                return not at_end or begin == end
        if at_end:
            last = parts.pop()
            end -= len(last)
            if end < begin or not path.endswith(last):
                return False
        for part in parts:
            found = path.find(part, begin, end)
            if found < 0:
                return False
            begin = found + len(part)
        return True


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the `nth` to `nth + times - 1`-th request that matches.

    - `status`: it is answered with `status` (and `headers`) and not done.
    - `delay`: it is done `seconds` later, and not at all when the client has left by then.
    - `reset`: the connection is reset and it is not done.
    - `lost`: it is done, then the connection is reset in place of an answer.
    - `truncate`: it is done, and the connection closes in the middle of the answer's body (before the answer, when that
      has no body).

    `seconds` is the time that passes before each of them. `seen` counts the requests that matched, `struck` those that
    were hit, `done` those that the Hub has done while their client still waits for the answer that will be `lost`. `lifted` says that it is planned no more.
    """

    kind: FaultKind
    path: PathPattern
    method: str | None
    status: int
    seconds: float
    times: int
    nth: int
    headers: Mapping[str, str]
    seen: int = field(default=0)
    struck: int = field(default=0)
    done: int = field(default=0)
    lifted: bool = field(default=False)

    def strikes(self, method: str, path: str) -> bool:
        """Count a request if it matches; whether it is to fail."""
        if self.method not in (None, method) or not self.path.matches(path):
            return False
        self.seen += 1
        hit = self.nth <= self.seen < self.nth + self.times
        self.struck += hit
        return hit

    def as_json(self) -> dict[str, Any]:
        """The fault as `GET /_hub/faults` lists it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"path": self.path.text, "headers": dict(self.headers)}


def planned(
    *,
    path: str,
    kind: str = "status",
    status: int = 0,
    method: str | None = None,
    times: int = 1,
    nth: int = 1,
    seconds: float = 0.0,
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """Make a fault. Raises ValueError for one that could not strike."""
    kinds: tuple[FaultKind, ...] = get_args(FaultKind)
    known = next((name for name in kinds if name == kind), None)
    if known is None:
        raise ValueError(f"unknown kind of fault '{kind}': expected one of {', '.join(kinds)}")
    if (kind == "status") != (status != 0) or (status and not 200 <= status <= 599):
        raise ValueError(f"a fault of kind 'status' has a status from 200 to 599, found {kind} with {status}")
    if (kind == "delay" and not seconds) or not 0 <= seconds <= _LONGEST_SECONDS:
        raise ValueError(f"'seconds' must be up to {_LONGEST_SECONDS}, and above 0 for a delay, found {seconds}")
    if times < 1 or nth < 1:
        raise ValueError(f"'times' and 'nth' count from 1, found {times} and {nth}")
    if len(path) > _LONGEST_PATTERN:
        raise ValueError(f"'path' has at most {_LONGEST_PATTERN} characters, found {len(path)}")
    return Fault(
        kind=known,
        path=PathPattern(text=path),
        method=method,
        status=status,
        seconds=seconds,
        times=times,
        nth=nth,
        headers=dict(headers or {}),
    )


class FaultPlan:
    """The faults in the order in which they were planned."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Plan a fault. Raises ValueError when there are too many: each of them is compared with every request."""
        with self._lock:
            if len(self._faults) >= _MOST_FAULTS:
                raise ValueError(f"there are {_MOST_FAULTS} faults already: clear them first")
            self._faults.append(fault)

    def clear(self) -> None:
        """Plan nothing; a request that is being held is reset."""
        with self._lock:
            for fault in self._faults:
                fault.lifted = True
            self._faults.clear()

    def faults(self) -> tuple[Fault, ...]:
        """All faults, whether they are still to strike or not."""
        with self._lock:
            return tuple(self._faults)

    def strike(self, method: str, path: str) -> Fault | None:
        """The first fault that strikes this request. Every matching fault counts the request."""
        with self._lock:
            striking = [fault for fault in self._faults if fault.strikes(method, path)]
        return striking[0] if striking else None


class Breakable(Protocol):
    """A connection that can end early."""

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""

    def reset(self) -> None:
        """End it at once: the client sees a reset."""

    def close(self) -> None:
        """End it when what was sent has left."""


async def suffer(fault: Fault, app: ASGIApp, connection: Breakable, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request as the fault wants it (ASGI)."""
    if fault.kind == "lost":
        await app(scope, receive, _swallow)
        fault.done += 1
    if not await _hold(fault, connection):
        await _end(connection.reset, receive)
        return
    if fault.kind == "status":
        await _refuse(fault, scope, receive, send)
    elif fault.kind == "delay":
        await app(scope, receive, send)
    elif fault.kind == "truncate" and scope["method"] != "HEAD":
        await _truncated(app, connection, scope, receive, send)
    else:
        await _end(connection.reset, receive)


async def _hold(fault: Fault, connection: Breakable) -> bool:
    """Let the time pass, or the client leave; False when the fault was lifted meanwhile.

    That a client has left is not always seen: nobody looks while more of its request is there than is read ahead.
    """
    end = time.monotonic() + fault.seconds
    while (left := end - time.monotonic()) > 0 and not connection.is_gone:
        if fault.lifted:
            return False
        await asyncio.sleep(min(left, _LOOK_SECONDS))
    return True


async def _refuse(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    # a client that is still sending must be able to finish before it reads the answer
    while (await receive()).get("more_body", False):
        pass
    response = Refusal(fault.status, f"Planned fault: {fault.status}").response(as_json=True)
    response.headers.update(fault.headers)
    await response(scope, receive, send)


async def _truncated(app: ASGIApp, connection: Breakable, scope: Scope, receive: Receive, send: Send) -> None:
    """Let half of the first piece of the body out."""
    start: list[Message] = []
    cut = False

    async def pass_half(message: Message) -> None:
        nonlocal cut
        if message["type"] == "http.response.start":
            start.append(message)
        elif message.get("body") and not cut:
            cut = True
            await send(start[0])
            await send({**message, "body": message["body"][: len(message["body"]) // 2], "more_body": True})

    await app(scope, receive, pass_half)
    await _end(connection.close if cut else connection.reset, receive)


async def _end(how: Callable[[], None], receive: Receive) -> None:
    how()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _swallow(_: Message) -> None:
    pass
