"""Fixtures for the tests of Jobs: a published shelf, a script that can be cut into shards, and what Jobs left."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from jobs.helpers import Shards
from jobshelf.blocks import block_folder, list_blocks
from jobshelf.index import load_index
from jobshelf.jobs import Target, find_target
from jobshelf.publish import publish
from jobshelf.shelf import find_shelf
from support import ROOT, TOKEN


@pytest.fixture(autouse=True)
def at_home(hub, monkeypatch):
    """The environment of somebody who is logged in to the embedded Hub."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def published(make_shelf, client):
    """A shelf with one script, on the Hub that the environment names."""
    shelf = make_shelf({"hello": "1"})
    publish(shelf, client)
    return shelf


@pytest.fixture
def hello(published) -> Target:
    return find_target("hello", published, load_index(published))


@pytest.fixture
def script_of(tmp_path) -> Callable[..., Target]:
    """`script_of("print(1)", table='flavor = "t4-small"')`: a file with that body and launch table, as a target."""

    def make(body: str, *, table: str = "", name: str = "work", header: str = "") -> Target:
        lines = ['requires-python = ">=3.11"', "dependencies = []", *header.splitlines()]
        lines += ["[tool.hf-jobs]", *table.splitlines()] if table else []
        path = tmp_path / f"{name}.py"
        path.write_text("\n".join(["# /// script", *(f"# {line}" for line in lines), "# ///", body, ""]))
        return find_target(str(path), find_shelf(ROOT), load_index(find_shelf(ROOT)))

    return make


@pytest.fixture(scope="session")
def shardable(tmp_path_factory) -> Path:
    """A script with parts of two rows, to which the folder that WHIMS names can do things.

    Each start of a shard leaves a file there; the files `kill-N`, `fail-N` and `hold` kill a shard, fail it, or let all wait.
    """
    path = tmp_path_factory.mktemp("shardable") / "square.py"
    blocks = list_blocks(block_folder())
    names = ("read_rows", "run_identity", "require_write", "Output", "retrying", "stop")
    start, end = (Path(__file__).parent / "square.py.txt").read_text(encoding="utf-8").split("# shared functions\n")
    path.write_text(start + "\n\n\n".join([*(blocks[name].text for name in names), end]), encoding="utf-8")
    return path


@pytest.fixture
def shards(shardable, client, hub, tmp_path, request) -> Shards:
    """The shardable script, and an input for it: of 24 rows, 128 for a sweep."""
    rows = 128 if request.node.get_closest_marker("sweep") else 24
    client.create_repo("alice/numbers", repo_type="dataset")
    stream = io.BytesIO()
    pl.DataFrame({"number": range(rows)}).write_parquet(stream)
    client.upload_file(
        path_or_fileobj=stream.getvalue(), path_in_repo="data.parquet", repo_id="alice/numbers", repo_type="dataset"
    )
    whims = tmp_path / "whims"
    whims.mkdir()
    return Shards(script=shardable, whims=whims, count=rows, client=client, hub=hub)
