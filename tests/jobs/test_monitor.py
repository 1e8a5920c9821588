"""`jobshelf jobs`: list, inspect, logs, cancel, wait."""

from __future__ import annotations

import json
import sys

import pytest

from jobshelf.errors import UsageError
from jobshelf.jobs.monitor import JobId, parse_job_id, wait


@pytest.fixture
def start(client):
    """`start("code", label=...)`: a Job that runs Python code."""

    def run(code: str, **labels: str):
        return client.run_job(
            image="x", command=[sys.executable, "-c", code], labels={"name": "t", **labels}, namespace="alice"
        )

    return run


def test_ids():
    assert parse_job_id("abc", "me") == JobId(namespace="me", id="abc")
    assert parse_job_id("acme/abc", "me") == JobId(namespace="acme", id="abc")
    assert parse_job_id("https://huggingface.co/jobs/acme/abc", "me") == JobId(namespace="acme", id="abc")
    for given in ("", "a/b/c", "https://huggingface.co/a/b/c", "a b"):
        with pytest.raises(UsageError, match="names no Job"):
            parse_job_id(given, "me")


def test_list_filters_by_status_and_label(jobshelf, hub_environment, start, client):
    over, runs = start("pass", team="x"), start("import time; time.sleep(600)", team="x")
    other = start("pass", team="y")
    for job in (over, other):
        client.wait_for_job(job.id, namespace="alice", poll_interval=0.05)

    def listed(*words: str) -> list[str]:
        done = jobshelf("jobs", "list", *words, env=hub_environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("same as: hf jobs ps")
        return [line.split()[0] for line in done.stdout.splitlines()[1:]]

    assert listed() == [runs.id]
    assert listed("--all") == [other.id, runs.id, over.id]
    assert listed("--all", "--label", "team=x") == [runs.id, over.id]
    assert listed("--status", "completed") == [other.id, over.id]
    assert "there is no status DONE" in jobshelf("jobs", "list", "--status", "done", env=hub_environment).stderr
    done = jobshelf("jobs", "cancel", "--label", "team=x", env=hub_environment)
    assert done.stdout == f"canceled alice/{runs.id}\n"
    assert client.wait_for_job(runs.id, namespace="alice", poll_interval=0.05).status.stage == "CANCELED"


def test_inspect_and_logs(jobshelf, hub_environment, start, client):
    job = start("print('one'); print('two'); raise SystemExit(3)")
    client.wait_for_job(job.id, namespace="alice", poll_interval=0.05)
    (found,) = json.loads(jobshelf("jobs", "inspect", f"alice/{job.id}", env=hub_environment).stdout)
    assert (found["id"], found["stage"], found["message"]) == (job.id, "ERROR", "Job failed with exit code: 3")
    logs = jobshelf("jobs", "logs", job.url, env=hub_environment)
    assert logs.stdout.splitlines()[-2:] == ["one", "two"]
    assert logs.stderr == f"same as: hf jobs logs alice/{job.id}\n"
    assert jobshelf("jobs", "logs", job.id, "--tail", "1", env=hub_environment).stdout == "two\n"
    followed = jobshelf("jobs", "logs", job.id, "--follow", env=hub_environment)
    assert (followed.returncode, followed.stdout.splitlines()[-1]) == (3, "two")


def test_wait_ends_as_the_worst(jobshelf, hub_environment, start, client):
    fine, bad = start("pass"), start("raise SystemExit(4)")
    done = jobshelf("jobs", "wait", fine.id, bad.id, env=hub_environment)
    assert done.returncode == 4
    assert f"alice/{fine.id}  COMPLETED" in done.stdout
    assert f"alice/{bad.id}  ERROR (Job failed with exit code: 4)" in done.stdout
    assert jobshelf("jobs", "wait", fine.id, env=hub_environment).returncode == 0
    gone = jobshelf("jobs", "wait", "0" * 24, env=hub_environment)
    assert (gone.returncode, "DELETED" in gone.stdout) == (1, True)


def test_wait_outlives_a_hub_that_fails(start, client, hub):
    job = start("pass")
    hub.fail(path=f"/api/jobs/alice/{job.id}", status=503, times=2)
    (ended,) = wait(client, [JobId(namespace="alice", id=job.id)])
    assert ended.stage == "COMPLETED"


@pytest.mark.parametrize("words", [["cancel"], ["wait", "abc", "--label", "a=b"], ["logs"], ["inspect"]])
def test_what_is_meant_must_be_said(jobshelf, hub_environment, words):
    assert jobshelf("jobs", *words, env=hub_environment).returncode == 2


def test_a_job_that_is_not_there(jobshelf, hub_environment):
    for verb in ("inspect", "logs", "cancel"):
        done = jobshelf("jobs", verb, "0" * 24, env=hub_environment)
        assert (done.returncode, "not found" in done.stderr) == (4, True)
