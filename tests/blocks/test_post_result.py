"""`post_result`: what a real receiver on loopback gets, and what is left when it refuses."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blocks.shared import Stopped, block
from harness.flaky import flaky
from support import TOKEN

post_result = block("post_result").post_result
DATA = bytes(range(256)) * 1000
KEY = hashlib.sha256(DATA).hexdigest()


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent once per idempotency key, as a careful receiver does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.kept: dict[str, bytes] = {}
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/results"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.status == 200:
            self.server.kept[self.headers["Idempotency-Key"]] = body
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - a name that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Receiver]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESULT_TOKEN", raising=False)
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def test_sent(receiver: Receiver) -> None:
    post_result(receiver.url, "a.parquet", DATA)
    assert receiver.kept == {KEY: DATA}
    (headers,) = receiver.requests
    assert (headers["x-file-name"], headers["content-type"]) == ("a.parquet", "application/octet-stream")
    assert "authorization" not in headers


def test_the_token(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULT_TOKEN", TOKEN)
    post_result(receiver.url, "a.parquet", DATA)
    assert receiver.requests[0]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("fault", [500, 503, 429, "reset", "lost"])
def test_the_key_is_the_same_when_repeated(receiver: Receiver, fault: str | int, pauses: list[float]) -> None:
    with flaky(receiver.url) as proxy:
        proxy.fail(fault, path="/results", times=2, headers={"Retry-After": "0"})
        post_result(f"{proxy.url}/results", "a.parquet", DATA)
        assert [headers["idempotency-key"] for _, _, headers in proxy.requests] == [KEY] * 3
    assert receiver.kept == {KEY: DATA}


@pytest.mark.parametrize("name", ["a.parquet", 'deep/run 1/it\'s "a" $(touch x).bin', "-o", "ünï.bin", "@x;y,z"])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_what_is_refused_is_kept_and_the_command_sends_it(
    receiver: Receiver, name: str, token: str | None, stopped: Stopped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if token:
        monkeypatch.setenv("RESULT_TOKEN", token)
    receiver.status = 403
    said = stopped(lambda: post_result(f"{receiver.url}?a=1&b=2", name, DATA), 6)
    assert "403" in said
    assert len(receiver.requests) == 1
    receiver.status = 200
    command = said.partition(". Fix: ")[2]
    assert shlex.split(command)[0] == "curl"
    subprocess.run(command, shell=True, check=True, capture_output=True, env={**os.environ}, cwd="/", timeout=60)
    assert receiver.kept == {KEY: DATA}
    assert receiver.requests[-1].get("authorization") == (f"Bearer {token}" if token else None)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int, stopped: Stopped) -> None:
    receiver.status = status
    assert str(status) in stopped(lambda: post_result(receiver.url, "a.bin", DATA), 6)
    assert len(receiver.requests) == 1


def test_nobody_listens(receiver: Receiver, stopped: Stopped, pauses: list[float]) -> None:
    said = stopped(lambda: post_result("http://127.0.0.1:9/results", "a.bin", DATA), 6)
    assert "no success within two minutes" in said
    assert [path.read_bytes() for path in Path.cwd().rglob("a.bin")] == [DATA]


@pytest.mark.parametrize("token", [f"{TOKEN}\n{TOKEN}", f"{TOKEN}é"])
def test_a_token_that_is_none(
    receiver: Receiver, token: str, stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESULT_TOKEN", token)
    assert "RESULT_TOKEN has characters" in stopped(lambda: post_result(receiver.url, "a.bin", DATA), 3)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "results",
        "https:///x",
        "http://example.org/x",
        "http://127.0.0.1.example.org/x",
        "http://localhost@example.org/x",
        "http://localhost:x@example.org/y",
        f"https://user:{TOKEN}@host/x",
        f"https://{TOKEN}@host/x",
        "https://host\\@example.org/x",
        "https://host/x\nHost: y",
        "https://host/two words",
    ],
)
def test_addresses_that_are_refused(url: str, stopped: Stopped) -> None:
    assert "OUTPUT is not an https address" in stopped(lambda: post_result(url, "a.bin", DATA), 2)


@pytest.mark.parametrize("url", ["https://127.0.0.1:9/x?a=1&b=@c", "https://127.0.0.1:9", "http://localhost:9"])
def test_addresses_that_are_tried(
    url: str, stopped: Stopped, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no success within two minutes" in stopped(lambda: post_result(url, "a.bin", DATA), 6)
