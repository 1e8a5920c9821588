"""What the Hub was asked and what it did: the instrument that tests read."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote_plus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobshelf.hub.account import Accounts
from jobshelf.hub.connection import STATE_KEY, Connection
from jobshelf.hub.faults import Fault, FaultPlan, suffer
from jobshelf.hub.refusal import Refusal

_OWN_ROUTES = "/_hub/"
_ENTRIES = 100_000
# the query of the Hub's own signed URLs, of those of object stores, and names that tokens travel under
_SECRETS = {
    *("signature", "x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature", "sig"),
    *("token", "access_token", "hf_token", "id_token", "subject_token", "secret", "password", "key"),
}
_CHANGING = {"POST", "PUT", "DELETE", "PATCH"}
# these send something and change nothing that can be read back
_ASKING = re.compile(r"/preupload/|/paths-info|^/api/validate-yaml|/info/lfs/|^/_lfs/|^/oauth/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the Hub saw it.

    `path` is the raw path with its query, `host` the origin that was asked (the signed URLs of large files are on
    another one), `status` the answer's (0 when the client got none), `bytes_in` and `bytes_out` the bodies' sizes, `user`
    the account's name (None when anonymous or unknown), `client` the user agent. `fault` is the kind of the planned fault
    that struck, `outcome` the status with which the Hub did the request whether or not the client learnt of it (0 when it
    was not done). There is no header dump and no body, and in `path` every token and signature is `***`: what is here
    opens nothing.
    """

    method: str
    path: str
    host: str
    status: int
    bytes_in: int
    bytes_out: int
    user: str | None
    client: str
    outcome: int
    fault: str | None

    @property
    def wrote(self) -> bool:
        """Whether this request changed what can be read from the Hub."""
        done = 200 <= self.outcome < 300
        return done and self.method in _CHANGING and not _ASKING.search(self.path)

    def as_json(self) -> dict[str, Any]:
        """The entry as `GET /_hub/journal` lists it."""
        return asdict(self) | {"wrote": self.wrote}


class Journal:
    """The latest requests, in the order of their answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Request] = deque(maxlen=_ENTRIES)

    def entries(self) -> tuple[Request, ...]:
        """All entries, oldest first."""
        with self._lock:
            return tuple(self._entries)

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries.clear()

    def record(self, entry: Request) -> None:
        """Add an entry."""
        with self._lock:
            self._entries.append(entry)


class JournalMiddleware:
    """Write down every request and let the planned ones fail.

    An entry is written before the last byte of the answer leaves, so a client that has its answer finds it there.
    """

    def __init__(self, app: ASGIApp, *, journal: Journal, plan: FaultPlan, accounts: Accounts) -> None:
        self._app = app
        self._journal = journal
        self._plan = plan
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http" or scope["path"].startswith(_OWN_ROUTES):
            await self._app(scope, receive, send)
            return
        watch = _Watch(scope, receive, send, journal=self._journal, accounts=self._accounts)
        fault = watch.fault = self._plan.strike(scope["method"], watch.path)
        app = watch.noting_outcome(self._app)
        try:
            if fault is None:
                await app(scope, watch.receive, watch.send)
            else:
                await suffer(fault, app, watch, scope, watch.receive, watch.send)
        finally:
            watch.record()


def _without_secrets(target: str) -> str:
    """A request's target with the values of its query that open something replaced by `***`."""
    path, mark, query = target.partition("?")
    return path + mark + "&".join(map(_without_secret, query.split("&")))


def _without_secret(field: str) -> str:
    name, equals, _ = field.partition("=")
    return f"{name}=***" if equals and unquote_plus(name).lower() in _SECRETS else field


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
        self._outcome = 0
        self._connection: Connection = scope["state"][STATE_KEY]
        self.fault: Fault | None = None
        raw = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.path = accounts.redact(_without_secrets(raw.decode("latin-1")))

    def noting_outcome(self, app: ASGIApp) -> ASGIApp:
        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            async def note(message: Message) -> None:
                self._outcome = message.get("status", self._outcome)
                await send(message)

            await app(scope, receive, note)

        return noted

    @property
    def is_gone(self) -> bool:
        return self._connection.is_gone

    def reset(self) -> None:
        self._break(self._connection.reset)

    def close(self) -> None:
        self._break(self._connection.close)

    def _break(self, how: Callable[[], None]) -> None:
        self.record()
        how()

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
                outcome=self._outcome,
                fault=None if self.fault is None else self.fault.kind,
            )
        )

    def _user(self) -> str | None:
        try:
            account = self._accounts.identify(self._headers.get("authorization"))
        except Refusal:
            return None
        return None if account is None else account.name
