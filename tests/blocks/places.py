"""Every place that keeps files, with its real client: a folder, the embedded Hub, S3 and GCS."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from huggingface_hub import HfFileSystem

from blocks.writer import parse, work
from support import TOKEN


class Place:
    """One place: its name on the command line, and its files as its own client sees them."""

    def __init__(self, target: str, kind: str = "dataset") -> None:
        self.target, self.kind = target, kind
        self.put: Callable[[str, bytes], None]
        self.read: Callable[[], dict[str, bytes]]

    def work(self, *words: str, private: bool = False) -> Any:
        return work(parse([self.target, *words]), private=private, kind=self.kind)


def through(fs: Any, root: str) -> tuple[Callable[[str, bytes], None], Callable[[], dict[str, bytes]]]:
    def read() -> dict[str, bytes]:
        fs.invalidate_cache()
        names = fs.find(root)
        return {n[len(root) + 1 :]: fs.cat_file(n) for n in names if not n.endswith(".gitattributes")}

    return lambda name, data: fs.pipe_file(f"{root}/{name}", data), read


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name, value in {
        "ENDPOINT_URL": url,
        "DEFAULT_REGION": "us-east-1",
        "ACCESS_KEY_ID": "x",
        "SECRET_ACCESS_KEY": TOKEN,
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="results")
    yield url
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
    server.stop()


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import gcsfs
    from gcp_storage_emulator.server import create_server
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    url = f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    gcsfs.GCSFileSystem.clear_instance_cache()
    credentials = AnonymousCredentials()
    storage.Client(project="x", credentials=credentials, client_options={"api_endpoint": url}).create_bucket("results")
    yield url
    server.stop()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place that the test is marked with; a file beside it must survive everything."""
    monkeypatch.chdir(tmp_path)
    kind = request.param
    if kind == "folder":
        made = Place("./out dir")
        made.put, made.read = through(fsspec.filesystem("file", auto_mkdir=True), str(tmp_path / "out dir"))
        return made
    if kind in {"s3", "gcs"}:
        request.getfixturevalue({"s3": "moto"}.get(kind, kind))
        made = Place(f"{ {'s3': 's3', 'gcs': 'gs'}[kind] }://results/run 1")
        made.put, made.read = through(fsspec.url_to_fs(made.target)[0], "results/run 1")
        return made
    request.getfixturevalue("here")
    target, root, of = {
        "dataset": ("alice/out", "datasets/alice/out", "dataset"),
        "model": ("alice/out", "alice/out", "model"),
        "bucket": ("hf://buckets/alice/out/run 1", "buckets/alice/out/run 1", "dataset"),
    }[kind]
    made = Place(target, of)
    made.put, made.read = through(HfFileSystem(), root)
    return made
