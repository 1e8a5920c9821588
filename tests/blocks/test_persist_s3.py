"""Block `persist_s3`: boto3 against moto's server, with faults on the way."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from blocks.flaky import Flaky, flaky
from jobshelf import blocks

s3, exits = blocks.load("persist_s3"), blocks.load("exits")
SECRET = "canary+x7Qz/x7Qz"
PLACE = s3.S3Place(bucket="results", prefix="run/1")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def proxy(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    with flaky(moto) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        boto3.client("s3").create_bucket(Bucket="results")
        yield running
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")).close()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "rows.parquet").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "card.md").write_text("# Card\n")
    return {"data/rows.parquet": tmp_path / "rows.parquet", "card.md": tmp_path / "card.md"}


def stopped(call: Callable[[], object], code: int) -> str:
    with pytest.raises(exits.Stop) as stop:
        call()
    assert stop.value.code == code
    assert SECRET not in str(stop.value)
    return str(stop.value)


def content(name: str) -> bytes:
    return boto3.client("s3").get_object(Bucket="results", Key=f"run/1/{name}")["Body"].read()


def puts(proxy: Flaky) -> list[str]:
    return [path.partition("?")[0] for method, path, _ in proxy.requests if method == "PUT" and "run/1" in path]


def test_stored_and_looked_at(proxy: Flaky, files: dict[str, Path]) -> None:
    client = s3.open_s3(PLACE, dry_run=False)
    assert s3.persist_in_s3(PLACE, files, client) == "s3://results/run/1"
    assert {name: content(name) for name in files} == {name: path.read_bytes() for name, path in files.items()}
    assert boto3.client("s3").list_multipart_uploads(Bucket="results").get("Uploads", []) == []


def test_a_large_file_in_parts(proxy: Flaky, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"0123456789abcdef" * 600_000)
    s3.persist_in_s3(PLACE, {"large": tmp_path / "large"}, s3.open_s3(PLACE, dry_run=False))
    assert content("large") == (tmp_path / "large").read_bytes()
    assert len(puts(proxy)) > 1


def test_sent_once(proxy: Flaky, files: dict[str, Path]) -> None:
    client = s3.open_s3(PLACE, dry_run=False)
    s3.persist_in_s3(PLACE, files, client)
    proxy.requests.clear()
    s3.persist_in_s3(PLACE, files, client)
    assert puts(proxy) == []
    files["card.md"].write_text("# Another\n")
    s3.persist_in_s3(PLACE, files, client)
    assert puts(proxy) == ["/results/run/1/card.md"]
    assert content("card.md") == b"# Another\n"


@pytest.mark.parametrize("fault", [500, 503, 429, "reset", "lost"])
def test_a_write_that_fails_once(proxy: Flaky, files: dict[str, Path], fault: str | int) -> None:
    client = s3.open_s3(PLACE, dry_run=False)
    proxy.fail(fault, path="run/1/card.md", method="PUT")
    s3.persist_in_s3(PLACE, files, client)
    assert content("card.md") == b"# Card\n"


def test_what_cannot_be_stored_stays(proxy: Flaky, files: dict[str, Path]) -> None:
    client = s3.open_s3(PLACE, dry_run=False)
    proxy.fail(403, path="run/1/data", method="PUT", times=9)
    said = stopped(lambda: s3.persist_in_s3(PLACE, files, client), 6)
    assert f"it is in {files['card.md'].parent}" in said
    assert f"aws s3 cp {files['data/rows.parquet']} s3://results/run/1/data/rows.parquet && aws s3 cp" in said


def test_what_did_not_arrive_is_noticed(proxy: Flaky, files: dict[str, Path]) -> None:
    client = s3.open_s3(PLACE, dry_run=False)
    proxy.fail(200, path="run/1/data", method="PUT", times=99)  # acknowledged, not done
    assert "data/rows.parquet did not arrive whole" in stopped(lambda: s3.persist_in_s3(PLACE, files, client), 6)


def test_dry_run_writes_nothing(proxy: Flaky) -> None:
    proxy.requests.clear()
    s3.open_s3(PLACE, dry_run=True)
    assert {method for method, _, _ in proxy.requests} == {"HEAD"}


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_secrets_are_asserted_before_work(proxy: Flaky, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    said = stopped(lambda: s3.open_s3(PLACE, dry_run=True), 3)
    assert f"no {missing}, needed to write to s3://results/run/1" in said
    assert f"--secrets {missing}" in said


@pytest.mark.parametrize(("method", "status"), [("HEAD", 403), ("HEAD", 401), ("POST", 403)])
def test_credentials_that_may_not(proxy: Flaky, method: str, status: int) -> None:
    proxy.fail(status, path="/results", method=method)
    assert "allow s3:PutObject" in stopped(lambda: s3.open_s3(PLACE, dry_run=False), 3)


def test_no_such_bucket(proxy: Flaky) -> None:
    place = s3.S3Place(bucket="nothing-here", prefix="")
    assert "aws s3 mb s3://nothing-here" in stopped(lambda: s3.open_s3(place, dry_run=False), 2)


def test_a_server_that_always_fails(proxy: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "S3_ATTEMPTS", 2)
    proxy.fail(503, path="/results", method="HEAD", times=99)
    assert "it answered 503" in stopped(lambda: s3.open_s3(PLACE, dry_run=False), 5)


def test_nobody_listens(proxy: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "S3_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "cannot be reached" in stopped(lambda: s3.open_s3(PLACE, dry_run=False), 5)


@pytest.mark.parametrize(("given", "bucket", "prefix"), [("s3://abc", "abc", ""), ("s3://a.b-c/x/y/", "a.b-c", "x/y")])
def test_places(given: str, bucket: str, prefix: str) -> None:
    place: Any = s3.parse_s3(given)
    assert (place.bucket, place.prefix) == (bucket, prefix)
    assert str(place) == given.rstrip("/")


@pytest.mark.parametrize("given", ["abc", "s3://", "s3://AB", "s3://a", "gs://abc", "s3://abc//x", "https://abc/x"])
def test_no_place(given: str) -> None:
    stopped(lambda: s3.parse_s3(given), 2)
