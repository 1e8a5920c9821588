"""Block `persist_gcs`: the real client against an emulator, with a real service account's key and faults on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from blocks.flaky import Flaky, flaky
from jobshelf import blocks

gcs, exits = blocks.load("persist_gcs"), blocks.load("exits")
PLACE = gcs.GcsPlace(bucket="results", prefix="run/1")


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    server.stop()


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def proxy(emulator: str, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    """The way to the emulator, and the place where the service account gets its tokens."""
    with flaky(emulator) as running:
        account = {
            "type": "service_account",
            "project_id": "shelf",
            "private_key_id": "1",
            "private_key": key,
            "client_email": "shelf@example.org",
            "token_uri": f"{running.url}/token",
        }
        token = json.dumps({"access_token": "canary-access", "expires_in": 3600, "token_type": "Bearer"})
        running.answer(token.encode(), path="^/token$")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        monkeypatch.setenv("GCS_CREDENTIALS", json.dumps(account))
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        admin(emulator).create_bucket("results")
        yield running
        admin(emulator).bucket("results").delete(force=True)


def admin(emulator: str) -> storage.Client:
    options = {"api_endpoint": emulator}
    return storage.Client(project="shelf", credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "rows.parquet").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "card.md").write_text("# Card\n")
    return {"data/rows.parquet": tmp_path / "rows.parquet", "card.md": tmp_path / "card.md"}


def stopped(call: Callable[[], object], code: int) -> str:
    with pytest.raises(exits.Stop) as stop:
        call()
    assert stop.value.code == code
    assert "PRIVATE KEY" not in str(stop.value) + repr(stop.value.__cause__)
    assert "canary" not in str(stop.value)
    return str(stop.value)


def content(proxy: Flaky, name: str) -> bytes:
    return admin(proxy.upstream.geturl()).bucket("results").blob(f"run/1/{name}").download_as_bytes()


def uploads(proxy: Flaky) -> int:
    return sum(path.startswith("/upload/") for _, path, _ in proxy.requests)


def test_stored_and_looked_at(proxy: Flaky, files: dict[str, Path]) -> None:
    assert gcs.persist_in_gcs(PLACE, files, gcs.open_gcs(PLACE)) == "gs://results/run/1"
    assert {name: content(proxy, name) for name in files} == {name: path.read_bytes() for name, path in files.items()}
    sent = [headers.get("authorization") for _, path, headers in proxy.requests if path.startswith("/upload/")]
    assert set(sent) == {"Bearer canary-access"}


def test_checking_writes_nothing(proxy: Flaky) -> None:
    gcs.open_gcs(PLACE)
    assert uploads(proxy) == 0


def test_sent_once(proxy: Flaky, files: dict[str, Path]) -> None:
    bucket = gcs.open_gcs(PLACE)
    gcs.persist_in_gcs(PLACE, files, bucket)
    before = uploads(proxy)
    gcs.persist_in_gcs(PLACE, files, bucket)
    assert uploads(proxy) == before
    files["card.md"].write_text("# Another\n")
    gcs.persist_in_gcs(PLACE, files, bucket)
    assert uploads(proxy) > before
    assert content(proxy, "card.md") == b"# Another\n"


@pytest.mark.parametrize("fault", [500, 503, 429, "reset", "lost"])
def test_a_write_that_fails_once(proxy: Flaky, files: dict[str, Path], fault: str | int) -> None:
    bucket = gcs.open_gcs(PLACE)
    proxy.fail(fault, path="^/upload/")
    gcs.persist_in_gcs(PLACE, files, bucket)
    assert {name: content(proxy, name) for name in files} == {name: path.read_bytes() for name, path in files.items()}


def test_what_cannot_be_stored_stays(proxy: Flaky, files: dict[str, Path]) -> None:
    bucket = gcs.open_gcs(PLACE)
    proxy.fail(403, path="^/upload/", times=99)
    said = stopped(lambda: gcs.persist_in_gcs(PLACE, files, bucket), 6)
    assert f"it is in {files['card.md'].parent}" in said
    assert f"gcloud storage cp {files['data/rows.parquet']} gs://results/run/1/data/rows.parquet && gcloud" in said


def test_no_such_bucket(proxy: Flaky) -> None:
    place = gcs.GcsPlace(bucket="nothing-here", prefix="")
    assert "there is no bucket nothing-here" in stopped(lambda: gcs.open_gcs(place), 2)


@pytest.mark.parametrize("status", [401, 403])
def test_an_account_that_may_not(proxy: Flaky, status: int) -> None:
    proxy.fail(status, path="/iam/testPermissions", times=99)
    assert "does not accept the service account" in stopped(lambda: gcs.open_gcs(PLACE), 3)


def test_an_account_with_too_few_rights(proxy: Flaky) -> None:
    proxy.answer(b'{"permissions": ["storage.objects.get"]}', path="/iam/testPermissions")
    assert "may not write to gs://results/run/1" in stopped(lambda: gcs.open_gcs(PLACE), 3)


def test_a_key_that_was_revoked(proxy: Flaky) -> None:
    proxy.fail(400, path="^/token$", times=99)
    assert "does not accept the service account" in stopped(lambda: gcs.open_gcs(PLACE), 3)


def test_nobody_listens(proxy: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs, "GCS_RETRY_S", 0.1)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    stopped(lambda: gcs.open_gcs(PLACE), 5)


def test_a_server_that_always_fails(proxy: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs, "GCS_RETRY_S", 0.1)
    proxy.fail(503, path="/iam/", times=99)
    stopped(lambda: gcs.open_gcs(PLACE), 5)


def test_the_key_may_lie_in_a_file(proxy: Flaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.json").write_text(os.environ["GCS_CREDENTIALS"])
    monkeypatch.delenv("GCS_CREDENTIALS")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    assert gcs.open_gcs(PLACE).name == "results"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no GCS_CREDENTIALS, needed to write to gs://results/run/1"),
        ("", "no GCS_CREDENTIALS"),
        ("canary", "is not the JSON of a service account"),
        ('{"type": "authorized_user", "refresh_token": "canary"}', "is not the JSON of a service account"),
        ('{"type": "service_account", "private_key": "canary"}', "does not accept the service account"),
    ],
)
def test_secrets_are_asserted_before_work(monkeypatch: pytest.MonkeyPatch, value: str | None, said: str) -> None:
    monkeypatch.delenv("GCS_CREDENTIALS", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    if value is not None:
        monkeypatch.setenv("GCS_CREDENTIALS", value)
    assert said in stopped(lambda: gcs.open_gcs(PLACE), 3)


@pytest.mark.parametrize(("given", "bucket", "prefix"), [("gs://abc", "abc", ""), ("gs://a_b.c/x/y/", "a_b.c", "x/y")])
def test_places(given: str, bucket: str, prefix: str) -> None:
    place = gcs.parse_gcs(given)
    assert (place.bucket, place.prefix) == (bucket, prefix)
    assert str(place) == given.rstrip("/")


@pytest.mark.parametrize("given", ["abc", "gs://", "gs://AB", "s3://abc", "gs://abc//x"])
def test_no_place(given: str) -> None:
    stopped(lambda: gcs.parse_gcs(given), 2)
