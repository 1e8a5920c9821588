"""Scripts that start by the clock."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobshelf.client import explained
from jobshelf.errors import UsageError
from jobshelf.jobs.order import Order, send_files
from jobshelf.jobs.preflight import Checked

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub._jobs_api import ScheduledJobInfo

# what the Hub calls them, and the five fields that each stands for
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = "minute hour day month weekday"


def next_start(when: str, after: datetime | None = None) -> datetime:
    """Return the first moment (UTC) later than `after` (now) that `when` names.

    `when` is an alias or a cron expression of five fields. Raises UsageError that says what is wrong with another one.
    """
    from cronsim import CronSim, CronSimError

    if when.startswith("@") and when not in ALIASES:
        near = difflib.get_close_matches(when, ALIASES, n=1, cutoff=0.3) or ["@daily"]
        raise UsageError(f"there is no schedule {when} (there are {', '.join(ALIASES)})", fix=f'write "{near[0]}"')
    fields = ALIASES.get(when, when).split()
    if len(fields) != 5:
        message = f"the schedule {when!r} has {len(fields)} fields, a cron expression has five: {_FIELDS}"
        raise UsageError(message, fix='write one like "0 9 * * 1" (Mondays at 9:00 UTC), or an alias like "@daily"')
    try:
        return next(CronSim(" ".join(fields), after or datetime.now(UTC)))
    except (CronSimError, StopIteration) as error:
        message = f"the schedule {when!r} cannot be read ({error or 'it never comes'}); its fields are: {_FIELDS}"
        raise UsageError(message, fix='write one like "0 9 * * 1" (Mondays at 9:00 UTC)') from error


def create(
    order: Order, when: str, checked: Checked, client: HfApi, *, suspend: bool = False, concurrent: bool = False
) -> ScheduledJobInfo:
    """Schedule the Job and return the schedule. A script at a URL is read anew each time, any other as it is now.

    Raises UsageError for a bad `when`, TokenError for a secret that is not set here, and what `explained` raises.
    """
    next_start(when)
    call = send_files(order, client, checked.namespace).call()
    for key in ("network_group", "network_aliases"):
        if call.pop(key, None):
            raise UsageError("a scheduled Job cannot join a network group", fix="take it out of the launch table")
    with explained(client):
        return client.create_scheduled_job(**call, schedule=when, suspend=suspend, concurrency=concurrent)


def list_all(client: HfApi, namespace: str) -> list[ScheduledJobInfo]:
    """Return the schedules of a namespace."""
    with explained(client):
        return list(client.list_scheduled_jobs(namespace=namespace))


def inspect(client: HfApi, namespace: str, schedule_id: str) -> ScheduledJobInfo:
    """Return a schedule. Raises InputError when there is none."""
    with explained(client):
        return client.inspect_scheduled_job(scheduled_job_id=schedule_id, namespace=namespace)


def suspend(client: HfApi, namespace: str, schedule_id: str) -> None:
    """Let it start nothing until it is resumed."""
    with explained(client):
        client.suspend_scheduled_job(scheduled_job_id=schedule_id, namespace=namespace)


def resume(client: HfApi, namespace: str, schedule_id: str) -> None:
    """Let it start Jobs again."""
    with explained(client):
        client.resume_scheduled_job(scheduled_job_id=schedule_id, namespace=namespace)


def delete(client: HfApi, namespace: str, schedule_id: str) -> None:
    """Remove it; Jobs that it started stay."""
    with explained(client):
        client.delete_scheduled_job(scheduled_job_id=schedule_id, namespace=namespace)


def row(schedule: ScheduledJobInfo) -> tuple[str, str, str, str, str]:
    """Return what a list shows of a schedule: id, when, next start, last Job, name."""
    following = schedule.status.next_job_run_at
    shown = "suspended" if schedule.suspend else f"{following:%Y-%m-%d %H:%M} UTC" if following else "-"
    last = schedule.status.last_job.id if schedule.status.last_job else "-"
    return schedule.id, str(schedule.schedule), shown, last, (schedule.job_spec.labels or {}).get("name", "-")


def details(schedule: ScheduledJobInfo) -> dict[str, Any]:
    """Return what is told of one schedule; of secrets the names only."""
    spec, status = schedule.job_spec, schedule.status
    return {
        "id": schedule.id,
        "schedule": schedule.schedule,
        "suspended": bool(schedule.suspend),
        "concurrent": bool(schedule.concurrency),
        "next": status.next_job_run_at and status.next_job_run_at.isoformat(),
        "last_job": status.last_job and status.last_job.id,
        "image": spec.docker_image or spec.space_id,
        "command": [*(spec.command or ()), *(spec.arguments or ())],
        "flavor": str(spec.flavor),
        "timeout": spec.timeout,
        "environment": spec.environment or {},
        "secrets": sorted(spec.secrets or {}),
        "labels": spec.labels or {},
    }
