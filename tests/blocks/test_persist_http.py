"""Block `persist_http`: one request that a real server on loopback receives, checked as that server would check it."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from blocks.flaky import flaky
from jobshelf import blocks

http, exits, retry = blocks.load("persist_http"), blocks.load("exits"), blocks.load("retry")
SECRET = "canary-x7Qz-x7Qz"


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
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
        if self.server.status == 200:
            self.server.kept[headers["idempotency-key"]] = body
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST  # noqa: N815 - a name that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESULTS_TOKEN", SECRET)
    monkeypatch.setenv("RESULTS_KEY", SECRET)
    monkeypatch.setattr(retry, "RETRY_FIRST_PAUSE_S", 0.001)
    (tmp_path / "result.json").write_bytes(b'{"rows": 3}')
    return tmp_path / "result.json"


def send(url: str, path: Path, **options: Any) -> str:
    place = http.HttpPlace(url=url, **options)
    http.open_http(place)
    return http.persist_over_http(place, path, content_type="application/json")


def stopped(call: Callable[[], object], code: int) -> str:
    with pytest.raises(exits.Stop) as stop:
        call()
    assert stop.value.code == code
    assert SECRET not in str(stop.value)
    return str(stop.value)


def test_sent_once_with_a_key(receiver: Receiver, result: Path) -> None:
    key = send(receiver.url, result)
    assert key == hashlib.sha256(b'{"rows": 3}').hexdigest()
    assert receiver.kept == {key: b'{"rows": 3}'}
    (request,) = receiver.requests
    assert (request["method"], request["path"]) == ("POST", "/results")
    assert request["headers"]["content-type"] == "application/json"
    assert "authorization" not in request["headers"]
    assert "x-signature-256" not in request["headers"]


def test_put_signed_and_with_a_token(receiver: Receiver, result: Path) -> None:
    send(receiver.url, result, method="PUT", token_from="RESULTS_TOKEN", secret_from="RESULTS_KEY")
    (request,) = receiver.requests
    assert request["method"] == "PUT"
    assert request["headers"]["authorization"] == f"Bearer {SECRET}"
    expected = hmac.new(SECRET.encode(), request["body"], "sha256").hexdigest()
    assert request["headers"]["x-signature-256"] == f"sha256={expected}"


def test_a_large_file_is_streamed(receiver: Receiver, result: Path) -> None:
    result.write_bytes(bytes(range(256)) * 40_000)
    key = send(receiver.url, result)
    assert receiver.kept[key] == result.read_bytes()


@pytest.mark.parametrize("fault", [500, 503, 429, "reset", "lost"])
def test_a_failure_that_passes(receiver: Receiver, result: Path, fault: str | int) -> None:
    with flaky(receiver.url) as proxy:
        proxy.fail(fault, path="/results", times=2, headers={"Retry-After": "0"})
        key = send(f"{proxy.url}/results", result)
        assert {headers["idempotency-key"] for _, _, headers in proxy.requests} == {key}
        assert len(proxy.requests) == 3
    assert receiver.kept == {key: b'{"rows": 3}'}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 301, 307])
def test_a_refusal_is_final_and_nothing_follows_a_redirect(receiver: Receiver, result: Path, status: int) -> None:
    receiver.status = status
    said = stopped(lambda: send(f"{receiver.url}?key={SECRET}", result, token_from="RESULTS_TOKEN"), 6)
    assert f"it answered {status}" in said
    assert f"it is in {result}" in said
    assert f"--data-binary @{result}" in said
    assert "made from RESULTS_TOKEN" in said
    assert len(receiver.requests) == 1


def test_nobody_listens(result: Path) -> None:
    said = stopped(lambda: send("http://127.0.0.1:9/results", result), 6)
    assert f"it is in {result}" in said
    assert "attempt 5 of 5" in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "not POST or PUT to an http(s) address"),
        ("results", "not POST or PUT to an http(s) address"),
        ("https:///x", "not POST or PUT to an http(s) address"),
        ("http://example.org/x", "is not encrypted"),
        (f"https://user:{SECRET}@host/x", "has a user or password in it"),
    ],
)
def test_addresses_that_are_refused(url: str, said: str) -> None:
    assert said in stopped(lambda: http.open_http(http.HttpPlace(url=url)), 2)


def test_other_methods_are_refused() -> None:
    stopped(lambda: http.open_http(http.HttpPlace(url="https://host/x", method="GET")), 2)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_needs_no_tls(host: str) -> None:
    http.open_http(http.HttpPlace(url=f"http://{host}:1/x"))


@pytest.mark.parametrize(("value", "said"), [(None, "is not set"), ("", "is not set"), ("two words", "has characters")])
def test_secrets_are_asserted_before_work(monkeypatch: pytest.MonkeyPatch, value: str | None, said: str) -> None:
    monkeypatch.delenv("RESULTS_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("RESULTS_KEY", value)
    place = http.HttpPlace(url="https://host/x", secret_from="RESULTS_KEY")
    text = stopped(lambda: http.open_http(place), 3)
    assert f"the secret RESULTS_KEY {said}" in text
    assert "--secrets RESULTS_KEY" in text
