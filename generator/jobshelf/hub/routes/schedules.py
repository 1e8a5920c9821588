"""Scheduled Jobs: create, list, suspend, resume, start now, delete."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub import clock
from jobshelf.hub.account import require_write
from jobshelf.hub.call import Call, only, route, take, take_or
from jobshelf.hub.refusal import Refusal
from jobshelf.hub.routes.jobs import described_job, described_owner, own_namespace
from jobshelf.hub.routes.specs import described_spec, parse_spec, texts
from jobshelf.hub.scheduler import start_scheduled
from jobshelf.hub.schedules import Schedule, next_moment


def create(call: Call) -> Response:
    """Schedule a Job."""
    namespace = call.params["namespace"]
    account = require_write(call.caller, namespace=namespace, action="schedule a Job", right="job.write")
    payload = call.json()
    only(payload, {"jobSpec", "schedule", "concurrency", "suspend"}, "the setting of a scheduled Job")
    job, expression = take(payload, "jobSpec", dict), take(payload, "schedule", str)
    schedule = Schedule(
        id=secrets.token_hex(12),
        namespace=namespace,
        initiator=account.name,
        spec=parse_spec(job),
        labels=texts(job, "labels"),
        expression=expression,
        suspended=take_or(payload, "suspend", False),
        concurrent=take_or(payload, "concurrency", False),
        created_at=clock.now(),
        next_at=next_moment(expression, call.core.time.now()),
    )
    call.core.vault.keep(schedule.id, texts(job, "secrets"))
    call.core.schedules.add(schedule)
    return JSONResponse(_described(call, schedule))


def listed(call: Call) -> Response:
    """List the schedules of a namespace, newest first."""
    label = call.query.get("label")
    found = [item for item in call.core.schedules.of(own_namespace(call)) if _carries(item, label)]
    return JSONResponse([_described(call, schedule) for schedule in found])


def inspect(call: Call) -> Response:
    """Describe a schedule."""
    return JSONResponse(_described(call, _find(call)))


def delete(call: Call) -> Response:
    """Remove a schedule."""
    schedule = _own(call)
    call.core.schedules.delete(schedule)
    call.core.vault.forget(schedule.id)
    return JSONResponse({})


def suspend(call: Call) -> Response:
    """Start no more Jobs until it is resumed."""
    schedule = _own(call)
    call.core.schedules.set_suspended(schedule, suspended=True, next_at=schedule.next_at)
    return inspect(call)


def resume(call: Call) -> Response:
    """Start Jobs again, from the next moment on."""
    schedule = _own(call)
    following = next_moment(schedule.expression, call.core.time.now())
    call.core.schedules.set_suspended(schedule, suspended=False, next_at=following)
    return inspect(call)


def reschedule(call: Call) -> Response:
    """Change when it starts."""
    schedule, expression = _own(call), take(call.json(), "schedule", str)
    following = next_moment(expression, call.core.time.now())
    call.core.schedules.set_expression(schedule, expression, next_at=following)
    return inspect(call)


def set_labels(call: Call) -> Response:
    """Replace the labels."""
    call.core.schedules.set_labels(_own(call), texts(call.json(), "labels"))
    return inspect(call)


def run(call: Call) -> Response:
    """Start the Job now, besides the schedule."""
    return JSONResponse(described_job(call.core, start_scheduled(call.core, _own(call))))


def _find(call: Call) -> Schedule:
    schedule = call.core.schedules.find(own_namespace(call), call.params["schedule"])
    if schedule is None:
        raise Refusal(404, f"Scheduled Job not found: {call.params['schedule']}")
    return schedule


def _own(call: Call) -> Schedule:
    schedule = _find(call)
    require_write(call.caller, namespace=schedule.namespace, action="change a scheduled Job", right="job.write")
    return schedule


def _carries(schedule: Schedule, label: str | None) -> bool:
    return label is None or tuple(label.split("=", 1)) in schedule.labels.items()


def _described(call: Call, schedule: Schedule) -> dict[str, Any]:
    last = {"lastJob": {"id": schedule.last_job, "at": schedule.last_at}} if schedule.last_job else {}
    following = {} if schedule.suspended else {"nextJobRunAt": clock.moment(schedule.next_at)}
    return {
        "id": schedule.id,
        "createdAt": schedule.created_at,
        "jobSpec": described_spec(schedule.spec, schedule.labels),
        "schedule": schedule.expression,
        "suspend": schedule.suspended,
        "concurrency": schedule.concurrent,
        "status": {**last, **following},
        "owner": described_owner(call.core, schedule.namespace),
    }


_SCHEDULE = "/api/scheduled-jobs/{namespace}/{schedule}"
ROUTES = [
    route("/api/scheduled-jobs/{namespace}", create, "POST"),
    route("/api/scheduled-jobs/{namespace}", listed, "GET"),
    route(_SCHEDULE, inspect, "GET"),
    route(_SCHEDULE, delete, "DELETE"),
    route(_SCHEDULE + "/suspend", suspend, "POST"),
    route(_SCHEDULE + "/resume", resume, "POST"),
    route(_SCHEDULE + "/schedule", reschedule, "POST"),
    route(_SCHEDULE + "/run", run, "POST"),
    route(_SCHEDULE + "/labels", set_labels, "PUT"),
]
