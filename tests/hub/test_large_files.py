"""Large files: by Xet and by LFS, and the signed URLs on the other origin."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi

from hub.contract import ADA, Answer, Ask, Python, ndjson
from jobshelf.hub import Hub

DATA = {"repo_id": "ada/data", "repo_type": "dataset"}
CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
UPLOAD = """
    import sys
    from huggingface_hub import HfApi
    api = HfApi()
    api.create_repo("ada/data", repo_type="dataset", exist_ok=True)
    api.upload_file(path_or_fileobj=sys.argv[1], path_in_repo=sys.argv[2], repo_id="ada/data", repo_type="dataset")
"""
BY_LFS = {"HF_HUB_DISABLE_XET": "1"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(CONTENT)
    return file


def location(ask: Ask, path: str = "a.parquet", **options: str) -> tuple[str, str]:
    """The origin and the path of the signed URL for a file of `ada/data`."""
    answer = ask("GET", f"/datasets/ada/data/resolve/main/{path}", **options)
    assert answer.status == 302
    parts = urlsplit(answer.headers["location"])
    return f"{parts.scheme}://{parts.netloc}", f"{parts.path}?{parts.query}"


@pytest.mark.parametrize("variables", [{}, BY_LFS], ids=["xet", "lfs"])
@pytest.mark.parametrize("path", ["a.parquet", "no-suffix"])
def test_upload_and_download(
    python: Python,
    login: dict[str, str],
    ada: HfApi,
    hub: Hub,
    source: Path,
    tmp_path: Path,
    variables: dict[str, str],
    path: str,
):
    python(UPLOAD, str(source), path, env=login | variables)
    asked = [entry.path for entry in hub.journal()]
    assert any("/xet-write-token/" in each for each in asked) == (not variables)
    assert any("/info/lfs/objects/batch" in each for each in asked) == bool(variables)
    (item,) = ada.get_paths_info("ada/data", path, repo_type="dataset")
    assert (item.lfs.sha256, item.lfs.size, item.size) == (SHA256, len(CONTENT), len(CONTENT))
    found = ada.hf_hub_download("ada/data", path, repo_type="dataset", cache_dir=tmp_path / "cache")
    assert Path(found).read_bytes() == CONTENT


@pytest.mark.parametrize("variables", [{}, BY_LFS], ids=["xet", "lfs"])
def test_the_same_content_is_not_sent_twice(
    python: Python, login: dict[str, str], ada: HfApi, hub: Hub, source: Path, variables: dict[str, str]
):
    python(UPLOAD, str(source), "a.parquet", env=login | variables)
    before = ada.dataset_info("ada/data").sha
    hub.clear_journal()
    python(UPLOAD, str(source), "a.parquet", env=login | variables)
    assert ada.dataset_info("ada/data").sha == before
    assert not any("/commit/" in entry.path or "/_lfs/" in entry.path for entry in hub.journal())


def test_two_uploads_of_one_process_both_arrive(ada: HfApi, tmp_path: Path):
    ada.create_repo(**DATA)
    for number in range(2):
        content = CONTENT + bytes([number])
        ada.upload_file(
            path_or_fileobj=content, path_in_repo=f"{number}.parquet", repo_id="ada/data", repo_type="dataset"
        )
    for number in range(2):
        found = ada.hf_hub_download("ada/data", f"{number}.parquet", repo_type="dataset", cache_dir=tmp_path / "cache")
        assert Path(found).read_bytes() == CONTENT + bytes([number])


def test_an_empty_parquet_is_a_small_file(ada: HfApi):
    ada.create_repo(**DATA)
    ada.upload_file(path_or_fileobj=b"", path_in_repo="empty.parquet", repo_id="ada/data", repo_type="dataset")
    (item,) = ada.get_paths_info("ada/data", "empty.parquet", repo_type="dataset")
    assert (item.size, item.lfs) == (0, None)


def test_the_token_does_not_follow_to_the_other_origin(
    python: Python, ada: HfApi, hub: Hub, source: Path, tmp_path: Path
):
    ada.create_repo(**DATA, private=True)
    python(UPLOAD, str(source), "a.parquet")
    hub.clear_journal()
    ada.hf_hub_download("ada/data", "a.parquet", repo_type="dataset", cache_dir=tmp_path / "cache")
    seen = [(entry.method, entry.host.partition(":")[0], entry.user, entry.status) for entry in hub.journal()]
    assert seen == [("HEAD", "127.0.0.1", "ada", 302), ("GET", "localhost", None, 200)]


def signed(ask: Ask, python: Python, source: Path) -> str:
    python(UPLOAD, str(source), "a.parquet")
    return location(ask)[1]


def test_the_signed_url_is_on_the_other_origin(ask: Ask, hub: Hub, python: Python, source: Path):
    python(UPLOAD, str(source), "a.parquet")
    port = hub.endpoint.rpartition(":")[2]
    assert location(ask)[0] == f"http://localhost:{port}"
    assert location(ask, Host=f"localhost:{port}")[0] == hub.endpoint


def test_the_signed_url_needs_no_token_and_takes_none(ask: Ask, python: Python, source: Path):
    url = signed(ask, python, source)
    assert ask("GET", url).body == CONTENT
    assert ask("GET", url, Range="bytes=100-199").body == CONTENT[100:200]
    assert ask("HEAD", url).headers["content-length"] == str(len(CONTENT))
    assert ask("GET", url, token=ADA.token).status == 400


@pytest.mark.parametrize(
    ("old", "new"),
    [("signature=", "signature=0"), ("expires=", "expires=9"), (SHA256, "0" * 64), ("/read/", "/write/")],
)
def test_a_changed_signed_url_is_refused(ask: Ask, python: Python, source: Path, old: str, new: str):
    url = signed(ask, python, source).replace(old, new)
    answer: Answer = ask("PUT", url.replace("a.parquet", ""), body=b"") if "/write/" in url else ask("GET", url)
    assert (answer.status, answer.body) == (403, b"This URL does not carry a valid signature")


def upload_url(ask: Ask, oid: str, size: int) -> str:
    body = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": size}]}
    answer = ask("POST", "/datasets/ada/data.git/info/lfs/objects/batch", token=ADA.token, body=body)
    parts = urlsplit(answer.json["objects"][0]["actions"]["upload"]["href"])
    return f"{parts.path}?{parts.query}"


@pytest.mark.parametrize("sent", [b"other", b"", CONTENT + b"more", CONTENT[:-1]])
def test_an_upload_must_be_what_it_was_announced_as(ask: Ask, ada: HfApi, sent: bytes):
    ada.create_repo(**DATA)
    url = upload_url(ask, SHA256, len(CONTENT))
    assert ask("PUT", url, body=sent).status == 400
    verify = {"oid": SHA256, "size": len(CONTENT)}
    assert ask("POST", "/datasets/ada/data.git/info/lfs/verify", token=ADA.token, body=verify).status == 404
    assert ask("PUT", url, body=CONTENT).status == 200
    assert ask("POST", "/datasets/ada/data.git/info/lfs/verify", token=ADA.token, body=verify).status == 200


def test_a_broken_xet_upload_is_refused(ask: Ask, ada: HfApi):
    ada.create_repo(**DATA)
    for shard in (b"not a shard", b"\x00" * 500):
        address = ask("GET", "/api/datasets/ada/data/xet-write-token/main", token=ADA.token).json["casUrl"]
        folder = Path(address.removeprefix("local://")) / "xet" / "xorbs" / "shards"
        folder.mkdir(parents=True)
        (folder / "broken.mdb").write_bytes(shard)
        line = {"key": "lfsFile", "value": {"path": "a.bin", "oid": SHA256, "size": len(CONTENT)}}
        body = ndjson({"key": "header", "value": {"summary": "broken"}}, line)
        answer = ask("POST", "/api/datasets/ada/data/commit/main", token=ADA.token, body=body)
        assert answer.status == 400


@pytest.mark.parametrize("shard", [b"half a sh", b""])
def test_an_upload_that_another_client_is_still_sending_is_passed_over(ask: Ask, ada: HfApi, hub: Hub, shard: bytes):
    ada.create_repo(**DATA)
    for _ in range(3):  # whichever the Hub looks at first
        address = ask("GET", "/api/datasets/ada/data/xet-write-token/main", token=ADA.token).json["casUrl"]
        folder = Path(address.removeprefix("local://")) / "xet" / "xorbs" / "shards"
        folder.mkdir(parents=True)
        (folder / "half.mdb").write_bytes(shard)
    ada.upload_file(path_or_fileobj=CONTENT, path_in_repo="a.bin", **DATA)
    assert ada.file_exists(filename="a.bin", **DATA)


def test_a_large_file_goes_in_parts(python: Python, login: dict[str, str], hub: Hub, tmp_path: Path, ada: HfApi):
    content = CONTENT * 16
    (tmp_path / "large").write_bytes(content)
    # the first part has to be sent twice
    hub.fail(path="/_lfs/part/", kind="status", status=503)
    python(UPLOAD, str(tmp_path / "large"), "large.bin", env=login | BY_LFS)
    steps = [entry.path.split("/")[2:5:2] for entry in hub.journal() if entry.path.startswith("/_lfs/")]
    assert [(verb, number[:5]) for verb, number in steps] == [
        ("part", "00001"),
        ("part", "00001"),
        ("part", "00002"),
        ("part", "00003"),
        ("complete", steps[-1][1][:5]),
    ]
    found = ada.hf_hub_download("ada/data", "large.bin", repo_type="dataset", local_dir=tmp_path / "out")
    assert Path(found).read_bytes() == content
    assert list((tmp_path / "hub" / "parts").iterdir()) == []


def test_parts_that_do_not_make_the_file_are_refused(ask: Ask, ada: HfApi):
    ada.create_repo("ada/data", repo_type="dataset")
    size = 20_000_000
    body = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [{"oid": SHA256, "size": size}]}
    batch = ask("POST", "/datasets/ada/data.git/info/lfs/objects/batch", token=ADA.token, body=body)
    upload = batch.json["objects"][0]["actions"]["upload"]
    assert sorted(upload["header"]) == ["00001", "00002", "00003", "chunk_size"]
    part = "/_lfs" + upload["header"]["00001"].partition("/_lfs")[2]
    sent = ask("PUT", part, body=CONTENT)
    assert (sent.status, sent.headers["etag"]) == (200, f'"{SHA256}"')
    assert ask("PUT", part.replace("/00001", "/00002"), body=CONTENT).status == 403
    assert ask("PUT", part, body=b"x" * (8 << 20) + b"x").status == 400
    completion = "/_lfs" + upload["href"].partition("/_lfs")[2]
    etags = [{"partNumber": 1, "etag": SHA256}]
    assert "expected 20000000" in ask("POST", completion, body={"parts": etags}).body.decode()
    etags.append({"partNumber": 2, "etag": SHA256})
    assert "Part 2 of" in ask("POST", completion, body={"parts": etags}).body.decode()
