"""Look after Jobs that were started: which there are, how they do, what they print, end them, wait for them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobshelf.client import explained
from jobshelf.errors import EnvironmentFault, InputError, UsageError
from jobshelf.jobs.follow import OVER, Patience
from jobshelf.jobs.prices import duration

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

LIVE = ("RUNNING", "SCHEDULING")
STAGES = (*LIVE, "COMPLETED", "ERROR", "CANCELED", "DELETED")
_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobId:
    """A Job by its namespace and id."""

    namespace: str
    id: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a Job ended. `job` is None for one that is not there any more."""

    id: JobId
    stage: str
    job: JobInfo | None


def parse_job_id(given: str, own_namespace: str) -> JobId:
    """Return the Job that `id`, `namespace/id` or a Job's address names. Raises UsageError for something else."""
    words = given.rstrip("/").partition("/jobs/")[2].split("/") if "://" in given else given.split("/")
    if not 1 <= len(words) <= 2 or not all(re.fullmatch(r"[\w.-]+", word) for word in words):
        raise UsageError(f"{given!r} names no Job", fix="write its id, namespace/id, or its address")
    return JobId(namespace=words[0] if len(words) == 2 else own_namespace, id=words[-1])


def list_jobs(
    client: HfApi, namespace: str, *, stages: Sequence[str] = (), labels: Mapping[str, str] | None = None
) -> list[JobInfo]:
    """Return the Jobs of a namespace in one of `stages` (any, when empty) that carry all `labels`, newest first."""
    with explained(client):
        return list(
            client.list_jobs(namespace=namespace, status=list(stages) or None, labels=dict(labels or {}) or None)
        )


def inspect(client: HfApi, job_id: JobId) -> JobInfo:
    """Return the Job. Raises InputError when there is none."""
    with explained(client):
        return client.inspect_job(job_id=job_id.id, namespace=job_id.namespace)


def read_log(client: HfApi, job_id: JobId, *, tail: int | None = None) -> list[str]:
    """Return the lines that the Job has printed so far, or the last `tail` of them."""
    with explained(client):
        return list(client.fetch_job_logs(job_id=job_id.id, namespace=job_id.namespace, tail=tail))


def cancel(client: HfApi, job_id: JobId) -> None:
    """End the Job; one that is over stays as it is. Raises InputError when there is none."""
    with explained(client):
        client.cancel_job(job_id=job_id.id, namespace=job_id.namespace)


def wait(client: HfApi, job_ids: Sequence[JobId], *, patience: Patience | None = None) -> Iterator[Ended]:
    """Yield each Job as it ends, until all have. Lost connections are made again until `patience` ends."""
    patience, pause, open_ids = patience or Patience(), _SHORTEST_PAUSE_SECONDS, list(dict.fromkeys(job_ids))
    while open_ids:
        try:
            found = [ended for job_id in open_ids if (ended := _ended(client, job_id))]
        except EnvironmentFault as error:
            patience.wait(error)
            continue
        patience.succeeded()
        yield from found
        over = {ended.id for ended in found}
        open_ids = [job_id for job_id in open_ids if job_id not in over]
        pause = _SHORTEST_PAUSE_SECONDS if found else min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
        if open_ids:
            time.sleep(pause)


def row(job: JobInfo) -> tuple[str, str, str, str, str]:
    """Return what a list shows of a Job: id, stage, machine, running time, name."""
    seconds = job.durations.running_secs if job.durations else None
    name = (job.labels or {}).get("name") or " ".join(job.command or ())[:60]
    return job.id, str(job.status.stage), str(job.flavor), duration(seconds or 0), name


def details(job: JobInfo) -> dict[str, Any]:
    """Return what is told of one Job; of secrets the names only."""
    return {
        "id": job.id,
        "url": job.url,
        "stage": str(job.status.stage),
        "message": job.status.message,
        "image": job.docker_image or job.space_id,
        "command": [*(job.command or ()), *(job.arguments or ())],
        "flavor": str(job.flavor),
        "environment": job.environment or {},
        "secrets": sorted(job.secrets or {}),
        "labels": job.labels or {},
        "created": job.created_at and job.created_at.isoformat(),
        "started": job.started_at and job.started_at.isoformat(),
        "finished": job.finished_at and job.finished_at.isoformat(),
        "seconds": job.durations.running_secs if job.durations else None,
        "initiator": f"{job.initiator.type} {job.initiator.name or job.initiator.id}" if job.initiator else None,
    }


def _ended(client: HfApi, job_id: JobId) -> Ended | None:
    try:
        job = inspect(client, job_id)
    except InputError:
        return Ended(id=job_id, stage="DELETED", job=None)
    stage = str(job.status.stage)
    return Ended(id=job_id, stage=stage, job=job) if stage in OVER else None
