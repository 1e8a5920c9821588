"""What the Hub was asked, and the plan of what is to fail: the instruments that tests read and set."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobshelf.hub.account import Accounts
from jobshelf.hub.refusal import Refusal

_OWN_ROUTES = "/_hub/"
_ENTRIES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the Hub saw it.

    `path` is the raw path with its query, `host` the origin that was asked (the signed URLs of large files are on
    another one), `status` the answer's (0 when the client left before there was one), `bytes_in` and `bytes_out` the
    bodies' sizes, `user` the account's name (None when anonymous or unknown), `client` the user agent. There is no
    header dump and no body: a token can not get in here.
    """

    method: str
    path: str
    host: str
    status: int
    bytes_in: int
    bytes_out: int
    user: str | None
    client: str


@dataclass(slots=True, kw_only=True)
class Fault:
    """Answer the `nth` to `nth + times - 1`-th request that matches with `status` instead of doing it."""

    method: str | None
    path: re.Pattern[str]
    status: int
    times: int
    nth: int
    headers: Mapping[str, str]
    seen: int = field(default=0)

    def strikes(self, method: str, path: str) -> bool:
        """Count a request if it matches; whether it is to fail."""
        if self.method not in (None, method) or not self.path.search(path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class Journal:
    """The latest requests in the order of their answers, and the faults in the order in which they were planned."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Request] = deque(maxlen=_ENTRIES)
        self._faults: list[Fault] = []

    def entries(self) -> tuple[Request, ...]:
        """All entries, oldest first."""
        with self._lock:
            return tuple(self._entries)

    def clear(self) -> None:
        """Forget all entries; the fault plan stays."""
        with self._lock:
            self._entries.clear()

    def record(self, entry: Request) -> None:
        """Add an entry."""
        with self._lock:
            self._entries.append(entry)

    def plan(self, fault: Fault) -> None:
        """Add a fault to the plan."""
        with self._lock:
            self._faults.append(fault)

    def fault_for(self, method: str, path: str) -> Fault | None:
        """The first planned fault that strikes this request. Every matching fault counts the request."""
        with self._lock:
            striking = [fault for fault in self._faults if fault.strikes(method, path)]
        return striking[0] if striking else None


class JournalMiddleware:
    """Write down every request and let the planned ones fail.

    An entry is written before the last byte of the answer leaves, so a client that has its answer finds it there.
    """

    def __init__(self, app: ASGIApp, *, journal: Journal, accounts: Accounts) -> None:
        self._app = app
        self._journal = journal
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http" or scope["path"].startswith(_OWN_ROUTES):
            await self._app(scope, receive, send)
            return
        watch = _Watch(scope, receive, send, journal=self._journal, accounts=self._accounts)
        fault = self._journal.fault_for(scope["method"], watch.path)
        try:
            await (self._app if fault is None else _planned_answer(fault))(scope, watch.receive, watch.send)
        finally:
            watch.record()


class _Watch:
    """Counts what goes in and out of one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, journal: Journal, accounts: Accounts) -> None:
        self._receive, self._send = receive, send
        self._journal, self._accounts = journal, accounts
        self._method: str = scope["method"]
        self._headers = Headers(scope=scope)
        self._expected: str | None = None
        self._status = self._bytes_in = self._bytes_out = 0
        self._recorded = False
        raw = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.path = accounts.redact(raw.decode("latin-1"))

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._expected = Headers(raw=message["headers"]).get("content-length")
        elif message["type"] == "http.response.body" and self._method != "HEAD":
            self._bytes_out += len(message.get("body", b""))
        all_there = self._method == "HEAD" or str(self._bytes_out) == self._expected
        streamed = message["type"] == "http.response.body" and not message.get("more_body", False)
        if all_there or streamed:
            self.record()
        await self._send(message)

    def record(self) -> None:
        if self._recorded:
            return
        self._recorded = True
        self._journal.record(
            Request(
                method=self._method,
                path=self.path,
                host=self._headers.get("host", ""),
                status=self._status,
                bytes_in=self._bytes_in,
                bytes_out=self._bytes_out,
                user=self._user(),
                client=self._accounts.redact(self._headers.get("user-agent", "")),
            )
        )

    def _user(self) -> str | None:
        try:
            account = self._accounts.identify(self._headers.get("authorization"))
        except Refusal:
            return None
        return None if account is None else account.name


def _planned_answer(fault: Fault) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # a client that is still sending must be able to finish before it reads the answer
        while (await receive()).get("more_body", False):
            pass
        response = Refusal(fault.status, f"Planned fault: {fault.status}").response(as_json=True)
        response.headers.update(fault.headers)
        await response(scope, receive, send)

    return answer
