"""`find_model` and `fetch_model`: a model of the embedded Hub, and a local folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from blocks.shared import Stopped, block
from jobshelf.hub import Hub
from support import READ_TOKEN

models = block("find_model")


@pytest.fixture
def model(client: HfApi) -> str:
    client.create_repo("alice/tiny", private=True)
    return client.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="alice/tiny").oid


def folder(place: Path) -> Path:
    (place / "deep").mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "deep" / "model.bin").write_bytes(b"1")
    return place


def test_a_model_of_the_hub(here: Hub, model: str, client: HfApi) -> None:
    assert models.find_model("alice/tiny", None) == (model, True)
    newer = client.upload_file(path_or_fileobj=b"[]", path_in_repo="config.json", repo_id="alice/tiny").oid
    assert models.find_model("alice/tiny", None) == (newer, True)
    assert models.find_model("alice/tiny", model) == (model, True)
    fetched = models.fetch_model("alice/tiny", model)
    assert (fetched / "config.json").read_bytes() == b"{}"


def test_a_public_model(here: Hub, client: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_repo("alice/open")
    monkeypatch.setenv("HF_TOKEN", "")
    assert models.find_model("alice/open", "main")[1] is False


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, private = models.find_model(str(folder(tmp_path / "a")), None)
    assert (private, len(first)) == (False, 64)
    assert models.find_model(str(folder(tmp_path / "b")), None)[0] == first
    assert models.fetch_model(str(tmp_path / "a"), first) == tmp_path / "a"
    (tmp_path / "a" / "deep" / "model.bin").rename(tmp_path / "a" / "deep" / "other.bin")
    assert models.find_model(str(tmp_path / "a"), None)[0] != first
    (tmp_path / "b" / "deep" / "model.bin").write_bytes(b"2")
    assert models.find_model(str(tmp_path / "b"), None)[0] != first
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models.fetch_model("~/a", "") == tmp_path / "a"


@pytest.mark.parametrize("source", ["./missing", "/no/such", "a/b/c", "alice/tiny model"])
def test_neither(source: str, here: Hub, stopped: Stopped) -> None:
    said = stopped(lambda: models.find_model(source, None), 4)
    assert f"{source} is neither a local folder nor a Hub model" in said


@pytest.mark.parametrize(("token", "code"), [(READ_TOKEN, 4), ("hf_wrong", 4), ("", 3)])
def test_missing_or_not_to_be_seen(
    token: str, code: int, here: Hub, stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert "the Hub answered 40" in stopped(lambda: models.find_model("stranger/tiny", None), code)


def test_a_revision_that_is_missing(here: Hub, model: str, stopped: Stopped) -> None:
    assert "the Hub answered 404 for alice/tiny" in stopped(lambda: models.find_model("alice/tiny", "v9"), 4)


def test_a_failure_that_passes(here: Hub, model: str, pauses: list[float]) -> None:
    here.fail(path="/api/models/alice/tiny", status=503, times=2)
    assert models.find_model("alice/tiny", None) == (model, True)
    here.fail(path="/resolve/", kind="reset", times=1)
    assert (models.fetch_model("alice/tiny", model) / "config.json").read_bytes() == b"{}"


def test_a_large_file_is_not_held_in_memory_for_its_digest(tmp_path: Path) -> None:
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(2 << 30)
    program = f"""
from pathlib import Path
from blocks.shared import block
found = block("find_model").find_model({str(tmp_path)!r}, None)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert int(done.stdout) < 500_000, done.stderr
