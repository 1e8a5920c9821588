"""The promise of the shelf: both scripts, from their URLs, in every way there is, end with the right result.

Asserted by content, never by exit code alone: `uv run <URL>` runs an error body without complaint.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess

import polars as pl
import pytest
from huggingface_hub import CommitOperationAdd

from jobshelf.forms import script_url
from jobshelf.hub import Account, serve
from jobshelf.publish import publish
from jobshelf.sample_data import documents
from jobshelf.shelf import find_shelf
from support import BIN, ROOT, TOKEN

ROWS = 600
TAG = "v0.0.1"
WAYS = ("main", "commit", "tag", "hf jobs uv run", "run_uv_job")


@pytest.fixture(scope="module")
def shelf_on_hub(tmp_path_factory):
    """The real shelf, published and tagged on a Hub that also holds two data sets; (hub, client, commit)."""
    from huggingface_hub import HfApi

    root = tmp_path_factory.mktemp("by-url")
    with serve(root / "hub", accounts=(Account(name="alice", token=TOKEN, orgs=("jobshelf",)),)) as hub:
        client = HfApi(endpoint=hub.endpoint, token=TOKEN)
        done = publish(find_shelf(ROOT), client)
        # Not a release: that needs fresh rehearsals of all scripts, which is another question than whether they run.
        client.create_tag("jobshelf/scripts", tag=TAG, revision=done.commit, repo_type="dataset")
        put(client, "alice/finepdfs", {f"data/eng_Latn/train/{n:03d}.parquet": part for n, part in enumerate(parts())})
        yield hub, client, done
        # What all runs above left behind: outputs are looked at where they are read, here is the rest.
        assert TOKEN not in repr(hub.journal())
    kept = [path for path in (root / "hub").rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite3" for path in kept)
    assert [path for path in kept if TOKEN.encode() in path.read_bytes()] == []


def parts() -> list[bytes]:
    table = pl.DataFrame(list(documents(ROWS)), infer_schema_length=None)
    written = []
    for start in (0, ROWS // 2):
        buffer = io.BytesIO()
        table.slice(start, ROWS // 2).write_parquet(buffer)
        written.append(buffer.getvalue())
    return written


def put(client, repo, files):
    client.create_repo(repo, repo_type="dataset")
    adds = [CommitOperationAdd(path, data) for path, data in files.items()]
    client.create_commit(repo, adds, commit_message="rows", repo_type="dataset")


@pytest.fixture
def start(shelf_on_hub, environment):
    """`start(way, file, *arguments) -> output`: run a script of the shelf from its URL."""
    hub, client, done = shelf_on_hub
    env = environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}

    def local(revision, file, *arguments):
        return ["uv", "run", script_url("jobshelf/scripts", file, revision=revision, endpoint=hub.endpoint), *arguments]

    def run(way, file, *arguments):
        if way == "run_uv_job":
            return by_api(file, *arguments)
        url = script_url("jobshelf/scripts", file, endpoint=hub.endpoint)
        argv = {
            "main": local("main", file, *arguments),
            "commit": local(done.commit, file, *arguments),
            "tag": local(TAG, file, *arguments),
            "hf jobs uv run": [BIN / "hf", "jobs", "uv", "run", "--secrets", "HF_TOKEN", "--", url, *arguments],
        }[way]
        ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert TOKEN not in ended.stdout + ended.stderr
        return ended.stdout

    def by_api(file, *arguments):
        url = script_url("jobshelf/scripts", file, endpoint=hub.endpoint)
        job = client.run_uv_job(url, script_args=list(arguments), secrets={"HF_TOKEN": TOKEN})
        lines = list(client.fetch_job_logs(job_id=job.id, follow=True))
        assert client.inspect_job(job_id=job.id).status.stage == "COMPLETED", lines
        assert not any(TOKEN in line for line in lines)
        return "\n".join(lines)

    return run


@pytest.mark.parametrize("way", WAYS)
def test_the_inspector_gives_its_verdict(start, shelf_on_hub, real_rows, way):
    _, client, _ = shelf_on_hub
    repo = f"alice/questions-{WAYS.index(way)}"
    lines = "".join(json.dumps(row) + "\n" for row in real_rows("gsm8k_test"))
    put(client, repo, {"test.jsonl": lines.encode()})
    output = start(way, "dataset_inspector.py", repo, "--split", "test", "--json")
    verdicts = {verdict["method"]: verdict for verdict in report_in(output)["methods"]}
    assert verdicts["SFT"]["status"] == "NEEDS MAPPING"
    assert "'question'" in verdicts["SFT"]["mapping"] and "'answer'" in verdicts["SFT"]["mapping"]
    assert verdicts["DPO"]["status"] == "INCOMPATIBLE"


def report_in(output: str) -> dict:
    """Return the inspector's JSON object; the clients print lines of their own around it."""
    starts = (match.start() for match in re.finditer(r"^\{", output, re.MULTILINE))
    objects = (json.JSONDecoder().raw_decode(output, start)[0] for start in starts)
    return next(found for found in objects if "methods" in found)


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.parametrize("way", WAYS)
def test_the_statistics_are_persisted_and_right(start, shelf_on_hub, tmp_path, way):
    _, client, _ = shelf_on_hub
    repo = f"alice/stats-{WAYS.index(way)}"
    start(way, "finepdfs-stats.py", "alice/finepdfs", repo)
    folder = tmp_path / "result"
    client.snapshot_download(repo, repo_type="dataset", local_dir=folder)
    shutil.rmtree(folder / ".cache")
    tables = [pl.read_parquet(path) for path in folder.rglob("*.parquet")]
    per_dump = next(table for table in tables if "dump" in table.columns)
    expected = (
        pl.DataFrame(list(documents(ROWS)), infer_schema_length=None)
        .group_by("dump")
        .agg(docs=pl.len(), tokens=pl.col("token_count").sum())
    )
    counted = {row[0]: row[1:] for row in expected.iter_rows()}
    assert per_dump.height == len(counted)
    for row in per_dump.iter_rows(named=True):
        assert set(counted[row["dump"]]) <= set(row.values()), row
    card = (folder / "README.md").read_text()
    assert "jobshelf" in card and "alice/finepdfs" in card
    assert TOKEN not in card
