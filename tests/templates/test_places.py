"""Kinds by places: what a script from the templates keeps in a bucket, on S3 and GCS, and behind a web address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from typing import Any

import fsspec
import polars as pl
import pytest
from huggingface_hub import HfFileSystem

from blocks.places import gcs, moto  # noqa: F401 -- fixtures
from support import TOKEN
from templates.conftest import ROWS, Run, jsonl, put
from templates.test_runs import LENGTHS, without_vllm

pytestmark = [pytest.mark.heavy, pytest.mark.data, pytest.mark.timeout(400)]
Files = Callable[[], dict[str, bytes]]
PLACES = ("hub-dataset", "bucket", "s3", "gcs", "http")


@pytest.fixture
def posts() -> Iterator[tuple[str, dict[str, bytes]]]:
    """(address, what was posted to it by the name that came along)."""
    received: dict[str, bytes] = {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received[self.headers["X-File-Name"]] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/in", received
        server.shutdown()


@pytest.fixture
def place(request: pytest.FixtureRequest, hub: Any) -> tuple[str, dict[str, str], Files]:
    """A place of the marked kind: (OUTPUT, the variables that a script needs, the files there by name)."""
    kind = request.param
    if kind == "http":
        address, received = request.getfixturevalue("posts")
        return address, {}, lambda: received
    if kind in {"hub-dataset", "bucket"}:
        target, root = {
            "hub-dataset": ("alice/out", "datasets/alice/out"),
            "bucket": ("hf://buckets/alice/bucket/run 1", "buckets/alice/bucket/run 1"),
        }[kind]
        fs = HfFileSystem(endpoint=hub.endpoint, token=TOKEN, skip_instance_cache=True)
        return target, {}, lambda: contents(fs, root)
    url = request.getfixturevalue({"s3": "moto", "gcs": "gcs"}[kind])
    if kind == "s3":
        given = {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
        given |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": TOKEN}
        return "s3://results/run 1", given, lambda: contents(fsspec.filesystem("s3"), "results/run 1")
    given = {"STORAGE_EMULATOR_HOST": url, "GCS_CREDENTIALS": '"anon"'}
    given["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # the emulator does not speak gRPC
    return "gs://results/run 1", given, lambda: contents(fsspec.filesystem("gs"), "results/run 1")


def contents(fs: Any, root: str) -> dict[str, bytes]:
    fs.invalidate_cache()
    names = (name for name in fs.find(root) if not name.endswith(".gitattributes"))
    return {name[len(root) + 1 :]: fs.cat_file(name) for name in names}


def rows_of(files: dict[str, bytes]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(BytesIO(files[name])) for name in sorted(files) if name.endswith(".parquet")])


@pytest.fixture
def twice(
    here: Run, by_url: Run, client: Any, hub_environment: dict[str, str], place: tuple[str, dict[str, str], Files]
) -> Callable[..., dict[str, bytes]]:
    """Run a script from its file, and again from its URL, which changes nothing; return what is there."""
    target, given, files = place
    login = {name: hub_environment[name] for name in ("HF_ENDPOINT", "HF_TOKEN")}

    def run(text: str, source: str, *words: str) -> dict[str, bytes]:
        here(text, source, target, *words, **login, **given)
        first = dict(files())
        by_url(text, source, target, *words, **given)
        assert files() == first
        return first

    return run


@pytest.mark.parametrize("place, persistence", [(name, name) for name in PLACES], indirect=["place"])
def test_rows(script, twice, client, persistence):
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)})
    token = "write" if persistence in {"hub-dataset", "bucket"} else "none"
    files = twice(script(kind="dataset", persistence=persistence, token=token), "alice/rows", "--part-rows", "2")
    parts = {f"data/train-{start:08d}.parquet" for start in (0, 2, 4)}
    assert files.keys() == (parts if persistence == "http" else parts | {"README.md", "run.json"})
    rows = rows_of(files)
    assert rows["characters"].to_list() == LENGTHS
    assert rows["text"].to_list() == [row["text"] for row in ROWS]


@pytest.mark.parametrize("place, persistence", [(name, name) for name in PLACES], indirect=["place"])
def test_answers(script, twice, client, persistence):
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)})
    token = "write" if persistence in {"hub-dataset", "bucket"} else "none"
    text = without_vllm(script(kind="inference", persistence=persistence, token=token))
    rows = rows_of(twice(text, "alice/rows", "--model", "m", "--part-rows", "3", "--seed", "7"))
    said = [f"Please answer: row {number}! {7 + number}" for number in range(5)]
    assert rows["response"].to_list() == [*said[:3], "", said[4]]


@pytest.mark.parametrize("place, persistence", [(name, name) for name in PLACES[1:]], indirect=["place"])
def test_files(script, twice, client, persistence):
    put(client, "alice/model", {"config.json": b"{}", "weights.bin": b"12345"}, "model")
    token = "write" if persistence == "bucket" else "none"
    files = twice(script(kind="artifact", persistence=persistence, token=token), "alice/model")
    assert b"'config.json': 2" in files["sizes.txt"]
    assert files.keys() == ({"sizes.txt"} if persistence == "http" else {"sizes.txt", "README.md", "run.json"})
