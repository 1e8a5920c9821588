"""A script behind a URL: fetched with limits from a real server on loopback, and never run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobshelf.errors import EnvironmentFault, InputError, JobshelfError
from jobshelf.vet import Config, collect, vet_targets
from jobshelf.vet.fetch import fetch, raw_url
from jobshelf.vet.targets import MAX_BYTES

SCRIPT = b'# /// script\n# requires-python = ">=3.11"\n# dependencies = ["polars"]\n# ///\nimport polars\n'


class Server(BaseHTTPRequestHandler):
    """Each path misbehaves in its own way."""

    def do_GET(self) -> None:
        getattr(self, f"get_{self.path.strip('/').partition('.')[0].replace('-', '_')}")()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def get_good(self) -> None:
        self.answer(200, SCRIPT, Content_Type="text/plain; charset=utf-8", Content_Length=str(len(SCRIPT)))

    def get_missing(self) -> None:
        self.answer(404, b"Entry not found")

    def get_private(self) -> None:
        self.answer(401, b"Invalid username or password.")

    def get_broken(self) -> None:
        self.answer(503, b"later")

    def get_page(self) -> None:
        self.answer(200, b"<p>hello</p>", Content_Type="text/html; charset=utf-8")

    def get_hidden_page(self) -> None:
        self.answer(200, b"\n<!DOCTYPE html><html></html>", Content_Type="text/plain")

    def get_huge(self) -> None:
        self.answer(200, Content_Type="text/plain")
        self.pour(b"#" * 65536, pause=0)

    def get_drip(self) -> None:
        self.answer(200, Content_Type="text/plain")
        self.pour(b"#", pause=0.05)

    def get_drip_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.pour(b"x", pause=0.05)

    def get_silent(self) -> None:
        self.server.stopping.wait(30)

    def get_short(self) -> None:
        self.answer(200, SCRIPT[:20], Content_Type="text/plain", Content_Length=str(len(SCRIPT)))

    def get_moved(self) -> None:
        self.answer(302, Location="/good.py")

    def get_elsewhere(self) -> None:
        self.answer(302, Location=f"http://localhost:{self.server.server_port}/good.py")

    def get_to_a_file(self) -> None:
        self.answer(302, Location="file:///etc/hostname")

    def get_round(self) -> None:
        self.answer(302, Location="/round.py")

    def get_binary(self) -> None:
        self.answer(200, bytes(range(256)), Content_Type="application/octet-stream")

    def pour(self, piece: bytes, pause: float) -> None:
        try:
            while not self.server.stopping.wait(pause):
                self.wfile.write(piece)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.stopping = threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stopping.set()
    server.shutdown()
    server.server_close()


def test_a_script_is_fetched_and_vetted_under_its_address(url: str) -> None:
    report = vet_targets(collect([f"{url}/good.py"]), Config(stub=False, select=("UVS202",)))
    assert [(finding.path, finding.code, finding.line) for finding in report.findings] == [
        (f"{url}/good.py", "UVS202", 3)
    ]


def test_a_redirect_on_the_same_host_is_followed(url: str) -> None:
    assert fetch(f"{url}/moved.py", limit=MAX_BYTES) == SCRIPT


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("missing.py", InputError, "answered 404"),
        ("private.py", InputError, "answered 401"),
        ("broken.py", InputError, "answered 503"),
        ("page.py", InputError, "is a web page"),
        ("hidden-page.py", InputError, "is a web page"),
        ("elsewhere.py", InputError, "redirects to another host, localhost"),
        ("to-a-file.py", InputError, "is not allowed"),
        ("round.py", InputError, "infinite loop"),
        ("short.py", EnvironmentFault, "broke off after 20 of"),
        ("datasets/a/b/blob/main/x.py", InputError, "/datasets/a/b/resolve/main/x.py"),
    ],
)
def test_what_is_no_script_is_a_clear_error(url: str, path: str, error: type[JobshelfError], message: str) -> None:
    with pytest.raises(error) as caught:
        fetch(f"{url}/{path}", limit=MAX_BYTES)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("path", ["drip.py", "drip-headers.py", "silent.py"])
def test_a_slow_server_is_left_at_the_deadline(url: str, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(EnvironmentFault, match="took longer than"):
        fetch(f"{url}/{path}", limit=MAX_BYTES, deadline=0.5)
    assert time.monotonic() - started < 3


def test_of_an_endless_answer_only_the_limit_is_read_and_reported(url: str) -> None:
    assert len(fetch(f"{url}/huge.py", limit=MAX_BYTES)) == MAX_BYTES + 1
    report = vet_targets(collect([f"{url}/huge.py"]), Config(stub=False))
    assert [finding.code for finding in report.findings] == ["UVS504"]
    assert len(report.inconclusive) == 1


def test_bytes_that_are_no_text_are_a_finding(url: str) -> None:
    report = vet_targets(collect([f"{url}/binary.py"]), Config(stub=False))
    assert "UVS103" in {finding.code for finding in report.findings}


def test_nobody_listens(url: str) -> None:
    with pytest.raises(EnvironmentFault, match="could not be fetched"):
        fetch("http://127.0.0.1:1/x.py", limit=MAX_BYTES)
    with pytest.raises(InputError, match="names no host"):
        fetch("https://", limit=MAX_BYTES)


@pytest.mark.parametrize(
    ("page", "raw"),
    [
        ("https://huggingface.co/datasets/a/b/blob/main/x.py", "https://huggingface.co/datasets/a/b/resolve/main/x.py"),
        ("https://huggingface.co/a/b/blob/main/sub/x.py", "https://huggingface.co/a/b/resolve/main/sub/x.py"),
        ("https://github.com/a/b/blob/main/x.py", "https://raw.githubusercontent.com/a/b/main/x.py"),
        ("https://huggingface.co/datasets/a/b/resolve/main/x.py", None),
        ("https://example.org/x.py", None),
    ],
)
def test_the_page_about_a_file_is_told_from_the_file(page: str, raw: str | None) -> None:
    assert raw_url(page) == raw
