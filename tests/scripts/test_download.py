"""A script behind a URL: read with limits from real servers on loopback, and never run."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from jobshelf.errors import EnvironmentFault, InputError, JobshelfError, UsageError
from jobshelf.scripts.download import Download, _is_same_host, download, file_address
from jobshelf.scripts.files import MOST_BYTES
from jobshelf.vet import Config, collect, vet_targets
from scripts.servers import COMMIT, SCRIPT, Server, serving

TOKEN = "hf_of_a_test"


@pytest.fixture
def other() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(other: Server) -> Iterator[Server]:
    with serving(TOKEN, other.url) as server:
        yield server


def fetch(server: Server, path: str, *, hub: Server | None = None, **options: float) -> Download:
    return download(
        f"{server.url}/{path}", endpoint=hub.url if hub else "https://hub.invalid", token=lambda: TOKEN, **options
    )


def test_a_script_is_vetted_under_its_address(server: Server) -> None:
    report = vet_targets(collect([f"{server.url}/good.py"]), Config(stub=False, select=("UVS202",)))
    assert [(finding.path, finding.code, finding.line) for finding in report.findings] == [
        (f"{server.url}/good.py", "UVS202", 3)
    ]


@pytest.mark.parametrize("path", ["good.py", "moved.py", "good.py#main", "good.pü y"])
def test_a_redirect_on_the_same_host_is_followed(server: Server, path: str) -> None:
    assert fetch(server, path) == Download(data=SCRIPT, commit=None, is_public=True)


def test_the_commit_that_the_hub_names_is_known(server: Server) -> None:
    assert fetch(server, "pinned.py").commit == COMMIT


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("missing.py", InputError, "answered 404"),
        ("hidden.py", InputError, "is not public (status 401)"),
        ("broken.py", EnvironmentFault, "answered 503"),
        ("page.py", InputError, "is a web page"),
        ("hidden-page.py", InputError, "is a web page"),
        ("elsewhere.py", InputError, "redirects to another host, 127.0.0.1"),
        ("to-a-file.py", InputError, "it is no http(s) address"),
        ("to-data.py", InputError, "it is no http(s) address"),
        ("to-a-user.py", InputError, "with a user name or password"),
        ("to-nothing.py", InputError, "not a valid address"),
        ("to-a-bell.py", InputError, r"\x1b"),
        ("round.py", InputError, "redirects more than 5 times"),
        ("short.py", EnvironmentFault, "broke off after 20 of"),
        ("short-chunks.py", EnvironmentFault, "could not be fetched"),
        ("zipped.py", InputError, "is compressed (gzip)"),
        ("garbage.py", EnvironmentFault, "could not be fetched"),
        ("datasets/a/b/blob/main/x.py", UsageError, "/datasets/a/b/resolve/main/x.py"),
    ],
)
def test_what_is_no_script_is_a_clear_error(
    server: Server, path: str, error: type[JobshelfError], message: str
) -> None:
    with pytest.raises(error) as caught:
        fetch(server, path)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert server.authorizations == [None] * len(server.seen)


@pytest.mark.parametrize("path", ["drip.py", "drip-headers.py", "continues.py", "silent.py", "slow-round.py"])
def test_a_slow_server_is_left_at_the_deadline(server: Server, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"took longer than 0\.5 s"):
        fetch(server, path, seconds=0.5)
    assert time.monotonic() - started < 3


def test_of_an_endless_answer_only_the_limit_is_read_and_reported(server: Server) -> None:
    assert len(fetch(server, "huge.py").data) == MOST_BYTES + 1
    report = vet_targets(collect([f"{server.url}/huge.py"]), Config(stub=False))
    assert [finding.code for finding in report.findings] == ["UVS504"]
    assert len(report.inconclusive) == 1


def test_bytes_that_are_no_text_are_a_finding(server: Server) -> None:
    report = vet_targets(collect([f"{server.url}/binary.py"]), Config(stub=False))
    assert "UVS103" in {finding.code for finding in report.findings}


def test_nobody_listens() -> None:
    with pytest.raises(EnvironmentFault, match="could not be fetched"):
        download("http://127.0.0.1:1/x.py", endpoint="https://hub.invalid")


def test_the_token_opens_what_the_hub_refuses_to_strangers(server: Server) -> None:
    assert fetch(server, "private.py", hub=server) == Download(data=SCRIPT, commit=None, is_public=False)
    assert server.authorizations == [None, f"Bearer {TOKEN}"]
    fetch(server, "good.py", hub=server)
    assert server.authorizations[2:] == [None]


def test_the_hub_may_redirect_to_its_storage_and_the_token_stays(server: Server, other: Server) -> None:
    assert fetch(server, "elsewhere.py", hub=server).is_public
    assert not fetch(server, "private-then-elsewhere.py", hub=server).is_public
    assert server.authorizations == [None, None, f"Bearer {TOKEN}"]
    assert other.authorizations == [None, None]


def test_the_storage_may_not_redirect_further(server: Server, other: Server) -> None:
    other.other = server.url
    with pytest.raises(InputError, match="redirects to another host"):
        fetch(server, "elsewhere-twice.py", hub=server)
    assert other.authorizations == server.authorizations == [None]


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("http://a/x", "https://a/x", True),
        ("https://A/x", "https://a:443/y", True),
        ("http://a:8000/x", "https://a:8443/x", False),
        ("http://a:8000/x", "http://a/x", False),
        ("https://a/x", "https://a.b/x", False),
    ],
)
def test_one_host_is_one_name_and_port(here: str, there: str, same: bool) -> None:
    assert _is_same_host(here, there) is same


@pytest.mark.parametrize(
    ("page", "raw"),
    [
        ("https://huggingface.co/datasets/a/b/blob/main/x.py", "https://huggingface.co/datasets/a/b/resolve/main/x.py"),
        ("https://huggingface.co/a/b/blob/main/sub/x.py", "https://huggingface.co/a/b/resolve/main/sub/x.py"),
        ("https://github.com/a/b/blob/v1/d/x.py", "https://raw.githubusercontent.com/a/b/v1/d/x.py"),
    ],
)
def test_the_page_of_a_file_is_answered_with_the_file(page: str, raw: str) -> None:
    with pytest.raises(UsageError) as caught:
        file_address(page)
    assert caught.value.fix == f"use {raw}"
    assert file_address(raw) == raw


def test_the_page_of_a_gist_is_its_text() -> None:
    raw = "https://gist.githubusercontent.com/ada/0f3a/raw"
    assert file_address("https://gist.github.com/ada/0f3a") == raw
    assert file_address("https://gist.github.com/ada/0f3a/#file-x-py") == raw
    assert file_address(raw) == raw


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://:80/x.py",
        "https://host:99999/x.py",
        "https://[::1/x.py",
        "https://a..b/x.py",
        "ftp://host/x.py",
        "file:///etc/passwd",
        "https://host/\x1b[2J.py",
        "https://host/a\n.py",
    ],
)
def test_what_is_no_address_is_not_asked(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        file_address(url)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("url", ["https://ada:secret@host/a@b.py", "https://secret@host:x/a@b.py"])
def test_a_password_in_an_address_is_refused_and_not_printed(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        file_address(url)
    assert "secret" not in str(caught.value)
    assert "/a@b.py" in str(caught.value)
