"""Scheduled Jobs, by the real client and a clock that can be set forward."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub._jobs_api import ScheduledJobInfo
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from hub.contract import ACCOUNTS, ADA, FINE
from jobshelf.hub import Hub, serve
from jobshelf.hub.refusal import Refusal
from jobshelf.hub.schedules import next_moment

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
HOUR = 3600


def plan(api: HfApi, code: str = "pass", schedule: str = "@hourly", **options: object) -> ScheduledJobInfo:
    command = [sys.executable, "-c", code]
    return api.create_scheduled_job(image="x", command=command, schedule=schedule, namespace="ada", **options)


def look(api: HfApi, plan: ScheduledJobInfo) -> ScheduledJobInfo:
    return api.inspect_scheduled_job(scheduled_job_id=plan.id, namespace="ada")


def jobs(api: HfApi) -> list:
    return [
        api.wait_for_job(job.id, namespace="ada", poll_interval=0.05, timeout=30)
        for job in api.list_jobs(namespace="ada")
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@hourly", "2026-11-20T11:00:00+00:00"),
        ("@daily", "2026-11-21T00:00:00+00:00"),
        ("@weekly", "2026-11-22T00:00:00+00:00"),
        ("@monthly", "2026-12-01T00:00:00+00:00"),
        ("@yearly", "2027-01-01T00:00:00+00:00"),
        ("@annually", "2027-01-01T00:00:00+00:00"),
        ("0 9 * * 1", "2026-11-23T09:00:00+00:00"),
        ("*/15 10-12 20 11 *", "2026-11-20T10:30:00+00:00"),
    ],
)
def test_the_next_moment(expression: str, expected: str):
    friday = datetime(2026, 11, 20, 10, 20, 30, tzinfo=UTC).timestamp()
    assert datetime.fromtimestamp(next_moment(expression, friday), UTC).isoformat() == expected


@pytest.mark.parametrize("expression", ["", "x", "* * *", "61 * * * *", "0 0 30 2 *", "@reboot", "@minutely"])
def test_a_bad_schedule_says_what_is_expected(expression: str):
    with pytest.raises(Refusal, match=r"expected a cron expression such as '0 9 \* \* 1', or one of @yearly"):
        next_moment(expression, 0)


def test_a_scheduled_job_is_described(ada: HfApi):
    made = plan(ada, schedule="0 9 * * 1", secrets={"KEY": "s"}, labels={"team": "x"}, flavor="t4-small", timeout="2h")
    found = look(ada, made)
    assert (found.schedule, found.suspend, found.concurrency, found.owner.name) == ("0 9 * * 1", False, False, "ada")
    assert found.job_spec.secrets == {"KEY": ""}
    assert (found.job_spec.flavor, found.job_spec.timeout, found.job_spec.labels["team"]) == ("t4-small", 7200, "x")
    assert found.status.last_job is None
    assert found.status.next_job_run_at.weekday() == 0
    assert found.status.next_job_run_at > datetime.now(UTC)


def test_it_starts_when_its_time_has_come(ada: HfApi, hub: Hub):
    made = plan(ada, "import os; print('ran with', os.environ['KEY'])", secrets={"KEY": "s"})
    hub.pass_time(HOUR)
    (job,) = jobs(ada)
    assert (job.status.stage, job.initiator.type, job.initiator.id) == ("COMPLETED", "scheduled-job", made.id)
    assert list(ada.fetch_job_logs(job_id=job.id, namespace="ada"))[-1] == "ran with s"
    assert look(ada, made).status.last_job.id == job.id
    hub.pass_time(HOUR)
    assert len(jobs(ada)) == 2


def test_it_starts_by_itself(ada: HfApi, hub: Hub):
    made = plan(ada, schedule="* * * * *")
    due = look(ada, made).status.next_job_run_at
    hub._core.time.advance((due - datetime.now(UTC)).total_seconds())
    until = time.monotonic() + 10
    while not jobs(ada) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(jobs(ada)) == 1


def test_suspend_and_resume(ada: HfApi, hub: Hub):
    made = plan(ada, suspend=True)
    assert look(ada, made).status.next_job_run_at is None
    hub.pass_time(HOUR)
    assert jobs(ada) == []
    ada.resume_scheduled_job(scheduled_job_id=made.id, namespace="ada")
    hub.pass_time(HOUR)
    assert len(jobs(ada)) == 1
    ada.suspend_scheduled_job(scheduled_job_id=made.id, namespace="ada")
    assert look(ada, made).suspend is True
    hub.pass_time(HOUR)
    assert len(jobs(ada)) == 1


@pytest.mark.parametrize(("concurrency", "started"), [(False, 1), (True, 2)])
def test_a_job_that_still_runs_holds_the_next_one_back(ada: HfApi, hub: Hub, concurrency: bool, started: int):
    plan(ada, "import time; time.sleep(600)", concurrency=concurrency)
    hub.pass_time(HOUR)
    hub.pass_time(HOUR)
    assert len(list(ada.list_jobs(namespace="ada"))) == started


def test_start_now_change_and_delete(ada: HfApi, hub: Hub):
    made = plan(ada, "print('now')", schedule="@yearly")
    job = ada.trigger_scheduled_job(scheduled_job_id=made.id, namespace="ada")
    assert ada.wait_for_job(job.id, namespace="ada", poll_interval=0.05).status.stage == "COMPLETED"
    changed = ada.update_scheduled_job_schedule(scheduled_job_id=made.id, schedule="@hourly", namespace="ada")
    assert changed.schedule == "@hourly"
    labelled = ada.update_scheduled_job_labels(scheduled_job_id=made.id, labels={"a": "b"}, namespace="ada")
    assert labelled.job_spec.labels == {"a": "b"}
    assert [each.id for each in ada.list_scheduled_jobs(namespace="ada", labels={"a": "b"})] == [made.id]
    assert ada.list_scheduled_jobs(namespace="ada", labels={"a": "c"}) == []
    ada.delete_scheduled_job(scheduled_job_id=made.id, namespace="ada")
    assert ada.list_scheduled_jobs(namespace="ada") == []
    hub.pass_time(HOUR)
    assert len(jobs(ada)) == 1
    with pytest.raises(HfHubHTTPError, match="404"):
        look(ada, made)


def test_a_schedule_survives_a_restart_and_its_secrets_do_not(tmp_path: Path):
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ADA.token)
        plan(api, "print('kept')", labels={"secret": "no"})
        plan(api, secrets={"KEY": "s"}, labels={"secret": "yes"})
    with serve(tmp_path / "own", accounts=ACCOUNTS) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ADA.token)
        hub.pass_time(HOUR)
        found = {job.labels["secret"]: job for job in jobs(api)}
    assert found["no"].status.stage == "COMPLETED"
    assert found["yes"].status.stage == "ERROR"
    assert found["yes"].status.message == "The secrets KEY went with the Hub's last stop: pass them anew"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schedule": "often"}, "Invalid schedule 'often'"), ({"flavor": "h100"}, "Unknown flavor 'h100'")],
)
def test_what_makes_no_sense_is_refused(ada: HfApi, change: dict[str, str], message: str):
    with pytest.raises(BadRequestError, match=message):
        plan(ada, **change)
    assert ada.list_scheduled_jobs(namespace="ada") == []


def test_who_may(hub: Hub, ada: HfApi, bob: HfApi, reader: HfApi):
    made = plan(ada)
    for api in (bob, reader, HfApi(endpoint=hub.endpoint, token=FINE.token)):
        with pytest.raises(HfHubHTTPError, match="403"):
            plan(api)
    calls: list[Callable[..., object]] = [reader.suspend_scheduled_job, reader.delete_scheduled_job]
    for call in calls:
        with pytest.raises(HfHubHTTPError, match="read-only"):
            call(scheduled_job_id=made.id, namespace="ada")
    with pytest.raises(HfHubHTTPError, match="404"):
        bob.list_scheduled_jobs(namespace="ada")
