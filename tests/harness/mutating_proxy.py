"""A server between client and Hub that changes one thing in each answer: what a hostile or broken Hub might say.

::

    with MutatingProxy(hub.endpoint, seed=1) as proxy:
        HfApi(endpoint=proxy.endpoint).whoami()

Every answer with a body is changed: one value of its JSON, or one line of its text. The same seed changes the same
answers in the same way.
"""

from __future__ import annotations

import json
import random
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

STEERING = ("\x1b]0;owned\x07", "\x1b[31mred", "\u202egnp.exe", "\x9b2J", "a\rb", "\x00", "\u2028", "\ud83d\ude00")
HOSTILE: tuple[Any, ...] = (
    *STEERING,
    None,
    True,
    -1,
    10**18,
    1e308,
    int("9" * 4000),
    "9" * 5000,
    "x" * 1_000_000,
    "",
    "../../etc/passwd",
    "https://127.0.0.1:1/",
    [],
    {},
    [[[[[[]]]]]],
    {"\x1b[31m": "\u202e"},
    ["\x1b]0;x\x07"] * 50,
)
TEXTS = (
    b"\x1b]0;owned\x07\n",
    b"\xff\xfe\x00",
    b'{"version": ' + b"9" * 5000 + b"}",
    b"[" * 20_000,
    b"NaN",
    b'{"a": Infinity}',
    b"x" * 3_000_000,
    b"\x00" * 1000,
    b"",
    b"null",
)


class MutatingProxy:
    """The proxy; `endpoint` is where it listens."""

    def __init__(self, hub: str, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, self._random))
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def reseed(self, seed: int) -> None:
        """Change answers from now on as with this seed."""
        self._random.seed(seed)

    def __enter__(self) -> MutatingProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _handler(hub: str, chance: random.Random) -> type[BaseHTTPRequestHandler]:
    opener = build_opener(_Stay)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
            asked = Request(hub + self.path, data=body or None, headers=kept, method=self.command)
            try:
                with opener.open(asked, timeout=30) as got:
                    status, headers, data = got.status, got.headers, got.read()
            except HTTPError as error:
                status, headers, data = error.code, error.headers, error.read()
            data = mutated(data, chance) if data and self.command != "HEAD" else data
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "content-encoding"}:
                    self.send_header(name, value.replace(hub, f"http://{self.headers['Host']}"))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(data)

        do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return an answer with one thing changed: a value or a name of its JSON, a line of its text, or all of it."""
    if chance.random() < 0.1:
        return chance.choice(TEXTS)
    try:
        document = json.loads(data)
    except ValueError:
        lines = data.split(b"\n")
        number = chance.randrange(len(lines))
        lines[number] = chance.choice([*TEXTS, *(text.encode("utf-8", "surrogatepass") for text in STEERING)])
        return b"\n".join(lines)
    places = list(_places(document))
    holder, key = chance.choice(places) if places else ([document], 0)
    value = chance.choice(HOSTILE)
    if isinstance(holder, dict) and chance.random() < 0.15:
        del holder[key]
    else:
        holder[key] = value
    return json.dumps(document if places else holder[0]).encode("utf-8", "surrogatepass")


def _places(document: Any) -> Any:
    """Yield (container, key) of every value."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in list(items):
        yield document, key
        yield from _places(value)
