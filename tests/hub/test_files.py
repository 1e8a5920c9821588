"""Contents: resolve and raw, ranges, and the programs that read a URL: uv, polars, HfFileSystem."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

from hub.contract import ADA, Ask
from jobshelf.hub import Hub
from support import BIN

DATA = {"repo_id": "ada/data", "repo_type": "dataset"}
SCRIPT = b'# /// script\n# requires-python = ">=3.11"\n# ///\nimport sys\nprint("sentinel", sys.argv[1:])\n'
TABLE = pl.DataFrame({"id": range(20_000), "text": [f"row {number}" for number in range(20_000)]})


@pytest.fixture(scope="module")
def hub(shared_hub: Hub) -> Hub:
    return shared_hub


@pytest.fixture(scope="module", autouse=True)
def head(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A public dataset with a script, a parquet file, a name that needs quoting and the tag v1; the commit's id."""
    api = HfApi(endpoint=hub.endpoint, token=ADA.token)
    api.create_repo(**DATA)
    table = tmp_path_factory.mktemp("table") / "table.parquet"
    TABLE.write_parquet(table)
    operations = [
        CommitOperationAdd("x.py", SCRIPT),
        CommitOperationAdd("a b/ä#?.txt", b"quoted"),
        CommitOperationAdd("data/table.parquet", table),
    ]
    oid = api.create_commit(**DATA, operations=operations, commit_message="fill").oid
    api.create_tag(**DATA, tag="v1")
    return oid


def test_download(ada: HfApi, tmp_path: Path, head: str):
    for path, content in (("x.py", SCRIPT), ("a b/ä#?.txt", b"quoted")):
        found = ada.hf_hub_download("ada/data", path, repo_type="dataset", revision=head, cache_dir=tmp_path / "cache")
        assert Path(found).read_bytes() == content


def test_typed_errors(ada: HfApi, tmp_path: Path):
    with pytest.raises(RemoteEntryNotFoundError):
        ada.hf_hub_download("ada/data", "gone.txt", repo_type="dataset", cache_dir=tmp_path / "cache")
    with pytest.raises(RemoteEntryNotFoundError):
        ada.hf_hub_download("ada/data", "data", repo_type="dataset", cache_dir=tmp_path / "cache")
    with pytest.raises(RevisionNotFoundError):
        ada.hf_hub_download("ada/data", "x.py", repo_type="dataset", revision="v9", cache_dir=tmp_path / "cache")


def test_headers_of_a_small_file(ask: Ask, head: str):
    answer = ask("HEAD", "/datasets/ada/data/resolve/main/x.py")
    assert answer.headers["x-repo-commit"] == head
    assert answer.headers["content-length"] == str(len(SCRIPT))
    assert answer.headers["etag"].strip('"') == next(
        item["oid"] for item in ask("GET", "/api/datasets/ada/data/tree/main").json if item["path"] == "x.py"
    )


@pytest.mark.parametrize(
    ("value", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, SCRIPT[:4], f"bytes 0-3/{len(SCRIPT)}"),
        ("bytes=-4", 206, SCRIPT[-4:], f"bytes {len(SCRIPT) - 4}-{len(SCRIPT) - 1}/{len(SCRIPT)}"),
        ("bytes=5-", 206, SCRIPT[5:], f"bytes 5-{len(SCRIPT) - 1}/{len(SCRIPT)}"),
        ("bytes=9999-", 416, b"", f"bytes */{len(SCRIPT)}"),
    ],
)
def test_ranges(ask: Ask, value: str, status: int, body: bytes, content_range: str):
    answer = ask("GET", "/datasets/ada/data/resolve/main/x.py", Range=value)
    assert (answer.status, answer.body, answer.headers["content-range"]) == (status, body, content_range)


def test_raw_is_what_git_has(ask: Ask):
    assert ask("GET", "/datasets/ada/data/raw/main/x.py").body == SCRIPT
    pointer = ask("GET", "/datasets/ada/data/raw/main/data/table.parquet").body
    assert pointer.startswith(b"version https://git-lfs.github.com/spec/v1\noid sha256:")


def test_errors_of_files_are_plain_text(ask: Ask):
    for path in ("/datasets/ada/data/resolve/main/gone.py", "/datasets/ada/gone/resolve/main/x.py"):
        answer = ask("GET", path)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        with pytest.raises(SyntaxError):
            compile(answer.body, path, "exec")
    assert ask("GET", "/api/datasets/ada/gone").headers["content-type"] == "application/json"


def test_snapshot_download(ada: HfApi, tmp_path: Path):
    folder = Path(ada.snapshot_download(**DATA, cache_dir=tmp_path / "cache"))
    assert (folder / "x.py").read_bytes() == SCRIPT
    assert pl.read_parquet(folder / "data" / "table.parquet").equals(TABLE)


def test_hf_file_system_reads_ranges(hub: Hub):
    files = HfFileSystem(endpoint=hub.endpoint, token=ADA.token, skip_instance_cache=True)
    with files.open("datasets/ada/data/x.py", "rb") as stream:
        stream.seek(2)
        assert stream.read(10) == SCRIPT[2:12]
    assert files.glob("datasets/ada/data/**/*.parquet") == ["datasets/ada/data/data/table.parquet"]
    with files.open("datasets/ada/data/data/table.parquet", "rb") as stream:
        assert pl.read_parquet(stream, columns=["id"]).height == TABLE.height


def test_polars_scans_the_signed_url(ask: Ask):
    url = ask("GET", "/datasets/ada/data/resolve/main/data/table.parquet").headers["location"]
    found = pl.scan_parquet(url).filter(pl.col("id") == 12_345).select("text").collect()
    assert found.item() == "row 12345"


def uv_run(url: str, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [BIN / "uv", "run", "--no-project", url, *arguments]
    return subprocess.run(argv, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("where", ["resolve/main", "raw/main", "resolve/{head}", "resolve/v1"])
def test_uv_runs_a_url(hub: Hub, environment: dict[str, str], head: str, where: str):
    done = uv_run(f"{hub.endpoint}/datasets/ada/data/{where.format(head=head)}/x.py", environment, "a", "b")
    assert (done.returncode, done.stdout) == (0, "sentinel ['a', 'b']\n"), done.stderr


@pytest.mark.parametrize("path", ["data/resolve/main/gone.py", "gone/resolve/main/x.py", "data/resolve/v9/x.py"])
def test_uv_fails_on_a_url_that_is_not_there(hub: Hub, environment: dict[str, str], path: str):
    done = uv_run(f"{hub.endpoint}/datasets/ada/{path}", environment)
    assert done.returncode != 0
    assert "sentinel" not in done.stdout
