"""Servers on loopback that misbehave, each path in its own way, and remember the headers of every request."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCRIPT = b'# /// script\n# requires-python = ">=3.11"\n# dependencies = ["polars"]\n# ///\nimport polars\n'
COMMIT = "0123456789abcdef" * 2 + "01234567"


class Server(ThreadingHTTPServer):
    """`seen` are (path, headers) of every request; `token` opens what is private; `other` is another server's address.

    `left` are the seconds after which clients left answers that do not end.
    """

    daemon_threads = True

    def __init__(self, token: str = "", other: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.left: list[float] = []
        self.stopping = threading.Event()
        self.token, self.other = token, other

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def authorizations(self) -> list[str | None]:
        return [headers.get("Authorization") for _, headers in self.seen]


@contextmanager
def serving(token: str = "", other: str = "") -> Iterator[Server]:
    server = Server(token, other)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        getattr(self, f"get_{self.path.strip('/').partition('.')[0].replace('-', '_')}")()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def get_good(self) -> None:
        self.answer(200, SCRIPT, Content_Type="text/plain; charset=utf-8", Content_Length=str(len(SCRIPT)))

    def get_pinned(self) -> None:
        self.answer(302, Location="/good.py", X_Repo_Commit=COMMIT)

    def get_missing(self) -> None:
        self.answer(404, b"Entry not found")

    def get_hidden(self) -> None:
        self.answer(401, b"Invalid username or password.")

    def get_private(self) -> None:
        if self.headers.get("Authorization") == f"Bearer {self.server.token}":
            return self.get_good()
        return self.answer(401)

    def get_private_then_elsewhere(self) -> None:
        if self.headers.get("Authorization"):
            return self.answer(302, Location=f"{self.server.other}/good.py")
        return self.answer(401)

    def get_broken(self) -> None:
        self.answer(503, b"later")

    def get_page(self) -> None:
        self.answer(200, b"<p>hello</p>", Content_Type="text/html; charset=utf-8")

    def get_hidden_page(self) -> None:
        self.answer(200, b"\n<!DOCTYPE html><html></html>", Content_Type="text/plain")

    def get_huge(self) -> None:
        self.answer(200, Content_Type="text/plain")
        self.pour(b"#" * 65536, pause=0)

    def get_zipped(self) -> None:
        self.answer(200, gzip.compress(b"#" * (1 << 26)), Content_Type="text/plain", Content_Encoding="gzip")

    def get_drip(self) -> None:
        self.answer(200, Content_Type="text/plain")
        self.pour(b"#", pause=0.25)

    def get_drip_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.pour(b"x", pause=0.05)

    def get_continues(self) -> None:
        self.pour(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.05)

    def get_silent(self) -> None:
        self.server.stopping.wait(30)

    def get_slow_round(self) -> None:
        self.server.stopping.wait(0.2)
        self.answer(302, Location="/slow-round.py")

    def get_short(self) -> None:
        self.answer(200, SCRIPT[:20], Content_Type="text/plain", Content_Length=str(len(SCRIPT)))

    def get_short_chunks(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.answer(200, b"14\r\n" + SCRIPT[:20] + b"\r\n50\r\n#", Transfer_Encoding="chunked")

    def get_garbage(self) -> None:
        self.wfile.write(b"\x1b[2J\x07 not HTTP\r\n\r\n")

    def get_moved(self) -> None:
        self.answer(302, Location="/good.py")

    def get_elsewhere(self) -> None:
        self.answer(302, Location=f"{self.server.other}/good.py")

    def get_elsewhere_twice(self) -> None:
        self.answer(302, Location=f"{self.server.other}/elsewhere.py")

    def get_to_a_file(self) -> None:
        self.answer(302, Location="file:///etc/hostname")

    def get_to_data(self) -> None:
        self.answer(302, Location="data:text/plain,print(1)")

    def get_to_a_user(self) -> None:
        self.answer(302, Location=f"http://ada:secret@127.0.0.1:{self.server.server_port}/good.py")

    def get_to_nothing(self) -> None:
        self.answer(302, Location="http://[::1/x.py")

    def get_to_a_bell(self) -> None:
        self.answer(302, Location="http://\x1b[2J\x07.example/x.py")

    def get_round(self) -> None:
        self.answer(302, Location="/round.py")

    def get_binary(self) -> None:
        self.answer(200, bytes(range(256)), Content_Type="application/octet-stream")

    def pour(self, piece: bytes, pause: float) -> None:
        started = time.monotonic()
        try:
            while not self.server.stopping.wait(pause):
                self.wfile.write(piece)
        except OSError:
            self.close_connection = True
            self.server.left.append(time.monotonic() - started)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
