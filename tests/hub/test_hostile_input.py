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
    "/api/datasets/ada/x/discussions/{}",
    "/api/datasets/ada/x/discussions?p={}",
    "/api/datasets/ada/x/user-access-request/{}",
    "/api/datasets?search={}",
    "/api/organizations/{}/members",
    "/_lfs/part/{}/a",
    "/datasets/ada/x/resolve/main/{}",
    "/datasets/ada/x/raw/{}/a",
    "/ada/x/resolve/{}/a",
    "/buckets/ada/b/resolve/{}",
    "/api/buckets/ada/b/tree/{}",
    "/api/jobs/ada/{}",
    "/api/jobs/ada/{}/logs",
    "/_lfs/read/{}/a",
    "/api/scheduled-jobs/ada/{}",
    "/api/settings/webhooks/{}",
    "/api/jobs/ada/{}/metrics",
    "/splits?dataset={}",
    "/rows?dataset=ada/x&config=default&split={}",
    "/size?dataset=ada/{}",
    "/_hub/{}",
    "/{}",
)
POSTS = (
    "/api/repos/create",
    "/api/validate-yaml",
    "/api/datasets/ada/x/preupload/main",
    "/api/datasets/ada/x/commit/main",
    "/api/datasets/ada/x/commit/main?create_pr=1",
    "/api/datasets/ada/x/discussions",
    "/api/datasets/ada/x/discussions/1/comment",
    "/api/datasets/ada/x/discussions/1/status",
    "/api/datasets/ada/x/discussions/1/merge",
    "/api/datasets/ada/x/user-access-request/handle",
    "/api/datasets/ada/x/user-access-request/grant",
    "/api/datasets/ada/x/super-squash/main",
    "/api/repos/move",
    "/api/scheduled-jobs/ada",
    "/api/settings/webhooks",
    "/oauth/token",
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
    *("title", "description", "pullRequest", "comment", "status", "user", "message", "fromRepo", "toRepo", "gitIgnore"),
    *("jobSpec", "schedule", "suspend", "concurrency", "watched", "domains", "url", "secret", "jobSourceId"),
    *("grant_type", "subject_token_type", "subject_token", "resource"),
    *("transfers", "parts", "partNumber", "etag", "gated", "kind", "nth", "seconds", "headers"),
    *("xetHash", "mtime", "command", "dockerImage", "environment", "secrets", "volumes", "timeoutSeconds", "labels"),
)
OBJECTS = st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6)
QUIET = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

COMMIT = "/api/datasets/ada/x/commit/main"
READS = ("/api/datasets/ada/x", "/datasets/ada/x/resolve/main/.gitattributes", "/", "/splits?dataset=ada/x", "/_lfs/x")
HEADERS = ("Authorization", "Accept", "Range", "If-Range", "Content-Type", "Expect", "Cookie", "User-Agent", "Origin")
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
@given(body=st.binary(max_size=60) | OBJECTS.map(lambda o: json.dumps(o).encode()))
def test_no_fault_is_a_500(instrument: Ask, body: bytes):
    assert instrument("POST", "/_hub/faults", body=body).status in {200, 400}


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


@QUIET
@given(name=st.sampled_from(HEADERS), value=st.text(max_size=60), path=st.sampled_from(READS))
def test_no_header_is_a_500(ask: Ask, name: str, value: str, path: str):
    clean = value.encode("latin-1", "ignore").translate(None, b"\r\n\x00").decode("latin-1").strip()
    assert ask("GET", path, **{name: clean}).status < 500


@QUIET
@given(
    operation=st.sampled_from(("preupload", "commit", "lfs", "batch")), size=st.integers(), path=st.text(max_size=40)
)
def test_no_size_and_no_path_is_a_500(ask: Ask, shared_folder: Path, operation: str, size: int, path: str):
    url, body = {
        "preupload": ("/api/datasets/ada/x/preupload/main", {"files": [{"path": path, "size": size, "sample": ""}]}),
        "commit": (COMMIT, {"key": "lfsFile", "value": {"path": path, "oid": "0" * 64, "size": size}}),
        "lfs": ("/datasets/ada/x.git/info/lfs/objects/batch", {"operation": "upload", "transfers": ["multipart"]}),
        "batch": ("/api/buckets/ada/b/batch", {"type": "addFile", "path": path, "xetHash": "0" * 64, "mtime": size}),
    }[operation]
    if operation == "lfs":
        body = {**body, "objects": [{"oid": "0" * 64, "size": size}]}
    header = {"key": "header", "value": {"summary": "s"}}
    lines = ndjson(header, body) if operation == "commit" else json.dumps(body).encode()
    assert ask("POST", url, token=ADA.token, body=lines).status < 500
    assert [entry.name for entry in shared_folder.iterdir()] == ["hub"]


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
        own = hub.endpoint.removeprefix("http://")
        status = raw_status(hub, f"GET {start}{path} HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n".encode())
        assert status in {400, 403, 404}


@pytest.mark.parametrize(
    "request_line", [b"GET", b"\x00\xff\xfe", b"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close"]
)
def test_what_is_not_http_is_refused(hub: Hub, request_line: bytes):
    assert raw_status(hub, request_line + b"\r\n\r\n") in {400, 421}


def test_a_path_that_is_a_file_and_a_folder_is_refused(ask: Ask):
    answer = ask("POST", "/api/datasets/ada/x/commit/main", token=ADA.token, body=commit_of({"a": b"1", "a/b": b"2"}))
    assert (answer.status, answer.json["error"]) == (400, "'a' in 'a/b' is a file and a folder")


def test_an_unknown_endpoint_answers_501_with_its_name(ask: Ask):
    answer = ask("GET", "/api/collections/ada", token=ADA.token)
    assert answer.status == 501
    assert answer.headers["x-error-message"] == "The embedded Hub does not implement GET /api/collections/ada"


def raw_status(hub: Hub, request: bytes) -> int:
    host, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return int(connection.makefile("rb").readline().split()[1])
