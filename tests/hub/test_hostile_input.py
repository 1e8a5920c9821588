"""What nobody should send: no answer is a 500, nothing is written outside the Hub's folder."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.contract import ADA, Ask, commit_of, ndjson
from jobshelf.hub import Hub

PATHS = (
    "/api/datasets/ada/x",
    "/api/datasets/ada/x/revision/{}",
    "/api/datasets/ada/x/tree/main/{}",
    "/api/datasets/ada/x/tree/{}",
    "/api/datasets/{}/x",
    "/api/{}/ada/x",
    "/api/datasets/ada/x/commits/{}",
    "/datasets/ada/x/resolve/main/{}",
    "/datasets/ada/x/raw/{}/a",
    "/ada/x/resolve/{}/a",
    "/buckets/ada/b/resolve/{}",
    "/api/buckets/ada/b/tree/{}",
    "/api/jobs/ada/{}",
    "/api/jobs/ada/{}/logs",
    "/_lfs/read/{}/a",
    "/{}",
)
POSTS = (
    "/api/repos/create",
    "/api/validate-yaml",
    "/api/datasets/ada/x/preupload/main",
    "/api/datasets/ada/x/commit/main",
    "/api/datasets/ada/x/paths-info/main",
    "/api/datasets/ada/x/branch/b",
    "/api/datasets/ada/x/tag/main",
    "/datasets/ada/x.git/info/lfs/objects/batch",
    "/datasets/ada/x.git/info/lfs/verify",
    "/api/buckets/ada/c",
    "/api/buckets/ada/b/batch",
    "/api/buckets/ada/b/paths-info",
    "/api/jobs/ada",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=10), below, max_size=3),
    max_leaves=8,
)
# the words that handlers look for, with values of any shape
WORDS = (
    *("key", "value", "path", "content", "encoding", "oid", "size", "summary", "parentCommit", "name", "type"),
    *("files", "sample", "objects", "operation", "organization", "visibility", "tag", "startingPoint", "paths"),
    *("xetHash", "mtime", "command", "dockerImage", "environment", "secrets", "volumes", "timeoutSeconds", "labels"),
)
OBJECTS = st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6)
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TRAVERSALS = (
    *("../x", "a/../../x", "/etc/passwd", "a//b", ".", "..", "a/./b", "", "a/", ".git/config", "a/.GIT/hooks"),
    *("a\x00b", "a\nb", "x" * 300),
)


@pytest.fixture(scope="module")
def hub(shared_hub: Hub) -> Hub:
    return shared_hub


@pytest.fixture(autouse=True)
def something_there(ask: Ask) -> None:
    """A dataset `ada/x` and a bucket `ada/b`."""
    ask("POST", "/api/repos/create", token=ADA.token, body={"name": "x", "type": "dataset"})
    ask("POST", "/api/buckets/ada/b", token=ADA.token, body={})


@QUIET
@given(
    template=st.sampled_from(PATHS),
    text=st.text(max_size=30) | st.binary(max_size=20),
    method=st.sampled_from(["GET", "HEAD", "DELETE", "PUT"]),
)
def test_no_path_is_a_500(ask: Ask, template: str, text: str | bytes, method: str):
    assert ask(method, template.format(quote(text, safe="/")), token=ADA.token).status != 500


@QUIET
@given(path=st.sampled_from(POSTS), body=st.binary(max_size=60) | OBJECTS.map(lambda o: json.dumps(o).encode()))
def test_no_body_is_a_500(ask: Ask, path: str, body: bytes):
    assert ask("POST", path, token=ADA.token, body=body).status != 500


@QUIET
@given(lines=st.lists(OBJECTS, max_size=3))
def test_no_commit_is_a_500(ask: Ask, lines: list[dict]):
    body = ndjson({"key": "header", "value": {"summary": "s"}}, *lines)
    assert ask("POST", "/api/datasets/ada/x/commit/main", token=ADA.token, body=body).status != 500


@QUIET
@given(value=st.text(max_size=40))
def test_no_range_and_no_query_is_a_500(ask: Ask, value: str):
    header = value.encode("latin-1", "ignore").translate(None, b"\r\n\x00").decode("latin-1")
    answer = ask("GET", "/datasets/ada/x/resolve/main/.gitattributes", token=ADA.token, Range=f"bytes={header}")
    assert answer.status in {200, 206, 400, 416}
    for name in ("cursor", "limit", "tail", "recursive"):
        path = f"/api/datasets/ada/x/tree/main?{name}={quote(value)}"
        assert ask("GET", path, token=ADA.token).status in {200, 400}


@pytest.mark.parametrize("path", TRAVERSALS)
def test_a_commit_cannot_leave_the_repo(ask: Ask, shared_folder: Path, path: str):
    head = ask("GET", "/api/datasets/ada/x").json["sha"]
    answer = ask("POST", "/api/datasets/ada/x/commit/main", token=ADA.token, body=commit_of({path: b"owned"}))
    assert answer.status == 400
    assert "Invalid path" in answer.headers["x-error-message"]
    assert ask("GET", "/api/datasets/ada/x").json["sha"] == head
    assert [entry.name for entry in shared_folder.iterdir()] == ["hub"]


@pytest.mark.parametrize("path", ["../hub.sqlite3", "..%2fhub.sqlite3", "%2e%2e/hub.sqlite3", "%2fetc%2fpasswd"])
def test_no_url_reads_a_file_of_the_machine(hub: Hub, path: str):
    for start in ("/datasets/ada/x/resolve/main/", "/buckets/ada/b/resolve/", "/_lfs/read/"):
        status = raw_status(hub, f"GET {start}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert status in {400, 403, 404}


@pytest.mark.parametrize(
    "request_line", [b"GET", b"\x00\xff\xfe", b"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close"]
)
def test_what_is_not_http_is_refused(hub: Hub, request_line: bytes):
    assert raw_status(hub, request_line + b"\r\n\r\n") in {400, 404}


def test_a_path_that_is_a_file_and_a_folder_is_refused(ask: Ask):
    answer = ask("POST", "/api/datasets/ada/x/commit/main", token=ADA.token, body=commit_of({"a": b"1", "a/b": b"2"}))
    assert (answer.status, answer.json["error"]) == (400, "'a' in 'a/b' is a file and a folder")


def test_an_unknown_endpoint_answers_501_with_its_name(ask: Ask):
    answer = ask("GET", "/api/scheduled-jobs/ada", token=ADA.token)
    assert answer.status == 501
    assert answer.headers["x-error-message"] == "The embedded Hub does not implement GET /api/scheduled-jobs/ada"


def raw_status(hub: Hub, request: bytes) -> int:
    host, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return int(connection.makefile("rb").readline().split()[1])
