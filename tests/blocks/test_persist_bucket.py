"""Block `persist_bucket`: files reach a bucket of the embedded Hub through the real Xet client, or a mounted folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from blocks.flaky import flaky
from jobshelf import blocks
from jobshelf.hub import Hub
from support import READ_TOKEN, TOKEN

bucket, exits, retry = blocks.load("persist_bucket"), blocks.load("exits"), blocks.load("retry")
GIVEN = "hf://buckets/alice/results/run 1"


@pytest.fixture
def here(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(retry, "RETRY_FIRST_PAUSE_S", 0.001)
    return hub


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {"a.txt": b"one", "deep/b.bin": bytes(range(256)) * 5000, "empty": b""}
    for name, content in made.items():
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_bytes(content)
    return {name: tmp_path / "made" / name for name in made}


def stopped(call: Callable[[], object], code: int) -> str:
    with pytest.raises(exits.Stop) as stop:
        call()
    assert stop.value.code == code
    assert TOKEN not in str(stop.value)
    return str(stop.value)


def test_stored_listed_and_read_back(here: Hub, client: HfApi, files: dict[str, Path], tmp_path: Path) -> None:
    place = bucket.parse_bucket(GIVEN)
    token = bucket.open_bucket(place, dry_run=False)
    assert bucket.list_bucket(place, token) == {}
    assert bucket.persist_in_bucket(place, files, token) == GIVEN
    assert client.bucket_info("alice/results").private
    assert bucket.list_bucket(place, token) == {name: path.stat().st_size for name, path in files.items()}
    bucket.fetch_from_bucket(place, {name: tmp_path / "got" / name for name in files}, token)
    assert all((tmp_path / "got" / name).read_bytes() == path.read_bytes() for name, path in files.items())


def test_a_folder_with_a_longer_name_is_not_listed(here: Hub, files: dict[str, Path]) -> None:
    place, other = bucket.parse_bucket("hf://buckets/alice/results/run"), bucket.parse_bucket(GIVEN)
    token = bucket.open_bucket(other, dry_run=False)
    bucket.persist_in_bucket(other, files, token)
    assert bucket.list_bucket(place, token) == {}
    assert set(bucket.list_bucket(bucket.parse_bucket("hf://buckets/alice/results"), token)) == {
        f"run 1/{name}" for name in files
    }


def test_dry_run_creates_nothing(here: Hub) -> None:
    bucket.open_bucket(bucket.parse_bucket(GIVEN), dry_run=True)
    assert [request for request in here.journal() if request.method == "POST"] == []


@pytest.mark.parametrize(
    "given",
    [
        "results",
        "./out",
        "hf://datasets/a/b",
        "hf://buckets/alice",
        "hf://buckets/a/b/../c",
        "hf://buckets/a/b//c",
        "",
        "s3://a/b",
    ],
)
def test_no_bucket(given: str) -> None:
    assert "hf://buckets/user/name/folder" in stopped(lambda: bucket.parse_bucket(given), 2)


def test_refused(here: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = bucket.parse_bucket(GIVEN)
    here.fail(path="/api/buckets/", method="POST", status=402)
    assert "does not let this token create the bucket alice/results" in stopped(
        lambda: bucket.open_bucket(place, dry_run=False), 3
    )
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert "can only read" in stopped(lambda: bucket.open_bucket(place, dry_run=False), 3)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "no Hub token" in stopped(lambda: bucket.open_bucket(place, dry_run=False), 3)


@pytest.mark.parametrize("fault", [503, 429, "reset", "lost"])
def test_a_write_that_fails_once(
    here: Hub, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fault: str | int
) -> None:
    place = bucket.parse_bucket(GIVEN)
    token = bucket.open_bucket(place, dry_run=False)
    with flaky(here.endpoint) as proxy:
        monkeypatch.setattr(constants, "ENDPOINT", proxy.url)
        proxy.fail(fault, path="/batch$", method="POST", headers={"Retry-After": "0"})
        bucket.persist_in_bucket(place, files, token)
    assert len(bucket.list_bucket(place, token)) == 3


def test_what_cannot_be_stored_stays_and_the_command_stores_it(
    here: Hub, files: dict[str, Path], hub_environment: dict[str, str]
) -> None:
    place = bucket.parse_bucket(GIVEN)
    token = bucket.open_bucket(place, dry_run=False)
    here.fail(path="/batch$", method="POST", status=403)
    said = stopped(lambda: bucket.persist_in_bucket(place, files, token), 6)
    assert f"it is in {files['a.txt'].parent}" in said
    command = said.partition("Fix: ")[2]
    subprocess.run(["sh", "-c", command], env=hub_environment, check=True, capture_output=True, timeout=60)
    assert bucket.list_bucket(place, token) == {name: path.stat().st_size for name, path in files.items()}


def test_acknowledged_but_not_there(here: Hub, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    place = bucket.parse_bucket(GIVEN)
    token = bucket.open_bucket(place, dry_run=False)
    with flaky(here.endpoint) as proxy:
        monkeypatch.setattr(constants, "ENDPOINT", proxy.url)
        proxy.answer(b'{"success": true, "processed": 3, "succeeded": 3, "failed": []}', path="/batch$")
        said = stopped(lambda: bucket.persist_in_bucket(place, files, token), 6)
    assert "did not arrive whole" in said


def test_what_is_missing_cannot_be_read(here: Hub, tmp_path: Path) -> None:
    place = bucket.parse_bucket(GIVEN)
    token = bucket.open_bucket(place, dry_run=False)
    with pytest.raises(FileNotFoundError):
        bucket.fetch_from_bucket(place, {"nothing": tmp_path / "x"}, token)


def test_mounted_folder(files: dict[str, Path], tmp_path: Path) -> None:
    place = bucket.parse_bucket(str(tmp_path / "mount/out"))
    assert bucket.open_bucket(place, dry_run=True) is None
    assert not (tmp_path / "mount").exists()
    bucket.open_bucket(place, dry_run=False)
    assert bucket.persist_in_bucket(place, files, None) == str(tmp_path / "mount/out")
    assert bucket.list_bucket(place, None) == {name: path.stat().st_size for name, path in files.items()}
    assert (tmp_path / "mount/out/deep/b.bin").read_bytes() == files["deep/b.bin"].read_bytes()
    bucket.fetch_from_bucket(place, {"a.txt": tmp_path / "got/a.txt"}, None)
    assert (tmp_path / "got/a.txt").read_bytes() == b"one"


def test_what_others_are_writing_is_not_there_yet(files: dict[str, Path], tmp_path: Path) -> None:
    place = bucket.parse_bucket(str(tmp_path / "mount"))
    assert bucket.list_bucket(place, None) == {}
    bucket.put_in_bucket(place, files, None)
    (tmp_path / "mount/.a.txt.m6xftv_5.part").write_bytes(b"on")
    (tmp_path / "mount/a.part").write_bytes(b"a file of this name")
    whole = {name: path.stat().st_size for name, path in files.items()}
    assert bucket.list_bucket(place, None) == whole | {"a.part": 19}


def test_a_folder_that_another_run_clears_away_while_it_is_listed(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, scandir = bucket.parse_bucket(str(tmp_path / "mount")), os.scandir
    bucket.put_in_bucket(place, files, None)

    def cleared_just_then(path: os.PathLike[str]) -> object:
        if Path(path).name == "deep":
            Path(path).rename(tmp_path / "cleared")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", cleared_just_then)
    assert set(bucket.list_bucket(place, None)) == {"a.txt", "empty"}
    assert (tmp_path / "cleared").is_dir()


def test_nothing_is_mounted() -> None:
    place = bucket.parse_bucket("/not-a-mount/out")
    assert "nothing is mounted at /not-a-mount/out" in stopped(lambda: bucket.open_bucket(place, dry_run=False), 5)


def test_a_mount_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    place = bucket.parse_bucket(str(tmp_path / "file"))
    stopped(lambda: bucket.open_bucket(place, dry_run=False), 5)
    place = bucket.parse_bucket("/proc/out")
    assert "cannot be written to" in stopped(lambda: bucket.open_bucket(place, dry_run=False), 5)


def test_a_mount_that_breaks(files: dict[str, Path], tmp_path: Path) -> None:
    place = bucket.parse_bucket(str(tmp_path / "mount"))
    bucket.open_bucket(place, dry_run=False)
    (tmp_path / "mount/deep").write_text("a file where the folder would be")
    said = stopped(lambda: bucket.persist_in_bucket(place, files, None), 6)
    assert f"cp {files['a.txt']} {tmp_path}/mount/a.txt" in said
