"""Jobs: submit, list, inspect, follow the log, cancel."""

from __future__ import annotations

import asyncio
import posixpath
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jobshelf.hub import clock
from jobshelf.hub.account import require_account, require_write
from jobshelf.hub.call import Call, only, parse, readable_repo, route, take, take_or
from jobshelf.hub.flavors import FLAVORS
from jobshelf.hub.jobs import DEFAULT_TIMEOUT_SECONDS, Job, JobSpec, Volume, matching
from jobshelf.hub.mounts import Mount, below
from jobshelf.hub.names import file_path
from jobshelf.hub.paging import paged
from jobshelf.hub.refusal import Refusal, bad_request
from jobshelf.hub.repos import DEFAULT_BRANCH, repo_kind
from jobshelf.hub.routes.buckets import find_bucket

_LONGEST_TIMEOUT_SECONDS = 7 * 24 * 3600
_MOST_ATTEMPTS = 10
_KNOWN = {
    *("command", "arguments", "environment", "secrets", "flavor", "timeoutSeconds", "attempts", "labels", "volumes"),
    *("dockerImage", "spaceId"),
}
_POLL_SECONDS = 0.05
_KEEP_ALIVE_SECONDS = 30


def hardware(_: Call) -> Response:
    """The flavors and their prices."""
    return JSONResponse([flavor.as_json() for flavor in FLAVORS.values()])


def create(call: Call) -> Response:
    """Start a Job."""
    namespace = call.params["namespace"]
    account = require_write(call.caller, namespace=namespace, action="run a Job")
    payload = call.json()
    spec = _spec(payload)
    moment = clock.now()
    job = Job(
        id=secrets.token_hex(12),
        namespace=namespace,
        initiator=account.name,
        spec=spec,
        labels=_texts(payload, "labels"),
        stage="RUNNING",
        message=None,
        created_at=moment,
        started_at=moment,
        finished_at=None,
    )
    mounts = [_mount(call, volume) for volume in spec.volumes]
    call.core.runner.start(job, secrets=_texts(payload, "secrets"), mounts=mounts)
    return JSONResponse(_described(call, job))


def list_all(call: Call) -> Response:
    """List the Jobs of a namespace, newest first."""
    namespace = _own_namespace(call)
    jobs = call.core.jobs.of(namespace)
    shown = matching(jobs, stages=call.query.getlist("stage"), labels=call.query.getlist("label"))
    return paged(call, [_described(call, job) for job in shown])


def inspect(call: Call) -> Response:
    """Describe a Job."""
    return JSONResponse(_described(call, _find(call)))


def cancel(call: Call) -> Response:
    """Stop a Job. A Job that is over stays as it is."""
    job = _find(call)
    require_write(call.caller, namespace=job.namespace, action="cancel a Job")
    call.core.runner.cancel(job)
    return JSONResponse(_described(call, job))


def set_labels(call: Call) -> Response:
    """Replace a Job's labels."""
    job = _find(call)
    require_write(call.caller, namespace=job.namespace, action="label a Job")
    call.core.jobs.set_labels(job, _texts(call.json(), "labels"))
    return JSONResponse(_described(call, _find(call)))


async def logs(request: Request) -> Response:
    """A Job's log as server-sent events, from the beginning or the last `tail` lines until the Job is over."""
    call = parse(request, b"")
    job = await run_in_threadpool(_find, call)
    tail = call.query.get("tail", "")
    if tail and not (tail.isascii() and tail.isdigit() and len(tail) < 10):
        raise bad_request(f"'tail' must be a number of lines, found '{tail[:40]}'")
    return StreamingResponse(_events(call, job, int(tail) if tail else None), media_type="text/event-stream")


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


def _own_namespace(call: Call) -> str:
    """Jobs are seen by the members of their namespace only."""
    account, namespace = require_account(call.caller), call.params["namespace"]
    if namespace not in account.namespaces:
        raise Refusal(404, f"Namespace not found: {namespace}")
    return namespace


def _find(call: Call) -> Job:
    job = call.core.jobs.find(_own_namespace(call), call.params["job"])
    if job is None:
        raise Refusal(404, f"Job not found: {call.params['job']}")
    return job


def _spec(payload: Mapping[str, Any]) -> JobSpec:
    only(payload, _KNOWN, "the Job setting")
    command = _strings(payload, "command")
    image, space = take_or(payload, "dockerImage", "") or None, take_or(payload, "spaceId", "") or None
    if not command or (image is None) == (space is None):
        raise bad_request("A Job needs a 'command', and either a 'dockerImage' or a 'spaceId'")
    flavor = take_or(payload, "flavor", "cpu-basic")
    if flavor not in FLAVORS:
        raise bad_request(f"Unknown flavor '{flavor}': expected one of {', '.join(FLAVORS)}")
    return JobSpec(
        command=command,
        arguments=_strings(payload, "arguments"),
        environment=_texts(payload, "environment"),
        flavor=flavor,
        timeout_seconds=_between(payload, "timeoutSeconds", DEFAULT_TIMEOUT_SECONDS, _LONGEST_TIMEOUT_SECONDS),
        attempts=_between(payload, "attempts", 1, _MOST_ATTEMPTS),
        volumes=tuple(_volume(item) for item in take_or(payload, "volumes", [])),
        image=image,
        space=space,
    )


def _strings(payload: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = take_or(payload, key, [])
    if not all(isinstance(value, str) and "\x00" not in value for value in values):
        raise bad_request(f"'{key}' must be a list of strings")
    return tuple(values)


def _texts(payload: Mapping[str, Any], key: str) -> dict[str, str]:
    """A table of strings; numbers and truth values become text, as environment variables do."""
    values = take_or(payload, key, {})
    for name, value in values.items():
        if not name or "=" in name or "\x00" in f"{name}{value}" or not isinstance(value, str | int | float | bool):
            raise bad_request(f"'{key}' must be a table of strings; '{name[:80]}' does not fit")
    return {name: str(value) for name, value in values.items()}


def _between(payload: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = take_or(payload, key, default)
    if not 1 <= value <= most:
        raise bad_request(f"'{key}' must be between 1 and {most}, found {value}")
    return value


def _volume(item: object) -> Volume:
    if not isinstance(item, dict):
        raise bad_request("A volume must be a JSON object")
    kind, mount_path = take_or(item, "type", "model"), take(item, "mountPath", str)
    if not mount_path.startswith("/") or posixpath.normpath(mount_path) != mount_path or mount_path == "/":
        raise bad_request(f"'mountPath' must be an absolute path below '/', found '{mount_path[:200]}'")
    path = take_or(item, "path", "").strip("/")
    return Volume(
        kind=kind,
        source=take(item, "source", str),
        mount_path=mount_path,
        path=file_path(path) if path else "",
        revision=take_or(item, "revision", DEFAULT_BRANCH),
        # repos are never written through a mount
        read_only=take_or(item, "readOnly", False) or kind != "bucket",
    )


def _mount(call: Call, volume: Volume) -> Mount:
    """The files of a volume, as they are now. Raises Refusal when the caller may not read, or not write them."""
    namespace, _, name = volume.source.partition("/")
    if volume.kind == "bucket":
        bucket = find_bucket(call, namespace, name)
        if not volume.read_only:
            require_write(call.caller, namespace=bucket.namespace, action="write to a bucket")
        files = {file.path: file.content.sha256 for file in call.core.buckets.files(bucket)}
        target = None if volume.read_only else bucket
        return Mount(mount_path=volume.mount_path, files=below(files, volume.path), bucket=target, inside=volume.path)
    repo = readable_repo(call, repo_kind(volume.kind), namespace, name)
    commit = call.core.repos.resolve(repo, volume.revision)
    paths = {item.name: item.oid for item in call.core.repos.tree(commit) if not item.is_tree}
    contents = call.core.repos.files(paths.values())
    files = {path: contents[oid].sha256 for path, oid in paths.items()}
    return Mount(mount_path=volume.mount_path, files=below(files, volume.path))


def _described(call: Call, job: Job) -> dict[str, Any]:
    spec = job.spec
    kind = "org" if call.core.accounts.is_organisation(job.namespace) else "user"
    image = {"dockerImage": spec.image} if spec.image else {"spaceId": spec.space}
    return {
        "id": job.id,
        "createdAt": job.created_at,
        "startedAt": job.started_at,
        "finishedAt": job.finished_at,
        **image,
        "command": list(spec.command),
        "arguments": list(spec.arguments),
        "environment": spec.environment,
        "secrets": {},
        "flavor": spec.flavor,
        "timeoutSeconds": spec.timeout_seconds,
        "retry": spec.attempts - 1,
        "labels": job.labels,
        "volumes": [_described_volume(volume) for volume in spec.volumes],
        "status": {"stage": job.stage, "message": job.message},
        "durations": _durations(job),
        "owner": {"id": job.namespace, "name": job.namespace, "type": kind},
        "initiator": {"id": job.initiator, "name": job.initiator, "type": "user"},
    }


def _described_volume(volume: Volume) -> dict[str, Any]:
    return {
        "type": volume.kind,
        "source": volume.source,
        "mountPath": volume.mount_path,
        "path": volume.path,
        "revision": None if volume.kind == "bucket" else volume.revision,
        "readOnly": volume.read_only,
    }


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
    Route(_JOB + "/logs", logs, methods=["GET"]),
]
