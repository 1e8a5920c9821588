"""The fault plan: which requests fail, how a client sees it, and what the Hub did all the same."""

from __future__ import annotations

import http.client
import re
import socket
import time

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import given
from hypothesis import strategies as st

from hub.contract import ADA, Ask, commit_of
from jobshelf.hub import Hub
from jobshelf.hub.faults import PathPattern

PATH = "/api/agent-harnesses"
COMMIT = "/api/datasets/ada/x/commit/main"


@pytest.fixture
def head(ada: HfApi) -> str:
    """A dataset `ada/x`; the commit it is at."""
    ada.create_repo("ada/x", repo_type="dataset")
    return ada.dataset_info("ada/x").sha


def journal_end(hub: Hub) -> tuple[int, int, str | None, bool]:
    last = hub.journal()[-1]
    return last.status, last.outcome, last.fault, last.wrote


def test_a_fault_strikes_the_requests_it_is_planned_for(ask: Ask, hub: Hub):
    fault = hub.fail(method="GET", path="agent-harness", status=503, nth=2, times=2, headers={"Retry-After": "7"})
    answers = [ask("GET", PATH) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert answers[1].headers["x-error-message"] == "Planned fault: 503"
    assert [(entry.status, entry.outcome, entry.fault) for entry in hub.journal()] == [
        (200, 200, None),
        (503, 0, "status"),
        (503, 0, "status"),
        (200, 200, None),
    ]
    assert (fault.seen, fault.struck) == (4, 2)


def test_a_fault_leaves_other_requests_alone(ask: Ask, hub: Hub):
    hub.fail(method="POST", path="agent-harness", status=500)
    hub.fail(path="/whoami", status=500, times=5)
    assert ask("GET", PATH).status == 200
    assert ask("GET", "/api/whoami-v2", token=ADA.token).status == 500
    hub.clear_faults()
    assert ask("GET", "/api/whoami-v2", token=ADA.token).status == 200


def test_a_failed_commit_is_not_done(ada: HfApi, hub: Hub, ask: Ask, head: str):
    hub.fail(method="POST", path="/commit/main$", status=500)
    with pytest.raises(HfHubHTTPError, match="500"):
        ada.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="ada/x", repo_type="dataset")
    assert ada.dataset_info("ada/x").sha == head
    large = commit_of({"b.txt": b"x" * 3_000_000})
    hub.fail(method="POST", path="/commit/main$", status=500)
    assert ask("POST", COMMIT, token=ADA.token, body=large).status == 500
    assert ask("POST", COMMIT, token=ADA.token, body=large).status == 200


def test_the_client_waits_as_long_as_a_429_says(ada: HfApi, hub: Hub, head: str):
    hub.fail(path="/tree/", status=429, headers={"Retry-After": "1"})
    start = time.monotonic()
    assert ada.list_repo_files("ada/x", repo_type="dataset") == [".gitattributes"]
    # the client adds a second of its own
    assert time.monotonic() - start >= 2
    assert [entry.status for entry in hub.journal() if "/tree/" in entry.path] == [429, 200]


@pytest.mark.parametrize("body", [commit_of({"a.txt": b"1"}), commit_of({"a.txt": b"x" * 3_000_000})])
def test_a_reset_comes_before_the_request_is_done(ask: Ask, ada: HfApi, hub: Hub, head: str, body: bytes):
    hub.fail(path="/commit/", kind="reset")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        ask("POST", COMMIT, token=ADA.token, body=body)
    assert journal_end(hub) == (0, 0, "reset", False)
    assert ada.dataset_info("ada/x").sha == head


def test_a_lost_answer_is_to_a_request_that_was_done(ask: Ask, ada: HfApi, hub: Hub, head: str):
    hub.fail(path="/commit/", kind="lost")
    with pytest.raises(ConnectionResetError):
        ask("POST", COMMIT, token=ADA.token, body=commit_of({"a.txt": b"1"}))
    assert journal_end(hub) == (0, 200, "lost", True)
    assert ada.dataset_info("ada/x").sha != head
    assert [commit.title for commit in ada.list_repo_commits("ada/x", repo_type="dataset")] == [
        "test",
        "initial commit",
    ]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_truncated_answer(ask: Ask, ada: HfApi, hub: Hub, head: str, size: int):
    ask("POST", COMMIT, token=ADA.token, body=commit_of({"a.txt": b"x" * size}))
    hub.fail(path="/resolve/", kind="truncate")
    with pytest.raises(http.client.IncompleteRead) as error:
        ask("GET", "/datasets/ada/x/resolve/main/a.txt")
    assert 0 < len(error.value.partial) < size
    assert journal_end(hub) == (200, 200, "truncate", False)
    assert ask("GET", "/datasets/ada/x/resolve/main/a.txt").body == b"x" * size


def test_a_truncated_commit_was_done(ask: Ask, ada: HfApi, hub: Hub, head: str):
    hub.fail(path="/commit/", kind="truncate")
    with pytest.raises(http.client.IncompleteRead):
        ask("POST", COMMIT, token=ADA.token, body=commit_of({"a.txt": b"1"}))
    assert journal_end(hub) == (200, 200, "truncate", True)
    assert ada.dataset_info("ada/x").sha != head


def test_an_answer_without_a_body_cannot_be_truncated_and_is_lost(ask: Ask, hub: Hub, head: str):
    hub.fail(path="/resolve/", kind="truncate")
    with pytest.raises(ConnectionResetError):
        ask("HEAD", "/datasets/ada/x/resolve/main/.gitattributes")


def test_a_delayed_request_is_done_later(ask: Ask, hub: Hub, head: str):
    hub.fail(path="/commit/", kind="delay", seconds=0.3)
    start = time.monotonic()
    assert ask("POST", COMMIT, token=ADA.token, body=commit_of({"a.txt": b"1"})).status == 200
    assert time.monotonic() - start >= 0.3
    assert journal_end(hub) == (200, 200, "delay", True)


@pytest.mark.parametrize(("kind", "wrote"), [("delay", False), ("lost", True)])
def test_a_client_that_gives_up(hub: Hub, ada: HfApi, head: str, kind: str, wrote: bool):
    fault = hub.fail(path="/commit/", kind=kind, seconds=0.5)
    body = commit_of({"a.txt": b"1"})
    address, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((address, int(port))) as connection:
        start = f"POST {COMMIT} HTTP/1.1\r\nHost: {address}:{port}\r\nAuthorization: Bearer {ADA.token}\r\n"
        connection.sendall(f"{start}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert (fault.struck, fault.done) == (1, int(wrote))
    until = time.monotonic() + 20
    while not any(entry.fault for entry in hub.journal()) and time.monotonic() < until:
        time.sleep(0.02)
    (entry,) = [entry for entry in hub.journal() if entry.fault]
    assert (entry.fault, entry.wrote) == (kind, wrote)
    assert (ada.dataset_info("ada/x").sha != head) is wrote


def test_a_request_is_not_held_for_a_client_that_has_left(hub: Hub, ada: HfApi, head: str):
    fault = hub.fail(path="/commit/", kind="delay", seconds=3600)
    address, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((address, int(port))) as connection:
        connection.sendall(f"POST {COMMIT} HTTP/1.1\r\nHost: {address}:{port}\r\nContent-Length: 0\r\n\r\n".encode())
        until = time.monotonic() + 20
        while not fault.struck and time.monotonic() < until:
            time.sleep(0.02)
    while not any(entry.fault for entry in hub.journal()) and time.monotonic() < until:
        time.sleep(0.02)
    assert [entry.fault for entry in hub.journal() if entry.fault] == ["delay"]
    assert ada.dataset_info("ada/x").sha == head


def test_a_request_that_is_held_is_reset_when_its_fault_is_lifted(ask: Ask, hub: Hub, ada: HfApi, head: str):
    fault = hub.fail(path="/commit/", kind="delay", seconds=3600)
    address, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((address, int(port))) as connection:
        start = f"POST {COMMIT} HTTP/1.1\r\nHost: {address}:{port}\r\nContent-Length: 10000000\r\n\r\n"
        connection.sendall(start.encode() + b"x" * 100_000)
        until = time.monotonic() + 20
        while not fault.struck and time.monotonic() < until:
            time.sleep(0.02)
        hub.clear_faults()
        connection.settimeout(20)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert ada.dataset_info("ada/x").sha == head


def test_faults_are_planned_from_another_process(ask: Ask, instrument: Ask, hub: Hub):
    made = instrument("POST", "/_hub/faults", body={"path": "harness", "kind": "status", "status": 429, "times": 2})
    assert (made.status, made.json["seen"]) == (200, 0)
    assert ask("GET", PATH).status == 429
    (listed,) = instrument("GET", "/_hub/faults").json
    assert (listed["path"], listed["seen"], listed["struck"]) == ("harness", 1, 1)
    assert instrument("DELETE", "/_hub/faults").status == 200
    assert ask("GET", PATH).status == 200


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"path": "x"}, "a fault of kind 'status' has a status"),
        ({"path": "x", "kind": "reset", "status": 500}, "a fault of kind 'status' has a status"),
        ({"path": "x", "status": 99}, "from 200 to 599, found status with 99"),
        ({"path": "x" * 1_000_000, "kind": "reset"}, "'path' has at most 4096 characters, found 1000000"),
        ({"path": "x", "kind": "explode"}, "expected one of status, delay, reset, lost, truncate"),
        ({"path": "x", "kind": "delay"}, "above 0 for a delay, found 0"),
        ({"path": "x", "kind": "delay", "seconds": 1e9}, "'seconds' must be up to 3600"),
        ({"path": "x", "kind": "lost", "nth": 0}, "count from 1"),
        ({"kind": "lost"}, "'path' must be str, found nothing"),
        ({"path": "x", "kind": "lost", "often": 1}, "A fault has no 'often': expected headers, kind, method"),
        ({"path": "x", "status": 500, "headers": {"a b": "c"}}, "'a b' does not fit"),
    ],
)
def test_a_fault_that_could_not_strike_is_refused(instrument: Ask, fault: dict, message: str):
    answer = instrument("POST", "/_hub/faults", body=fault)
    assert answer.status == 400
    assert message in answer.json["error"]
    assert instrument("GET", "/_hub/faults").json == []


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("", "/a", True),
        ("/commit/", "/api/datasets/a/b/commit/main", True),
        ("/commit/", "/api/datasets/a/b/tree/main", False),
        ("^/splits", "/splits?dataset=a", True),
        ("^/splits", "/a/splits", False),
        ("/jobs/ada$", "/api/jobs/ada", True),
        ("/jobs/ada$", "/api/jobs/ada/1", False),
        ("^/a$", "/a", True),
        ("^/a$", "/a/a", False),
        ("/resolve/*/a.py", "/x/resolve/0a1b/a.py", True),
        ("/resolve/*/a.py", "/x/resolve/a.py", False),
        ("/resolve/*/a.py", "/x/resolve/0a1b/axpy", False),
        ("^/a*a$", "/a", False),
        ("^/a*a$", "/aa", True),
        ("^/*b*c$", "/abc", True),
        ("^/*b*c$", "/acb", False),
        ("a*a", "/a", False),
        ("^*$", "", True),
        ("$", "/a", True),
        ("/a?b=(1|2)", "/a?b=(1|2)", True),
        ("/a.b", "/axb", False),
    ],
)
def test_what_a_pattern_matches(pattern: str, path: str, matches: bool):
    assert PathPattern(text=pattern).matches(path) is matches


@given(pattern=st.text("ab*", max_size=6), start=st.booleans(), end=st.booleans(), path=st.text("ab", max_size=8))
def test_a_pattern_means_what_the_regular_expression_means(pattern: str, start: bool, end: bool, path: str):
    expected = re.search("^" * start + pattern.replace("*", ".*") + r"\Z" * end, path) is not None
    assert PathPattern(text="^" * start + pattern + "$" * end).matches(path) is expected


HOSTILE = (
    "^/(a+)+$",
    "^/((a+)+)+$",
    "a*" * 2048,
    "a" * 2000 + "*" + "a" * 2000 + "b",
    "*" * 4096,
    "b" + "a" * 98,
    "(" * 4096,
)


@pytest.mark.parametrize("pattern", HOSTILE, ids=lambda text: text[:12])
def test_as_many_faults_as_there_may_be_hold_no_request_up(ask: Ask, instrument: Ask, pattern: str):
    fault = {"path": pattern, "kind": "status", "status": 500, "method": "GET", "nth": 1_000_000}
    for _ in range(256):
        assert instrument("POST", "/_hub/faults", body=fault).status == 200
    refused = instrument("POST", "/_hub/faults", body=fault)
    assert (refused.status, refused.json["error"]) == (400, "there are 256 faults already: clear them first")
    start = time.monotonic()
    assert ask("GET", "/" + "a" * 30_000 + "!").status == 404
    assert time.monotonic() - start < 2
