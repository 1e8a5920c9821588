"""A server on loopback that hands requests on to another one, and lets chosen ones fail on the way.

::

    with flaky(hub.endpoint) as proxy:
        proxy.fail("lost", path="/commit/", method="POST")   # done by the server, but the answer never arrives

Actions: "reset" closes the connection before the server sees the request, "lost" after it has done it, a number is
answered instead of it, a function is called before it.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Action = str | int | Callable[[], None]
_NOT_HANDED_ON = {"transfer-encoding", "connection", "keep-alive", "host"}


@dataclass(slots=True, kw_only=True)
class Plan:
    """What happens to the `nth` to `nth + times - 1`-th request that matches."""

    action: Action
    method: str | None
    path: re.Pattern[str]
    nth: int
    times: int
    headers: dict[str, str]
    seen: int = field(default=0)

    def strikes(self, method: str, path: str) -> bool:
        if self.method not in {None, method} or not self.path.search(path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class Flaky:
    """The running server: its `url`, the requests it saw, and its plans."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.url = ""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._plans: list[Plan] = []
        self._answers: list[tuple[re.Pattern[str], bytes]] = []
        self._lock = threading.Lock()

    def fail(
        self,
        action: Action,
        *,
        path: str,
        method: str | None = None,
        nth: int = 1,
        times: int = 1,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Plan `action` for the matching requests; a function runs before the request is handed on."""
        pattern = re.compile(path)
        plan = Plan(action=action, method=method, path=pattern, nth=nth, times=times, headers=dict(headers or {}))
        self._plans.append(plan)

    def answer(self, content: bytes, *, path: str) -> None:
        """Answer every matching request that nothing else is planned for with this JSON instead of handing it on."""
        self._answers.append((re.compile(path), content))

    def answer_for(self, path: str) -> bytes | None:
        return next((content for pattern, content in self._answers if pattern.search(path)), None)

    def plan_for(self, method: str, path: str, headers: dict[str, str]) -> Plan | None:
        with self._lock:
            self.requests.append((method, path, headers))
            striking = [plan for plan in self._plans if plan.strikes(method, path)]
        return striking[0] if striking else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _any(self) -> None:
        body = self._body()
        plan = self.server.flaky.plan_for(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
        action = plan.action if plan else None
        if action == "reset":
            self._drop()
        elif isinstance(action, int):
            content = b"" if action < 300 else b"planned"
            self._answer(action, {**plan.headers, "Content-Type": "text/plain"}, content)
        elif (content := self.server.flaky.answer_for(self.path)) is not None:
            self._answer(200, {"Content-Type": "application/json"}, content)
        else:
            if callable(action):
                action()
            status, headers, content = self._handed_on(body)
            if action == "lost":
                self._drop()
            else:
                self._answer(status, headers, content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _any  # noqa: N815 - names that http.server calls

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _handed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = self.server.flaky.upstream
        connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {*_NOT_HANDED_ON, "expect"}}
        if "content-length" in {name.lower() for name in headers} or body:
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
            headers["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body=body or None, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in _NOT_HANDED_ON}
        return answer.status, kept, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _drop(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        raise ConnectionAbortedError


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    flaky: Flaky

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def flaky(upstream: str) -> Iterator[Flaky]:
    """Run a server on a free port of 127.0.0.1 that hands on to `upstream`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.flaky = Flaky(upstream)
    server.flaky.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.flaky
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
