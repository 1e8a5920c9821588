"""Bring the owned files of a repository back to the state of a tag, in one commit, touching nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobshelf.client import explained
from jobshelf.errors import InputError, UsageError
from jobshelf.publish import sums as sums_file
from jobshelf.publish.mirror import Published, read_sums, refuse_foreign
from jobshelf.publish.remote import ATTEMPTS, Moved, Remote, never_stood_still
from jobshelf.publish.sums import SUMS, sha256

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What a rollback did: `commit` is the head, whose owned files are those of `tag`."""

    repo: str
    tag: str
    commit: str
    written: tuple[str, ...]
    removed: tuple[str, ...]


def rollback(client: HfApi, repo: str, tag: str) -> Reversal:
    """Make one commit that brings every file that a shelf published to `repo` back to what it was at `tag`.

    Files of others stay as they are. Nothing is committed when nothing differs. Raises UsageError for an unknown tag,
    InputError when no shelf was published there or at the tag, or when a foreign file is in the way; NotPersisted when
    others keep moving the repository, or when what is read back differs.
    """
    remote = Remote(client=client, repo=repo)
    with explained(client):
        for _ in range(ATTEMPTS):
            known = read_sums(remote)
            if known.head is None:
                raise InputError(f"{repo} does not exist, or is hidden from the token", fix="check the name")
            writes, removes = _difference(remote, known, _commit_of(remote, tag), tag)
            commit = known.head.commit
            if writes or removes:
                remote.require_write(exists=True)
                try:
                    commit = remote.commit(commit, writes, removes, f"Roll back to {tag}").oid
                except Moved:
                    continue
                remote.read_back(commit, writes)
            return Reversal(repo=repo, tag=tag, commit=commit, written=tuple(sorted(writes)), removed=removes)
    raise never_stood_still(repo)


def _commit_of(remote: Remote, tag: str) -> str:
    tags = remote.tags()
    if tag not in tags:
        known = ", ".join(sorted(tags)) or "none"
        fix = f"jobshelf rollback {max(tags)}" if tags else "jobshelf publish --release makes one"
        raise UsageError(f"{remote.repo} has no tag '{tag}' (its tags: {known})", fix=fix)
    return tags[tag]


def _difference(remote: Remote, known: Published, target: str, tag: str) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
    """Return the files to write and to remove, by what really stands at the head and at the tag."""
    sums = sums_file.parse(remote.read(target, SUMS), f"{remote.repo} at {tag}")
    if not sums:
        raise InputError(f"{tag} of {remote.repo} holds no {SUMS}: no shelf was published there", fix="another tag")
    there, then = remote.tree(known.head.commit if known.head else ""), remote.tree(target)
    back = {*sums, SUMS} & then.keys()
    changed = sorted(path for path in back if there.get(path) != then[path])
    owned = {*known.sums, SUMS} if known.sums else set()
    refuse_foreign(remote, owned, changed, there)
    removed = tuple(sorted((owned - back) & there.keys()))
    return _read(remote, target, tag, changed, sums), removed


def _read(remote: Remote, target: str, tag: str, paths: list[str], sums: Mapping[str, str]) -> dict[str, bytes]:
    files = {path: data or b"" for path, data in remote.read_all(target, paths)}
    for path, data in files.items():
        if path != SUMS and sha256(data) != sums[path]:
            message = f"{path} at {tag} of {remote.repo} is not what {SUMS} there lists"
            raise InputError(message, fix="another tag, whose files are as they were published")
    return files
