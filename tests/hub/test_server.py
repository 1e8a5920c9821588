"""Starting, stopping, restarting, filling up."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from hub.contract import ACCOUNTS, ADA, Ask, commit_of
from jobshelf.errors import EnvironmentFault
from jobshelf.hub import Hub, serve

DATA = {"repo_id": "ada/data", "repo_type": "dataset"}
FOREVER = """
import sys
from pathlib import Path
from jobshelf.hub import Account, serve
with serve(Path(sys.argv[1]), accounts=[Account(name="ada", token="token-of-ada")]) as hub:
    print(hub.endpoint, flush=True)
    hub.run_forever()
print("stopped")
"""


def client(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=ADA.token)


def put(api: HfApi, content: bytes, path: str = "a.bin") -> str:
    operations = [CommitOperationAdd(path, content)]
    return api.create_commit(**DATA, operations=operations, commit_message="put").oid


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A Hub in a process of its own; its first line of output is the endpoint."""
    argv = [sys.executable, "-c", FOREVER, str(tmp_path / "own")]
    # a Hub that is killed leaves its Jobs' folders behind
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def test_an_idle_connection_outlives_the_pools_of_clients(tmp_path: Path):
    """They reuse one for five seconds; a server that ends it then answers some requests with a reset."""
    with serve(tmp_path / "root") as hub:
        idle = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"))
        idle.request("GET", "/")
        idle.getresponse().read()
        ended, _, _ = select.select([idle.sock], [], [], 5.5)
        assert not ended
        idle.request("GET", "/")
        assert idle.getresponse().status == 200
        idle.close()


def test_a_port_in_use_is_an_error_with_its_fix(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentFault, match=f"port {port} on 127.0.0.1") as error, serve(tmp_path, port=port):
            pass
    assert error.value.exit_code == 5
    assert error.value.fix == "stop what listens there, or choose another --port"


def test_two_hubs_do_not_share_a_folder(hub: Hub, tmp_path: Path):
    with pytest.raises(EnvironmentFault, match="another Hub is using"), serve(tmp_path / "hub"):
        pass


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot keep a Hub in"), serve(tmp_path / "file"):
        pass


def test_it_listens_on_loopback_only(hub: Hub):
    port = int(hub.endpoint.rpartition(":")[2])
    address = socket.gethostbyname(socket.gethostname())
    if not address.startswith("127."):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=5)
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


def test_a_restart_loses_nothing(tmp_path: Path):
    root = tmp_path / "own"
    with serve(root, accounts=ACCOUNTS) as hub:
        client(hub).create_repo(**DATA)
        put(client(hub), b"small", "a.txt")
        oid = put(client(hub), b"\x00" * 100_000)
        client(hub).create_tag(**DATA, tag="v1")
        client(hub).create_bucket("ada/b")
        client(hub).batch_bucket_files("ada/b", add=[(b"content", "f.txt")])
    with serve(root, accounts=ACCOUNTS) as hub:
        api = client(hub)
        assert api.dataset_info("ada/data", revision="v1").sha == oid
        assert (
            Path(api.hf_hub_download("ada/data", "a.bin", repo_type="dataset", local_dir=tmp_path)).stat().st_size
            == 100_000
        )
        assert (
            Path(api.hf_hub_download("ada/data", "a.txt", repo_type="dataset", local_dir=tmp_path)).read_text()
            == "small"
        )
        api.download_bucket_files("ada/b", [("f.txt", tmp_path / "f.txt")])
        assert (tmp_path / "f.txt").read_text() == "content"


def test_a_signed_url_survives_a_restart(tmp_path: Path):
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        client(hub).create_repo(**DATA)
        put(client(hub), b"\x00\x01")
        port = int(hub.endpoint.rpartition(":")[2])
        url = f"{hub.endpoint}/datasets/ada/data/resolve/main/a.bin"
        with urllib.request.urlopen(url) as response:
            signed = response.url
    with serve(tmp_path / "own", port=port, accounts=ACCOUNTS), urllib.request.urlopen(signed) as response:
        assert response.read() == b"\x00\x01"


def test_a_killed_hub_keeps_what_it_acknowledged(process: subprocess.Popen[str], tmp_path: Path):
    assert process.stdout is not None
    api = HfApi(endpoint=process.stdout.readline().strip(), token=ADA.token)
    api.create_repo(**DATA)
    oid = put(api, b"\x00kept")
    process.kill()
    process.wait()
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        assert client(hub).dataset_info("ada/data").sha == oid
        found = client(hub).hf_hub_download("ada/data", "a.bin", repo_type="dataset", local_dir=tmp_path)
        assert Path(found).read_bytes() == b"\x00kept"


def test_a_job_of_a_killed_hub_is_over_after_the_restart(process: subprocess.Popen[str], tmp_path: Path):
    assert process.stdout is not None
    api = HfApi(endpoint=process.stdout.readline().strip(), token=ADA.token)
    # one that has left its process group too
    command = ["sh", "-c", "setsid sleep 600 & echo $!; exec sleep 600"]
    job = api.run_job(image="x", command=command, namespace="ada")
    pid = next(line for line in api.fetch_job_logs(job_id=job.id, namespace="ada", follow=True) if line.isdigit())
    process.kill()
    process.wait()
    assert running(job.id) >= {int(pid)}
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        status = client(hub).inspect_job(job_id=job.id, namespace="ada").status
        assert (status.stage, status.message) == ("ERROR", "The Hub stopped while this Job ran")
        assert list(client(hub).fetch_job_logs(job_id=job.id, namespace="ada"))[1:] == [pid]
        assert running(job.id) == set()
        assert list((tmp_path / "own" / "running").iterdir()) == []


def running(job: str) -> set[int]:
    """The processes of a Job that are alive: their environment says whose they are."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\x00"):
                found.add(int(folder.name))
    return found


def test_the_state_of_another_version_is_refused(tmp_path: Path):
    with serve(tmp_path / "own"):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "own" / "hub.sqlite3")) as database:
        database.execute("PRAGMA user_version = 1")
    with pytest.raises(EnvironmentFault, match="another version of the embedded Hub"), serve(tmp_path / "own"):
        pass


def test_a_hub_that_is_killed_at_any_moment_loses_no_acknowledged_commit(tmp_path: Path):
    """21 kills in the middle of commits, small files and large ones by turns; then everything acknowledged is there."""
    acknowledged: list[tuple[str, str]] = []
    root = tmp_path / "own"
    with serve(root, accounts=ACCOUNTS) as hub:
        client(hub).create_repo(**DATA)
    for round_ in range(21):
        argv = [sys.executable, "-c", FOREVER, str(root)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            endpoint = process.stdout.readline().strip()
            timer = threading.Timer(0.012 * round_, process.kill)
            acknowledged += commit_until_it_dies(endpoint, round_, begun=timer.start)
            timer.join()
    assert len(acknowledged) >= 21
    with serve(root, accounts=ACCOUNTS) as hub:
        history = {commit.commit_id for commit in client(hub).list_repo_commits(**DATA)}
        assert {oid for oid, _ in acknowledged} <= history
        for _, path in acknowledged:
            with urllib.request.urlopen(f"{hub.endpoint}/datasets/ada/data/resolve/main/{path}") as response:
                assert response.read() == content_of(path)


def content_of(path: str) -> bytes:
    return f"content of {path}\n".encode() * (1 if path.endswith("0.txt") else 2000)


def commit_until_it_dies(endpoint: str, round_: int, begun: Callable[[], None]) -> list[tuple[str, str]]:
    """Commit one file after the other, call `begun` after the first; the commits that were acknowledged, with their paths."""
    done = []
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
    headers = {"Authorization": f"Bearer {ADA.token}"}
    for number in range(1000):
        path = f"{round_}/{number}.txt"
        try:
            connection.request(
                "POST", "/api/datasets/ada/data/commit/main", commit_of({path: content_of(path)}), headers
            )
            answer = connection.getresponse()
            oid = json.loads(answer.read())["commitOid"]
        except (OSError, http.client.HTTPException):
            break
        done.append((oid, path))
        if number == 0:
            begun()
    connection.close()
    return done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_forever_ends_cleanly_on_a_signal(process: subprocess.Popen[str], number: signal.Signals):
    assert process.stdout is not None
    api = HfApi(endpoint=process.stdout.readline().strip(), token=ADA.token)
    api.create_repo(**DATA)
    # by Xet, whose native part has a say in signals
    put(api, b"\x00")
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("stopped\n", "")
    assert process.returncode == 0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Hub]:
    """A Hub that holds 50 kB."""
    with serve(tmp_path / "full", accounts=ACCOUNTS, capacity=50_000) as hub:
        client(hub).create_repo(**DATA)
        yield hub


@pytest.mark.parametrize("path", ["a.txt", "a.parquet"])
def test_a_full_hub_refuses_and_stays_as_it_was(full: Hub, tmp_path: Path, path: str):
    api = client(full)
    head = put(api, b"1" * 20_000, path)
    with pytest.raises(HfHubHTTPError, match="No space left on the Hub") as error:
        put(api, b"2" * 40_000, path)
    assert error.value.response.status_code == 507
    assert api.dataset_info("ada/data").sha == head
    found = api.hf_hub_download("ada/data", path, repo_type="dataset", local_dir=tmp_path / "out")
    assert Path(found).read_bytes() == b"1" * 20_000
    assert put(api, b"3" * 20_000, path) != head


def test_a_commit_that_does_not_fit_keeps_none_of_its_files(full: Hub, tmp_path: Path):
    blobs = sorted((tmp_path / "full" / "blobs").rglob("*"))
    operations = [CommitOperationAdd(f"{number}.txt", str(number).encode() * 20_000) for number in range(3)]
    with pytest.raises(HfHubHTTPError, match="507"):
        client(full).create_commit(**DATA, operations=operations, commit_message="too much")
    assert sorted((tmp_path / "full" / "blobs").rglob("*")) == blobs


def test_a_full_bucket(full: Hub):
    api = client(full)
    api.create_bucket("ada/b")
    with pytest.raises(HfHubHTTPError, match="No space left on the Hub"):
        api.batch_bucket_files("ada/b", add=[(os.urandom(60_000), "big.bin")])
    assert list(api.list_bucket_tree("ada/b")) == []
    api.batch_bucket_files("ada/b", add=[(b"small", "small.txt")])
    assert [item.path for item in api.list_bucket_tree("ada/b")] == ["small.txt"]


def test_a_job_whose_volume_does_not_fit_fails(full: Hub):
    api = client(full)
    api.create_bucket("ada/b")
    volume = [{"type": "bucket", "source": "ada/b", "mountPath": "/data"}]
    body = {"command": ["sh", "-c", "head -c 60000 /dev/urandom > /data/x"], "dockerImage": "x", "volumes": volume}
    request = urllib.request.Request(
        f"{full.endpoint}/api/jobs/ada", json.dumps(body).encode(), {"Authorization": f"Bearer {ADA.token}"}
    )
    with urllib.request.urlopen(request) as response:
        job = json.load(response)["id"]
    status = api.wait_for_job(job, namespace="ada", poll_interval=0.05, timeout=30).status
    assert (status.stage, status.message) == ("ERROR", "The embedded Hub failed: No space left on the Hub")


def test_the_date_is_the_moment_of_the_answer(ask: Ask):
    assert ask("GET", "/api/agent-harnesses").headers["date"].endswith(" GMT")
