"""Start a Job for somebody: by a call of theirs, by their schedule, by their webhook."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from jobshelf.hub import clock
from jobshelf.hub.account import Account, require_write
from jobshelf.hub.core import Core
from jobshelf.hub.jobs import Job, JobSpec, Volume
from jobshelf.hub.lookup import Acting, find_bucket, readable_repo, require_bucket_write, require_open
from jobshelf.hub.mounts import Mount, below
from jobshelf.hub.refusal import Refusal
from jobshelf.hub.repos import repo_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBehalf:
    """A user for whom the Hub acts by itself."""

    core: Core
    caller: Account | None


class Starter(Protocol):
    """What starts Jobs by itself: a schedule, a webhook."""

    @property
    def namespace(self) -> str:
        """Where its Jobs belong."""

    @property
    def initiator(self) -> str:
        """In whose name they run."""

    @property
    def origin(self) -> str:
        """What they say they were started by."""

    @property
    def spec(self) -> JobSpec | None:
        """What they run."""

    @property
    def labels(self) -> dict[str, str]:
        """Their labels."""


def launch(
    acting: Acting,
    namespace: str,
    spec: JobSpec,
    *,
    labels: Mapping[str, str],
    secret_table: Mapping[str, str],
    added: Mapping[str, str] | None = None,
    origin: str = "user",
) -> Job:
    """Record a Job and run it in the background; `origin` is `user`, `scheduled-job:ID` or `webhook:ID`.

    `added` are environment variables of this one run, which nobody is shown.
    Raises Refusal: 402 when nobody would pay, 403 when the caller may not run Jobs there, 401/403/404 when they may not see or write its volumes.
    """
    account = require_write(acting.caller, namespace=namespace, action="run a Job", right="job.write")
    if namespace == account.name and not account.can_pay:
        raise Refusal(402, f"'{namespace}' has no credit left: Jobs need some before they start")
    job = _new(
        namespace, account.name, replace(spec, secret_names=tuple(sorted(secret_table))), labels=labels, origin=origin
    )
    mounts = [_mount(acting, volume) for volume in spec.volumes]
    acting.core.vault.keep(job.id, secret_table)
    acting.core.runner.start(job, secrets={**secret_table, **(added or {})}, mounts=mounts)
    return job


def record_failure(core: Core, starter: Starter, message: str) -> Job:
    """Record a Job that could not be started, so that its owner learns of it."""
    if starter.spec is None:
        raise LookupError(f"{starter.origin} starts no Job")
    job = _new(starter.namespace, starter.initiator, starter.spec, labels=starter.labels, origin=starter.origin)
    core.jobs.add(job)
    core.jobs.finish(job.id, "ERROR", message)
    return job


def _new(namespace: str, initiator: str, spec: JobSpec, *, labels: Mapping[str, str], origin: str) -> Job:
    moment = clock.now()
    return Job(
        id=secrets.token_hex(12),
        namespace=namespace,
        initiator=initiator,
        origin=origin,
        spec=spec,
        labels=dict(labels),
        stage="RUNNING",
        message=None,
        created_at=moment,
        started_at=moment,
        finished_at=None,
    )


def _mount(acting: Acting, volume: Volume) -> Mount:
    """The files of a volume, as they are now. Raises Refusal when the caller may not read, or not write them."""
    core, (namespace, _, name) = acting.core, volume.source.partition("/")
    if volume.kind == "bucket":
        bucket = find_bucket(acting, namespace, name)
        if not volume.read_only:
            require_bucket_write(acting.caller, bucket, "write to a bucket")
        files = {file.path: file.content.sha256 for file in core.buckets.files(bucket)}
        target = None if volume.read_only else bucket
        return Mount(mount_path=volume.mount_path, files=below(files, volume.path), bucket=target, inside=volume.path)
    repo = readable_repo(acting, repo_kind(volume.kind), namespace, name)
    require_open(acting, repo)
    commit = core.repos.resolve(repo, volume.revision)
    paths = {item.name: item.oid for item in core.repos.tree(commit) if not item.is_tree}
    contents = core.repos.files(paths.values())
    files = {path: contents[oid].sha256 for path, oid in paths.items()}
    return Mount(mount_path=volume.mount_path, files=below(files, volume.path))
