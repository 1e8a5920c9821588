"""Find what somebody names, if they may see it, and ask whether they may change it."""

from __future__ import annotations

from typing import Protocol

from jobshelf.hub.account import Account, can_read, is_insider, require_write
from jobshelf.hub.buckets import Bucket
from jobshelf.hub.core import Core
from jobshelf.hub.refusal import gated, not_authenticated, repo_not_found
from jobshelf.hub.repos import Kind, Repo


class Acting(Protocol):
    """Somebody (None: anonymous) who does something at a Hub: by an HTTP call, or by a schedule or webhook of theirs."""

    @property
    def core(self) -> Core:
        """The Hub."""

    @property
    def caller(self) -> Account | None:
        """Who it is."""


def readable_repo(acting: Acting, kind: Kind, namespace: str, name: str) -> Repo:
    """Find a repo. Raises Refusal: 401 to anonymous callers, 404 to others, for missing and private alike."""
    repo = acting.core.repos.find(kind, namespace, name)
    if repo is None or not can_read(acting.caller, namespace=namespace, private=repo.private, entity=repo.entity):
        raise not_authenticated() if acting.caller is None else repo_not_found()
    return repo


def find_bucket(acting: Acting, namespace: str, name: str) -> Bucket:
    """Find a bucket. Raises Refusal: 401 to anonymous callers, 404 to others, for missing and private alike."""
    bucket = acting.core.buckets.find(namespace, name)
    entity = f"bucket/{namespace}/{name}"
    if bucket is None or not can_read(acting.caller, namespace=namespace, private=bucket.private, entity=entity):
        raise not_authenticated() if acting.caller is None else repo_not_found()
    return bucket


def require_repo_write(caller: Account | None, repo: Repo, action: str) -> Account:
    """Return the caller if they may change a repo. Raises Refusal (401, 403)."""
    return require_write(caller, namespace=repo.namespace, action=action, entity=repo.entity, creator=repo.creator)


def require_bucket_write(caller: Account | None, bucket: Bucket, action: str) -> Account:
    """Return the caller if they may change a bucket. Raises Refusal (401, 403)."""
    entity = f"bucket/{bucket.full_name}"
    return require_write(caller, namespace=bucket.namespace, action=action, entity=entity)


def require_open(acting: Acting, repo: Repo) -> None:
    """Raise Refusal (GatedRepo) unless the caller may read the files of a repo."""
    caller = acting.caller
    if not repo.gated or (caller and is_insider(caller, namespace=repo.namespace, entity=repo.entity)):
        return
    request = acting.core.access.of(repo, caller.name) if caller else None
    if request is None or request.status != "accepted":
        raise gated(repo.full_name, anonymous=caller is None)
