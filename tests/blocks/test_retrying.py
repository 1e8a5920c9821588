"""`retrying`: which failures may pass, after how long, and how it ends."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from datasets import DatasetDict
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import HfApi, hf_hub_download, set_client_factory
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from blocks.shared import block
from harness.flaky import flaky
from jobshelf.hub import Hub

retrying = block("retrying").retrying


def answer(status: int, headers: dict[str, str] | None = None) -> HfHubHTTPError:
    request = httpx2.Request("GET", "http://127.0.0.1/x")
    return HfHubHTTPError("said no", response=httpx2.Response(status, headers=headers, request=request))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def failing(times: int, error: Exception) -> Callable[..., Any]:
    left = [error] * times

    def call(*args: object, **kwargs: object) -> object:
        if left:
            raise left.pop()
        return args, kwargs

    return call


PASSING = [
    *map(answer, (408, 409, 412, 425, 429, 500, 502, 503, 504, 507, 520, 524)),
    httpx2.ConnectError("refused"),
    httpx2.ReadTimeout("silence"),
    httpx2.RemoteProtocolError("closed in the middle"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    TimeoutError(),
    OSError("the store hung up"),
    RuntimeError("CAS service error"),
    caused(LocalEntryNotFoundError("not in the cache"), httpx2.ConnectError("refused")),
    caused(DatasetGenerationError("failed"), caused(ValueError("x"), httpx2.ReadError("cut"))),
    caused(DatasetGenerationError("failed"), answer(503)),
]
LASTING = [
    *map(answer, (400, 401, 403, 404, 410, 416, 422, 501)),
    FileNotFoundError("x"),
    FileNotFoundError(errno.ENOENT, "x"),
    PermissionError(errno.EACCES, "x"),
    OSError(errno.ENOSPC, "full"),
    OSError(errno.EDQUOT, "quota"),
    LocalEntryNotFoundError("not in the cache"),
    httpx2.UnsupportedProtocol("ftp"),
    OfflineModeIsEnabled("offline"),
    caused(LocalEntryNotFoundError("not in the cache"), OfflineModeIsEnabled("offline")),
    DatasetNotFoundError("no such dataset"),
    DatasetGenerationError("bad rows"),
    httpx2.LocalProtocolError("a token with a line break"),
    ValueError("no"),
    KeyError("x"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_errors_that_pass(error: Exception, pauses: list[float]) -> None:
    assert retrying(failing(4, error), 1, b=2) == ((1,), {"b": 2})
    assert pauses == [0.5, 1, 2, 4]


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_errors_that_last(error: Exception, pauses: list[float]) -> None:
    with pytest.raises(type(error)) as raised:
        retrying(failing(99, error))
    assert raised.value is error
    assert pauses == []


def test_an_interruption_is_no_failure(pauses: list[float]) -> None:
    for error in (KeyboardInterrupt(), SystemExit(143)):
        with pytest.raises(type(error)):
            retrying(failing(1, error))  # type: ignore[arg-type]
    assert pauses == []


@pytest.mark.parametrize("error", [answer(503), ConnectionRefusedError("refused"), RuntimeError("CAS")], ids=repr)
def test_two_minutes_then_a_connection_error_with_the_reason(error: Exception, pauses: list[float]) -> None:
    with pytest.raises(ConnectionError, match=r"no success within two minutes: .*(said no|refused|CAS)") as raised:
        retrying(failing(999, error))
    assert raised.value.__cause__ is error
    assert 80 < sum(pauses) < 120


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("17", 17), ("0", 0), ("", 0), ("soon", 0), ("-3", 0), ("1.5", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0)],
)
def test_retry_after(value: str, seconds: float, pauses: list[float]) -> None:
    retrying(failing(1, answer(429, {"Retry-After": value})))
    assert pauses == [0.5 + seconds]


def test_a_server_that_wants_an_hour_is_not_waited_for(pauses: list[float]) -> None:
    with pytest.raises(ConnectionError):
        retrying(failing(1, answer(429, {"Retry-After": "3600"})))
    assert pauses == []


@pytest.mark.parametrize("fault", [500, 503, 429, "reset", "lost"])
def test_the_hub_fails_once(here: Hub, client: HfApi, fault: str | int, pauses: list[float]) -> None:
    client.create_repo("alice/rows", repo_type="dataset")
    with flaky(here.endpoint) as proxy:
        proxy.fail(fault, path="/api/datasets/alice/rows", times=2)
        assert retrying(HfApi(endpoint=proxy.url).dataset_info, "alice/rows").id == "alice/rows"
        assert len(proxy.requests) == 3


def test_a_download_fails_once(here: Hub, client: HfApi, pauses: list[float]) -> None:
    client.create_repo("alice/rows", repo_type="dataset")
    client.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="alice/rows", repo_type="dataset")
    here.fail(path="/resolve/", kind="reset", times=3)
    path = retrying(hf_hub_download, "alice/rows", "a.txt", repo_type="dataset", endpoint=here.endpoint)
    assert Path(path).read_bytes() == b"1"


def test_a_missing_file_is_not_waited_for(here: Hub, client: HfApi, pauses: list[float]) -> None:
    client.create_repo("alice/rows", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        retrying(hf_hub_download, "alice/rows", "no.txt", repo_type="dataset", endpoint=here.endpoint)
    with pytest.raises(FileNotFoundError):
        retrying(DatasetDict.load_from_disk, "/no/such/place")
    assert pauses == []


@pytest.mark.usefixtures("own_client")
def test_silence(pauses: list[float]) -> None:
    set_client_factory(lambda: httpx2.Client(timeout=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = HfApi(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", token=False)
        with pytest.raises(ConnectionError, match="timed out"):
            retrying(api.auth_check, "a/b")
    assert len(pauses) > 5


def test_it_really_waits() -> None:
    """Against the clock: a server that asks for one second, once."""

    class Busy(BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self) -> None:
            Busy.asked += 1
            self.send_response(200 if Busy.asked > 1 else 429)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        begun = time.monotonic()
        retrying(lambda: httpx2.get(f"http://127.0.0.1:{server.server_address[1]}").raise_for_status())
        server.shutdown()
    assert 1.5 <= time.monotonic() - begun < 10
    assert Busy.asked == 2
