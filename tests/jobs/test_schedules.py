"""`jobshelf schedule`: what starts by the clock, from its making to its end."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from jobshelf.errors import UsageError
from jobshelf.jobs.schedules import next_start

FRIDAY = datetime(2026, 11, 20, 10, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("@hourly", "2026-11-20T11:00"), ("@daily", "2026-11-21T00:00"), ("@weekly", "2026-11-22T00:00"),
        ("@monthly", "2026-12-01T00:00"), ("@yearly", "2027-01-01T00:00"), ("@annually", "2027-01-01T00:00"),
        ("0 9 * * 1", "2026-11-23T09:00"), ("*/15 * * * *", "2026-11-20T10:30"),
    ],
)  # fmt: skip
def test_the_next_start(when, expected):
    assert next_start(when, FRIDAY).isoformat()[:16] == expected


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("@dayly", 'Fix: write "@daily"'), ("@minutely", "there is no schedule @minutely"), ("daily", "has 1 fields"),
        ("* * * * * *", "has 6 fields"), ("61 * * * *", "cannot be read"), ("0 0 30 2 *", "Bad day-of-month"), ("", "has 0 fields"),
    ],
)  # fmt: skip
def test_a_bad_one_is_explained(when, said):
    with pytest.raises(UsageError) as caught:
        next_start(when)
    assert said in str(caught.value)


def test_the_whole_life_of_a_schedule(jobshelf, hub, hub_environment, published, client):
    made = jobshelf(
        "schedule", "hello", "@daily", "--label", "team=x", "--", "--loud", env=hub_environment, cwd=published.root
    )
    assert made.returncode == 0, made.stderr
    schedule = re.search(r"^schedule (\w+)$", made.stdout, re.M)[1]
    assert re.search(r"^starts   \d{4}-\d\d-\d\d 00:00 UTC$", made.stdout, re.M)
    assert "machine  cpu-basic, $0.01 an hour" in made.stdout
    hub.pass_time(86400)
    (job,) = client.list_jobs(namespace="alice")
    assert client.wait_for_job(job.id, namespace="alice", poll_interval=0.05).status.stage == "COMPLETED"
    assert (job.labels, job.command[-1]) == ({"name": "hello", "team": "x"}, "--loud")
    assert "hello" in list(client.fetch_job_logs(job_id=job.id, namespace="alice"))
    listed = jobshelf("schedule", "list", env=hub_environment).stdout.splitlines()
    assert listed[1].split()[:2] == [schedule, "@daily"] and job.id in listed[1]
    (found,) = json.loads(jobshelf("schedule", "inspect", schedule, env=hub_environment).stdout)
    assert (found["schedule"], found["last_job"], found["timeout"]) == ("@daily", job.id, 600)
    assert jobshelf("schedule", "suspend", schedule, env=hub_environment).stdout == f"suspended {schedule}\n"
    hub.pass_time(86400)
    assert "suspended" in jobshelf("schedule", "list", env=hub_environment).stdout
    jobshelf("schedule", "resume", schedule, env=hub_environment)
    hub.pass_time(86400)
    assert len(list(client.list_jobs(namespace="alice"))) == 2
    gone = jobshelf("schedule", "delete", schedule, env=hub_environment)
    assert gone.stderr == f"same as: hf jobs scheduled delete {schedule}\n"
    assert client.list_scheduled_jobs(namespace="alice") == []
    assert jobshelf("schedule", "inspect", schedule, env=hub_environment).returncode == 4


def test_a_docker_schedule_a_file_and_secrets(jobshelf, hub, hub_environment, script_of, client):
    docker = jobshelf(
        "schedule", "--image", "python:3.12", "@hourly", "--suspend", "--", "python", "-V", env=hub_environment
    )
    assert (docker.returncode, "starts   when it is resumed" in docker.stdout) == (0, True), docker.stderr
    target = script_of("import os; print('ran', len(os.environ['HF_TOKEN']))", table='secrets = ["HF_TOKEN"]')
    done = jobshelf("schedule", str(target.local), "0 * * * *", env=hub_environment)
    assert done.returncode == 0, done.stderr
    hub.pass_time(3600)
    (job,) = client.list_jobs(namespace="alice")
    client.wait_for_job(job.id, namespace="alice", poll_interval=0.05)
    log = list(client.fetch_job_logs(job_id=job.id, namespace="alice"))
    assert f"ran {len(hub_environment['HF_TOKEN'])}" in log


def test_what_cannot_be_scheduled_is_not(jobshelf, hub_environment, published, client):
    for words, said in (
        (["hello", "@dayly"], '"@daily"'),
        (["hello"], "takes a script and a time"),
        (["hello", "@daily", "--flavor", "h100"], "--flavor h200"),
    ):
        done = jobshelf("schedule", *words, env=hub_environment, cwd=published.root)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    dry = jobshelf("schedule", "hello", "@daily", "--dry-run", env=hub_environment, cwd=published.root)
    assert re.findall(r"^# (\w+)$", dry.stdout, re.M) == ["jobs", "python", "mcp"]
    assert "hf jobs scheduled uv run @daily http" in dry.stdout
    assert client.list_scheduled_jobs(namespace="alice") == []
