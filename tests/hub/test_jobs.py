"""Jobs that really run, through the real client and the real `hf` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi, JobInfo, Volume
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, JobNotFoundError

from hub.contract import ACCOUNTS, ADA
from jobshelf.hub import Hub, serve
from support import BIN

SECRET = "value-of-the-secret"
SCRIPT = """\
# /// script
# requires-python = ">=3.11"
# [tool.hf-jobs]
# secrets = ["HF_TOKEN"]
# env = {GREETING = "hello"}
# ///
import os
import sys

print("sentinel", sys.argv[1:], os.environ["GREETING"], os.environ["HF_ENDPOINT"])
print("token", "there" if os.environ.get("HF_TOKEN") else "missing")
sys.exit(int(sys.argv[1]))
"""
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("family", os.getpid(), child.pid, flush=True)
{after}
time.sleep(600)
"""

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def run(api: HfApi, code: str, **options: object) -> JobInfo:
    """Submit Python code as a Job."""
    return api.run_job(image="python:3.12", command=[sys.executable, "-c", code], namespace="ada", **options)


def ended(api: HfApi, job: JobInfo) -> tuple[str, str | None, list[str]]:
    """Wait for a Job: its stage, its message, its log without the first line (the image)."""
    status = api.wait_for_job(job.id, namespace="ada", poll_interval=0.05, timeout=60).status
    return status.stage, status.message, list(api.fetch_job_logs(job_id=job.id, namespace="ada"))[1:]


def family(api: HfApi, job: JobInfo) -> list[int]:
    """Wait until a FAMILY Job has said who its processes are."""
    for line in api.fetch_job_logs(job_id=job.id, namespace="ada", follow=True):
        if line.startswith("family"):
            return [int(word) for word in line.split()[1:]]
    raise AssertionError("the Job ended without naming its processes")


def alive(pid: int) -> bool:
    """Whether a process runs (a dead one that nobody has collected yet does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


@pytest.fixture
def url(ada: HfApi, hub: Hub) -> str:
    ada.create_repo("acme/scripts", repo_type="dataset")
    ada.upload_file(path_or_fileobj=SCRIPT.encode(), path_in_repo="x.py", repo_id="acme/scripts", repo_type="dataset")
    return f"{hub.endpoint}/datasets/acme/scripts/resolve/main/x.py"


def hf(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [BIN / "hf", *words]
    return subprocess.run(argv, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("code", [0, 1])
def test_hf_jobs_uv_run_a_url(ada: HfApi, hub: Hub, login: dict[str, str], url: str, code: int):
    done = hf(login, "jobs", "uv", "run", url, str(code), "--flag")
    assert done.returncode == code, done.stderr
    assert f"sentinel ['{code}', '--flag'] hello {hub.endpoint}\ntoken there\n" in done.stdout
    (job,) = ada.list_jobs(namespace="ada")
    assert job.status.stage == ("COMPLETED" if code == 0 else "ERROR")
    assert job.volumes[0].source == "ada/jobs-artifacts"


def test_run_uv_job_with_a_url(ada: HfApi, hub: Hub, url: str):
    job = ada.run_uv_job(url, script_args=["0"], env={"GREETING": "hi"}, namespace="ada")
    stage, _, log = ended(ada, job)
    assert (stage, log[-2:]) == ("COMPLETED", [f"sentinel ['0'] hi {hub.endpoint}", "token missing"])


def test_hf_jobs_logs_inspect_and_list(ada: HfApi, login: dict[str, str]):
    job = run(ada, "print('one'); print('two')", name="counter")
    ended(ada, job)
    assert hf(login, "jobs", "logs", job.id).stdout.splitlines()[-2:] == ["one", "two"]
    assert hf(login, "jobs", "logs", "--tail", "1", job.id).stdout.splitlines() == ["two"]
    assert json.loads(hf(login, "jobs", "inspect", job.id, "--format", "json").stdout)[0]["labels"] == {
        "name": "counter"
    }
    assert job.id in hf(login, "jobs", "ps", "-a").stdout


def test_the_log_says_that_the_image_was_not_used(ada: HfApi):
    job = run(ada, "print('done')")
    ended(ada, job)
    first = next(iter(ada.fetch_job_logs(job_id=job.id, namespace="ada")))
    assert first == "Image python:3.12 was not used: the embedded Hub runs Jobs on this machine"


def test_a_job_is_described(ada: HfApi):
    job = run(ada, "pass", flavor="t4-small", env={"A": "1"}, labels={"run": "x"}, timeout="2h", attempts=2)
    ended(ada, job)
    found = ada.inspect_job(job_id=job.id, namespace="ada")
    assert (found.docker_image, found.flavor, found.environment, found.retry) == (
        "python:3.12",
        "t4-small",
        {"A": "1"},
        1,
    )
    assert (found.owner.name, found.owner.type, found.initiator.name) == ("ada", "user", "ada")
    assert found.created_at <= found.started_at <= found.finished_at


def test_the_surroundings_of_a_job(ada: HfApi, hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "token-of-the-host")
    monkeypatch.setenv("SOMETHING_OF_THE_HOST", "1")
    job = run(
        ada,
        "import json, os; print(json.dumps({**os.environ, 'cwd': os.getcwd(), 'home': os.listdir(os.environ['HOME'])}))",
    )
    found = json.loads(ended(ada, job)[2][0])
    assert (found["HF_ENDPOINT"], found["JOB_ID"], found["ACCELERATOR"]) == (hub.endpoint, job.id, "")
    assert (found["CPU_CORES"], found["MEMORY"], found["home"]) == ("2", "16Gi", [])
    assert not {"HF_TOKEN", "SOMETHING_OF_THE_HOST"} & found.keys()
    assert not any(Path(found[name]).exists() for name in ("HOME", "HF_HOME", "TMPDIR", "cwd"))


def test_a_secret_is_in_the_job_and_nowhere_else(ada: HfApi, hub: Hub, tmp_path: Path):
    job = run(ada, "import os; print(len(os.environ['KEY']))", secrets={"KEY": SECRET})
    assert ended(ada, job) == ("COMPLETED", None, [str(len(SECRET))])
    assert SECRET not in repr(ada.inspect_job(job_id=job.id, namespace="ada"))
    assert SECRET not in repr(hub.journal())
    kept = [path for path in (tmp_path / "hub").rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []


@pytest.mark.parametrize(
    ("command", "message", "log"),
    [
        (["sh", "-c", "echo no >&2; exit 3"], "Job failed with exit code: 3", ["no"]),
        (
            ["no-such-program"],
            "Job failed with exit code: 127",
            ["Cannot start 'no-such-program': [Errno 2] No such file or directory: 'no-such-program'"],
        ),
        (["sh", "-c", "kill -9 $$"], "Job failed with exit code: -9", []),
    ],
)
def test_a_failed_job_says_why(ada: HfApi, command: list[str], message: str, log: list[str]):
    job = ada.run_job(image="python:3.12", command=command, namespace="ada")
    assert ended(ada, job) == ("ERROR", message, log)


def test_attempts(ada: HfApi, tmp_path: Path):
    marker = tmp_path / "marker"
    code = (
        f"import pathlib, sys; m = pathlib.Path({str(marker)!r}); n = m.exists(); m.touch(); print(n); sys.exit(not n)"
    )
    stage, _, log = ended(ada, run(ada, code, attempts=3))
    assert (stage, log) == ("COMPLETED", ["False", "Attempt 1 of 3 failed with exit code 1", "True"])


def test_the_log_can_be_followed_while_the_job_runs(ada: HfApi, tmp_path: Path):
    gate = tmp_path / "gate"
    code = f"import pathlib, time; print('open', flush=True)\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)\nprint('closed')"
    job = run(ada, code)
    lines = []
    for line in ada.fetch_job_logs(job_id=job.id, namespace="ada", follow=True):
        lines.append(line)
        if line == "open":
            assert ada.inspect_job(job_id=job.id, namespace="ada").status.stage == "RUNNING"
            gate.touch()
    assert lines[1:] == ["open", "closed"]
    assert ada.inspect_job(job_id=job.id, namespace="ada").status.stage == "COMPLETED"


def test_following_a_job_that_is_over_ends_at_once(ada: HfApi, hub: Hub):
    job = run(ada, "print('over')")
    ended(ada, job)
    hub.clear_journal()
    assert list(ada.fetch_job_logs(job_id=job.id, namespace="ada", follow=True))[1:] == ["over"]
    assert len([entry for entry in hub.journal() if "/logs" in entry.path]) == 1


def test_cancel_ends_the_whole_process_tree(ada: HfApi):
    job = run(ada, FAMILY.format(after=""))
    pids = family(ada, job)
    ada.cancel_job(job_id=job.id, namespace="ada")
    assert ended(ada, job)[0] == "CANCELED"
    assert gone(pids)
    ada.cancel_job(job_id=job.id, namespace="ada")
    assert ada.inspect_job(job_id=job.id, namespace="ada").status.stage == "CANCELED"


def test_a_cancelled_job_may_finish_its_work(ada: HfApi):
    after = "import signal; signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0))); print('family', 0, flush=True)"
    job = run(
        ada, after.join(FAMILY.split("{after}")).replace('print("family", os.getpid(), child.pid, flush=True)', "")
    )
    family(ada, job)
    ada.cancel_job(job_id=job.id, namespace="ada")
    assert ended(ada, job) == ("CANCELED", None, ["family 0", "saved"])


def test_a_job_that_takes_too_long_is_ended(ada: HfApi):
    job = run(ada, FAMILY.format(after=""), timeout=1)
    pids = family(ada, job)
    assert ended(ada, job)[:2] == ("ERROR", "Job timed out")
    assert gone(pids)


def test_what_a_job_leaves_running_ends_with_it(ada: HfApi):
    job = run(ada, FAMILY.format(after="sys.exit(0)"))
    pids = family(ada, job)
    assert ended(ada, job)[0] == "COMPLETED"
    assert gone(pids)


def test_no_process_outlives_the_hub(tmp_path: Path):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('family', os.getpid(), flush=True)"
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ADA.token)
        first = run(api, FAMILY.format(after=""))
        pids = family(api, first)
        second = run(api, f"import os, time; {stubborn}; time.sleep(600)")
        pids += family(api, second)
        assert all(map(alive, pids))
    assert gone(pids, seconds=0)
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ADA.token)
        for job in (first, second):
            assert ended(api, job)[:2] == ("ERROR", "The Hub stopped while this Job ran")
        assert len(ended(api, first)[2]) == 1


def test_volumes(ada: HfApi, tmp_path: Path):
    ada.create_bucket("ada/parts")
    ada.batch_bucket_files("ada/parts", add=[(b"in", "run/in.txt"), (b"old", "run/old.txt"), (b"x", "outside.txt")])
    ada.create_repo("ada/data", repo_type="dataset")
    ada.upload_file(path_or_fileobj=b"repo", path_in_repo="d/r.txt", repo_id="ada/data", repo_type="dataset")
    shell = "cat /data/in.txt /repo/d/r.txt; mkdir /data/sub; echo -n out > /data/sub/out.txt; rm /data/old.txt; echo > /repo/d/r.txt; ls /data"
    volumes = [
        Volume(type="bucket", source="ada/parts", mount_path="/data", path="run"),
        Volume(type="dataset", source="ada/data", mount_path="/repo"),
    ]
    job = ada.run_job(image="python:3.12", command=["sh", "-c", shell], volumes=volumes, namespace="ada")
    assert ended(ada, job) == ("COMPLETED", None, ["inrepoin.txt", "sub"])
    ada.download_bucket_files("ada/parts", [("run/sub/out.txt", tmp_path / "out.txt")])
    assert (tmp_path / "out.txt").read_text() == "out"
    found = [item.path for item in ada.list_bucket_tree("ada/parts", recursive=True)]
    assert found == ["outside.txt", "run/in.txt", "run/sub/out.txt"]


def test_a_read_only_volume_is_not_written_back(ada: HfApi):
    ada.create_bucket("ada/parts")
    volume = Volume(type="bucket", source="ada/parts", mount_path="/data", read_only=True)
    job = ada.run_job(image="x", command=["touch", "/data/new"], volumes=[volume], namespace="ada")
    assert ended(ada, job)[0] == "COMPLETED"
    assert list(ada.list_bucket_tree("ada/parts")) == []


def test_list_by_stage_and_label(ada: HfApi):
    good = run(ada, "pass", labels={"kind": "good"})
    bad = run(ada, "raise SystemExit(1)", labels={"kind": "bad"})
    for job in (good, bad):
        ended(ada, job)
    assert [job.id for job in ada.list_jobs(namespace="ada")] == [bad.id, good.id]
    assert [job.id for job in ada.list_jobs(namespace="ada", status="ERROR")] == [bad.id]
    assert [job.id for job in ada.list_jobs(namespace="ada", labels={"kind": "good"})] == [good.id]
    assert ada.update_job_labels(job_id=good.id, labels={"kind": "new"}, namespace="ada").labels == {"kind": "new"}


def test_hardware(ada: HfApi):
    found = {flavor.name: flavor for flavor in ada.list_jobs_hardware()}
    assert found["cpu-basic"].accelerator is None
    assert (found["a100-large"].accelerator.vram, found["a100-large"].unit_label) == ("80 GB", "minute")
    assert found["a100-large"].unit_cost_usd * 60 == pytest.approx(2.5)


def test_what_cannot_run_is_refused(ada: HfApi, bob: HfApi):
    with pytest.raises(BadRequestError, match="Unknown flavor 'h100'"):
        run(ada, "pass", flavor="h100")
    with pytest.raises(HfHubHTTPError, match="does not implement the Job setting 'ssh'"):
        run(ada, "pass", ssh=True)
    with pytest.raises(JobNotFoundError):
        ada.inspect_job(job_id="0" * 24, namespace="ada")
    with pytest.raises(HfHubHTTPError, match="403 Forbidden"):
        run(bob, "pass")
    for mount_path in ("/", "data", "/a/../b"):
        with pytest.raises(BadRequestError, match="'mountPath' must be an absolute path"):
            run(ada, "pass", volumes=[Volume(type="bucket", source="ada/x", mount_path=mount_path)])


def test_nothing_of_a_job_stays_in_the_temporary_folder(ada: HfApi):
    job = run(ada, "import os; print(os.environ['TMPDIR']); open(os.environ['TMPDIR'] + '/x', 'w').close()")
    (folder,) = ended(ada, job)[2]
    assert not os.path.exists(folder)  # noqa: PTH110


def test_metrics_of_a_running_job(ada: HfApi):
    job = run(ada, "x = bytearray(50_000_000); n = 0\nwhile True: n += 1")
    try:
        # the first event has nothing to compare with
        _, event = (
            event
            for event, _ in zip(
                ada.fetch_job_metrics(job_id=job.id, namespace="ada", follow=True), range(2), strict=False
            )
        )
        assert event["memory_used_bytes"] > 50_000_000
        assert 10 <= event["cpu_usage_pct"] <= 200
        assert (event["memory_total_bytes"], event["gpus"]) == (16_000_000_000, {})
    finally:
        ada.cancel_job(job_id=job.id, namespace="ada")
    ended(ada, job)
    assert list(ada.fetch_job_metrics(job_id=job.id, namespace="ada")) == []


def test_rerun_with_the_same_spec_and_secrets(ada: HfApi):
    first = run(
        ada, "import os; print(os.environ['KEY'], os.environ['A'])", secrets={"KEY": "s"}, env={"A": "1"}, timeout=60
    )
    ended(ada, first)
    again = ada.rerun_job(job_id=first.id, namespace="ada")
    assert again.id != first.id
    assert ended(ada, again) == ("COMPLETED", None, ["s 1"])
    assert again.labels == first.labels


def test_secrets_do_not_outlive_the_hub(tmp_path: Path):
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ADA.token)
        job = run(api, "pass", secrets={"KEY": "s"})
        ended(api, job)
        assert api.inspect_job(job_id=job.id, namespace="ada").secrets == {"KEY": ""}
    lost = pytest.raises(HfHubHTTPError, match="The secrets KEY went with the Hub's last stop: pass them anew")
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub, lost:
        HfApi(endpoint=hub.endpoint, token=ADA.token).rerun_job(job_id=job.id, namespace="ada")


def test_ports_and_ssh_are_not_offered(ada: HfApi):
    job = run(ada, "pass")
    with pytest.raises(HfHubHTTPError, match=f"does not implement PUT /api/jobs/ada/{job.id}/expose"):
        ada.update_job_expose(job_id=job.id, expose=[8000], namespace="ada")
    with pytest.raises(HfHubHTTPError, match="does not implement the Job setting 'expose'"):
        run(ada, "pass", expose=[8000])
    ended(ada, job)
