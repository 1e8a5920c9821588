"""Jobs: submit, list, inspect, follow the log, cancel."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jobshelf.hub import clock
from jobshelf.hub.account import require_account, require_write
from jobshelf.hub.call import Call, parse, route
from jobshelf.hub.core import Core
from jobshelf.hub.flavors import FLAVORS, HARDWARE
from jobshelf.hub.jobs import Job, matching
from jobshelf.hub.launch import launch
from jobshelf.hub.metrics import Meter
from jobshelf.hub.paging import paged
from jobshelf.hub.refusal import Refusal, bad_request
from jobshelf.hub.routes.specs import described_spec, parse_spec, texts

_METRIC_SECONDS = 1
_POLL_SECONDS = 0.05
_KEEP_ALIVE_SECONDS = 30


def hardware(_: Call) -> Response:
    """The flavors and their prices."""
    return JSONResponse(HARDWARE)


def create(call: Call) -> Response:
    """Start a Job."""
    namespace = call.params["namespace"]
    require_write(call.caller, namespace=namespace, action="run a Job", right="job.write")
    payload = call.json()
    spec, secret_table = parse_spec(payload), texts(payload, "secrets")
    job = launch(call, namespace, spec, labels=texts(payload, "labels"), secret_table=secret_table)
    return JSONResponse(described_job(call.core, job))


def rerun(call: Call) -> Response:
    """Start a Job again, with the secrets that it had. Raises Refusal (409) when the Hub has forgotten them."""
    job = _find(call)
    secret_table = call.core.vault.of(job.id, job.spec.secret_names)
    again = launch(call, job.namespace, job.spec, labels=job.labels, secret_table=secret_table)
    return JSONResponse(described_job(call.core, again))


def list_all(call: Call) -> Response:
    """List the Jobs of a namespace, newest first."""
    namespace = own_namespace(call)
    jobs = call.core.jobs.of(namespace)
    shown = matching(jobs, stages=call.query.getlist("stage"), labels=call.query.getlist("label"))
    return paged(call, [described_job(call.core, job) for job in shown])


def inspect(call: Call) -> Response:
    """Describe a Job."""
    return JSONResponse(described_job(call.core, _find(call)))


def cancel(call: Call) -> Response:
    """Stop a Job. A Job that is over stays as it is."""
    job = _find(call)
    require_write(call.caller, namespace=job.namespace, action="cancel a Job", right="job.write")
    call.core.runner.cancel(job)
    return JSONResponse(described_job(call.core, job))


def set_labels(call: Call) -> Response:
    """Replace a Job's labels."""
    job = _find(call)
    require_write(call.caller, namespace=job.namespace, action="label a Job", right="job.write")
    call.core.jobs.set_labels(job, texts(call.json(), "labels"))
    return JSONResponse(described_job(call.core, _find(call)))


async def logs(request: Request) -> Response:
    """A Job's log as server-sent events, from the beginning or the last `tail` lines until the Job is over."""
    call = parse(request, b"")
    job = await run_in_threadpool(_find, call)
    tail = call.query.get("tail", "")
    if tail and not (tail.isascii() and tail.isdigit() and len(tail) < 10):
        raise bad_request(f"'tail' must be a number of lines, found '{tail[:40]}'")
    return StreamingResponse(_events(call, job, int(tail) if tail else None), media_type="text/event-stream")


async def metrics(request: Request) -> Response:
    """What a running Job uses, once a second as server-sent events. Raises Refusal (406) when it does not run."""
    call = parse(request, b"")
    job = await run_in_threadpool(_find, call)
    if job.is_over:
        raise Refusal(406, "Job is not running")
    return StreamingResponse(_measured(call, job), media_type="text/event-stream")


async def _measured(call: Call, job: Job) -> AsyncIterator[str]:
    meter: Meter | None = None
    while not job.is_over:
        group = call.core.runner.group(job)
        if group is not None:
            meter = meter or Meter(group, FLAVORS[job.spec.flavor])
            yield f"event: metric\ndata: {json.dumps(await run_in_threadpool(meter.read))}\n\n"
        await asyncio.sleep(_METRIC_SECONDS)
        job = await run_in_threadpool(_find, call)


async def _events(call: Call, job: Job, tail: int | None) -> AsyncIterator[str]:
    jobs, position, quiet_since = call.core.jobs, 0, time.monotonic()
    while True:
        # in this order: when the stage is final, the log is whole
        current = await run_in_threadpool(jobs.find, job.namespace, job.id)
        lines, position = await run_in_threadpool(jobs.logged, job.id, position)
        if tail is not None:
            lines, tail = lines[len(lines) - tail :] if tail < len(lines) else lines, None
        for line in lines:
            yield f"data: {line}\n\n"
        if current is None or current.is_over:
            return
        if lines:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > _KEEP_ALIVE_SECONDS:
            quiet_since = time.monotonic()
            yield ": keep-alive\n\n"
        await asyncio.sleep(_POLL_SECONDS)


def own_namespace(call: Call) -> str:
    """Jobs are seen by the members of their namespace only."""
    account, namespace = require_account(call.caller), call.params["namespace"]
    if namespace not in account.namespaces:
        raise Refusal(404, f"Namespace not found: {namespace}")
    return namespace


def _find(call: Call) -> Job:
    job = call.core.jobs.find(own_namespace(call), call.params["job"])
    if job is None:
        raise Refusal(404, f"Job not found: {call.params['job']}")
    return job


def described_job(core: Core, job: Job) -> dict[str, Any]:
    """A Job as the Hub shows it."""
    kind, _, started_by = job.origin.partition(":")
    return {
        "id": job.id,
        "createdAt": job.created_at,
        "startedAt": job.started_at,
        "finishedAt": job.finished_at,
        **described_spec(job.spec, job.labels),
        "status": {"stage": job.stage, "message": job.message},
        "durations": _durations(job),
        "owner": described_owner(core, job.namespace),
        "initiator": {"type": kind, "id": started_by or job.initiator, "name": job.initiator},
    }


def described_owner(core: Core, namespace: str) -> dict[str, str]:
    """A namespace as the owner of something."""
    kind = "org" if core.accounts.is_organisation(namespace) else "user"
    return {"id": namespace, "name": namespace, "type": kind}


def _durations(job: Job) -> dict[str, int]:
    end = datetime.fromisoformat(job.finished_at or clock.now())
    seconds = int((end - datetime.fromisoformat(job.created_at)).total_seconds())
    return {"schedulingSecs": 0, "runningSecs": seconds, "totalSecs": seconds}


_JOB = "/api/jobs/{namespace}/{job}"
ROUTES = [
    route("/api/jobs/hardware", hardware, "GET"),
    route("/api/jobs/{namespace}", create, "POST"),
    route("/api/jobs/{namespace}", list_all, "GET"),
    route(_JOB, inspect, "GET"),
    route(_JOB + "/cancel", cancel, "POST"),
    route(_JOB + "/labels", set_labels, "PUT"),
    route(_JOB + "/duplicate", rerun, "POST"),
    Route(_JOB + "/metrics", metrics, methods=["GET"]),
    Route(_JOB + "/logs", logs, methods=["GET"]),
]
