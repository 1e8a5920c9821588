"""What other users of the machine can read of a Hub: nothing, whatever the umask and whatever was there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jobshelf.errors import EnvironmentFault
from jobshelf.hub import serve

WORK = """
import json, os, sys
from pathlib import Path
from huggingface_hub import CommitOperationAdd, HfApi
from jobshelf.hub import Account, serve
os.umask(0)
root = Path(sys.argv[1])
def open_to_others():
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.lstat().st_mode & 0o077)
with serve(root, accounts=[Account(name="ada", token="t")], tls=True) as hub:
    api = HfApi(endpoint=hub.endpoint, token="t")
    api.create_repo("ada/x", repo_type="dataset", private=True)
    files = [CommitOperationAdd("a.txt", b"small"), CommitOperationAdd("b.bin", b"large" * 100_000)]
    api.create_commit("ada/x", files, commit_message="put", repo_type="dataset")
    api.create_bucket("ada/b")
    api.batch_bucket_files("ada/b", add=[(b"content", "d/f.txt")])
    volumes = [{"type": "bucket", "source": "ada/b", "mountPath": "/data"}]
    command = ["sh", "-c", "mkdir made; echo hello > made/file; touch /data/ready; while [ -e /data/d/f.txt ]; do sleep 0.05; done"]
    import httpx2
    spec = {"command": command, "dockerImage": "x", "volumes": volumes, "flavor": "cpu-basic"}
    job = httpx2.post(f"{hub.endpoint}/api/jobs/ada", json=spec, headers={"Authorization": "Bearer t"}).json()["id"]
    while not (ready := [path for path in root.glob("running/*/volumes/0/ready")]):
        pass
    during = open_to_others()
    (ready[0].parent / "d" / "f.txt").unlink()
    api.wait_for_job(job, namespace="ada", poll_interval=0.05)
    after = open_to_others()
print(json.dumps([during, after, open_to_others()]))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "above" / "own"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_under_any_umask_nothing_is_open_to_others(root: Path, environment: dict[str, str]):
    argv = [sys.executable, "-c", textwrap.dedent(WORK), str(root)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout):
        # in there hf_xet writes by itself, and the client does; the folder around it is closed
        assert [path for path in found if not path.startswith("xet/")] == []
    assert (mode(root), mode(root / "xet"), mode(root.parent)) == (0o700, 0o700, 0o700)
    assert mode(root / "hub.sqlite3") == 0o600


def test_the_logs_beside_the_database_are_closed(root: Path):
    with serve(root):
        assert {mode(path) for path in root.glob("hub.sqlite3*")} == {0o600}
        assert len(list(root.glob("hub.sqlite3*"))) == 3


def test_what_was_open_to_others_is_closed(root: Path):
    with serve(root):
        (root / "jobs" / "1.jsonl").touch()
    (root / "jobs" / "program").touch()
    (root / "of-the-user").touch(mode=0o644)
    outside = root.parent / "outside"
    outside.touch()
    (root / "jobs" / "link").symlink_to(outside)
    for path in (root, *root.rglob("*")):
        path.chmod(0o777)
    with serve(root):
        assert mode(root) == 0o700
        kept = [root / "hub.sqlite3", root / "lock", root / "jobs" / "1.jsonl", root / "jobs" / "program"]
        assert {mode(path) for path in (*kept, root / "blobs" / "incoming")} == {0o700}
        # not the Hub's
        assert (mode(outside), mode(root / "of-the-user")) == (0o777, 0o777)


@pytest.fixture
def of_another(tmp_path: Path) -> Path:
    """A folder that anybody may write to; it is not this user's."""
    if os.geteuid() != 0:
        return Path("/tmp")
    folder = tmp_path / "other"
    folder.mkdir()
    folder.chmod(0o777)
    os.chown(folder, 12345, -1)
    return folder


def test_the_root_of_another_user_is_refused(of_another: Path):
    before = mode(of_another)
    with pytest.raises(EnvironmentFault, match="belongs to another user") as error, serve(of_another):
        pass
    assert error.value.fix == "choose another --root"
    assert mode(of_another) == before
    assert not (of_another / "lock").exists()
