"""Whose version of a script is published: several shelves and checkouts share one repository, script by script.

Version numbers are the lineage, because nothing else travels: a checkout does not know which commit of the mirror it
descends from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from jobshelf.errors import JobshelfError, NotPersisted
from jobshelf.index import Entry, Index

_WITHDRAWN: Final = "somebody else withdrew it meanwhile"


def merge(
    ours: Index, published: Index | None, base: Index | None, *, prune: bool = False
) -> tuple[Index, dict[str, str]]:
    """Return the index to publish, and for each script that stays as published the reason.

    A published script stays when it is not in our catalogue (with `prune`: and another shelf published it), when its
    version is newer than ours, or when it moved since `base` and ours did not. One that somebody withdrew since `base`
    stays withdrawn. Raises NotPersisted when both moved under the same version.
    """
    if published is None:
        return ours, {}
    here, there = _by_id(ours), _by_id(published)
    before = _by_id(base) if base else there
    kept = {name: _WITHDRAWN for name in here if _is_withdrawn(here[name], there, before)}
    merged = {name: entry for name, entry in here.items() if name not in kept}
    pruner = ours.repository if prune else None
    for name, entry in there.items():
        if reason := _why_keep(here.get(name), entry, before.get(name), pruner):
            kept[name], merged[name] = reason, entry
    return replace(ours, entries=tuple(merged[name] for name in sorted(merged))), kept


def with_releases(index: Index, published: Index | None, release: str | None) -> Index:
    """Return `index` with, for each script, the release (a version) whose tag holds exactly its bytes.

    That is `release` when one is being made; otherwise what was published of the same bytes, None for new ones.
    """
    known = {(entry.id, entry.sha256): entry.release for entry in (published.entries if published else ())}
    entries = (entry.pinned(release or known.get((entry.id, entry.sha256))) for entry in index.entries)
    return replace(index, entries=tuple(entries))


def require_newest(ours: Index, published: Index | None) -> None:
    """Raise JobshelfError when the published shelf is of a later version: an old checkout does not know what is gone."""
    if published and _is_later(published, ours):
        message = f"the shelf there is version {published.version}, this checkout is {ours.version}: it may not prune"
        raise JobshelfError(message, fix="git pull, then: jobshelf publish --prune")


def version_key(version: str) -> tuple[int, ...]:
    """Return a version as PEP 440 orders it: 1.10 is after 1.9, and 1.0 is 1."""
    parts = [int(part) for part in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _is_later(one: Index, other: Index) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one.version) > Version(other.version)
    except InvalidVersion:
        return one.version != other.version


def _by_id(index: Index) -> dict[str, Entry]:
    return {entry.id: entry for entry in index.entries}


def _why_keep(mine: Entry | None, there: Entry, before: Entry | None, pruner: str | None) -> str | None:
    """Say why the published entry stays; `before` is what this publish first saw of it (None: it was not there).

    `pruner` is the address of the shelf that prunes, if one does.
    """
    moved = before is None or before.sha256 != there.sha256
    if mine is None:
        return _why_not_prune(there, pruner, moved=moved) if pruner else "it is not in this catalogue"
    if mine.sha256 == there.sha256:
        return None
    if version_key(there.version) > version_key(mine.version):
        return f"version {there.version} there is newer than {mine.version} here"
    if not moved:
        return None
    if before is not None and before.sha256 == mine.sha256:
        return "somebody else published it meanwhile"
    if version_key(mine.version) > version_key(there.version):
        return None
    message = f"{mine.file} was changed here and, since this publish began, by somebody else, both as {mine.version}"
    raise NotPersisted(message, fix="merge their change, raise the script's version, jobshelf index, jobshelf publish")


def _why_not_prune(there: Entry, pruner: str, *, moved: bool) -> str | None:
    source = there.data["source"]["urls"].get("repository", "")
    if not source.startswith(f"{pruner}/"):
        return f"it comes from {source or 'an unknown shelf'}"
    return "somebody else published it meanwhile" if moved else None


def _is_withdrawn(mine: Entry, there: Mapping[str, Entry], before: Mapping[str, Entry]) -> bool:
    return mine.id not in there and mine.id in before and before[mine.id].sha256 == mine.sha256
