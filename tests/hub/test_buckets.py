"""Buckets through the real client."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError

from hub.contract import ADA, Ask, ndjson
from jobshelf.hub import Hub

BUCKET = "ada/parts"
FILES = {
    "a.txt": b"one",
    "empty": b"",
    "logs/x/1.txt": b"two",
    "logs.txt": b"three",
    "big.bin": bytes(range(256)) * 900,
}


@pytest.fixture(autouse=True)
def bucket(ada: HfApi) -> None:
    ada.create_bucket(BUCKET, private=True)
    ada.batch_bucket_files(BUCKET, add=[(content, path) for path, content in FILES.items()])


def paths(api: HfApi, **where: object) -> list[str]:
    return [item.path for item in api.list_bucket_tree(BUCKET, **where)]


def read(api: HfApi, folder: Path, name: str = BUCKET) -> dict[str, bytes]:
    """Every file of a bucket, downloaded by Xet."""
    found = [item.path for item in api.list_bucket_tree(name, recursive=True)]
    api.download_bucket_files(name, [(path, folder / path) for path in found])
    return {path: (folder / path).read_bytes() for path in found}


def test_what_goes_in_comes_out(ada: HfApi, tmp_path: Path):
    assert read(ada, tmp_path / "out") == FILES


def test_info_and_list(ada: HfApi):
    info = ada.bucket_info(BUCKET)
    assert (info.id, info.private, info.total_files) == (BUCKET, True, len(FILES))
    assert info.size == sum(map(len, FILES.values()))
    ada.create_bucket("ada/other")
    assert [found.id for found in ada.list_buckets()] == ["ada/other", BUCKET]
    assert [found.id for found in ada.list_buckets(search="part")] == [BUCKET]


def test_tree(ada: HfApi):
    assert paths(ada, recursive=True) == sorted(FILES)
    assert paths(ada) == ["a.txt", "big.bin", "empty", "logs.txt", "logs"]
    assert paths(ada, prefix="logs") == ["logs.txt", "logs/x"]
    assert paths(ada, prefix="logs/", recursive=True) == ["logs/x/1.txt"]


def test_files_are_replaced_copied_and_deleted(ada: HfApi, tmp_path: Path):
    ada.batch_bucket_files(BUCKET, add=[(b"new", "a.txt")], delete=["empty", "never-there"])
    ada.create_bucket("ada/copy")
    ada.copy_files(f"hf://buckets/{BUCKET}/logs/", "hf://buckets/ada/copy/")
    assert read(ada, tmp_path / "one")["a.txt"] == b"new"
    assert "empty" not in paths(ada)
    assert read(ada, tmp_path / "two", "ada/copy") == {"x/1.txt": b"two"}


def test_exists_and_delete(ada: HfApi):
    with pytest.raises(HfHubHTTPError, match="already exists") as error:
        ada.create_bucket(BUCKET)
    assert error.value.response.status_code == 409
    assert ada.create_bucket(BUCKET, exist_ok=True).bucket_id == BUCKET
    ada.delete_bucket(BUCKET)
    with pytest.raises(BucketNotFoundError):
        ada.bucket_info(BUCKET)
    ada.delete_bucket(BUCKET, missing_ok=True)


def test_the_file_system_reads_a_bucket(hub: Hub):
    files = HfFileSystem(endpoint=hub.endpoint, token=ADA.token, skip_instance_cache=True)
    assert files.ls(f"buckets/{BUCKET}/logs", detail=False) == [f"buckets/{BUCKET}/logs/x"]
    with files.open(f"buckets/{BUCKET}/big.bin", "rb") as stream:
        stream.seek(1000)
        assert stream.read(5) == FILES["big.bin"][1000:1005]


def test_a_failed_operation_is_named_and_the_others_are_done(ask: Ask, ada: HfApi):
    (item,) = ada.get_bucket_paths_info(BUCKET, ["a.txt"])
    good = {"type": "addFile", "path": "b.txt", "xetHash": item.xet_hash, "mtime": 0}
    bad = {**good, "path": "../b.txt"}
    unknown = {**good, "path": "c.txt", "xetHash": "f" * 64}
    answer = ask("POST", f"/api/buckets/{BUCKET}/batch", token=ADA.token, body=ndjson(good, bad, unknown))
    assert (answer.status, [failure["path"] for failure in answer.json["failed"]]) == (200, ["../b.txt", "c.txt"])
    assert "b.txt" in paths(ada)
    assert "c.txt" not in paths(ada)
    assert ask("POST", f"/api/buckets/{BUCKET}/batch", token=ADA.token, body=ndjson(bad)).status == 422


def test_content_of_a_bucket_that_is_hidden_cannot_be_copied(ask: Ask, ada: HfApi, bob: HfApi):
    from hub.contract import BOB

    (item,) = ada.get_bucket_paths_info(BUCKET, ["a.txt"])
    bob.create_bucket("bob/theirs")
    line = {"type": "copyFile", "path": "a", "xetHash": item.xet_hash, "mtime": 0, "sourceRepoType": "bucket"}
    answer = ask(
        "POST", "/api/buckets/bob/theirs/batch", token=BOB.token, body=ndjson({**line, "sourceRepoId": BUCKET})
    )
    assert (answer.status, answer.json["failed"]) == (422, [{"path": "a", "error": "Repository not found"}])
