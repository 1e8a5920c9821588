"""Publish the page of a shelf as a static Space: files rendered from the published index, mirrored like the shelf itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jobshelf import page
from jobshelf.client import explained, for_repo
from jobshelf.errors import InputError, NotPersisted
from jobshelf.index import Index
from jobshelf.publish import sums as sums_file
from jobshelf.publish.mirror import INDEX, Plan, read_index, read_sums, refuse_foreign
from jobshelf.publish.remote import ATTEMPTS, Moved, Remote, never_stood_still
from jobshelf.publish.sums import SUMS, sums_of
from jobshelf.render import render
from jobshelf.shelf import installed_shelf

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePlan:
    """What one commit on `parent` (None: there is no Space yet) would change in the Space `repo`."""

    kind: ClassVar[str] = "space"
    repo: str
    parent: str | None
    writes: Mapping[str, bytes]
    removes: tuple[str, ...]

    @property
    def unchanged(self) -> bool:
        """True when the Space already holds the page."""
        return not self.writes and not self.removes


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOutcome:
    """What publishing the page did. `page` is its address, `commit` the head that holds it."""

    space: str
    page: str
    commit: str
    written: tuple[str, ...]
    removed: tuple[str, ...]


def publish_page(client: HfApi, dataset: str, space: str, *, private: bool = False) -> PageOutcome:
    """Bring the static Space to the page of the shelf that is published in `dataset`.

    One commit on a known parent, made anew from the index when the Space moved; a file that no shelf published is never
    touched. Raises what `publish` raises, and InputError for a Space that is not static.
    """
    shelf = Remote(client=client, repo=dataset)
    remote = Remote(client=for_repo(client, f"spaces/{space}"), repo=space, kind="space")
    with explained(client):
        for _ in range(ATTEMPTS):
            step = _plan(remote, _published(shelf))
            if step.unchanged and step.parent:
                return _outcome(remote, step.parent)
            remote.require_write(exists=step.parent is not None)
            if step.parent is None:
                remote.create(private=private)
                step = _plan(remote, _published(shelf))
            try:
                made = remote.commit(step.parent, step.writes, step.removes, "Publish the page")
            except Moved:
                continue
            remote.read_back(made.oid, step.writes)
            return _outcome(remote, made.oid, tuple(sorted(step.writes)), step.removes)
    raise never_stood_still(space)


def preview_page(client: HfApi, step: Plan, space: str) -> PagePlan:
    """Return what `publish_page` would change in the Space once the plan `step` of its shelf is done; write nothing."""
    remote = Remote(client=for_repo(client, f"spaces/{space}"), repo=space, kind="space")
    with explained(client):
        if data := step.writes.get(INDEX):
            return _plan(remote, Index.from_text(data.decode(), INDEX))
        return _plan(remote, _published(Remote(client=client, repo=step.repo)))


def _plan(remote: Remote, index: Index) -> PagePlan:
    files, known = page_files(index), read_sums(remote)
    _require_static(remote, known.head and known.head.sdk)
    sums = sums_of(files)
    if known.head and known.sums == sums:
        return PagePlan(repo=remote.repo, parent=known.commit, writes={}, removes=())
    writes = {path: data for path, data in files.items() if known.sums.get(path) != sums[path]}
    writes[SUMS] = sums_file.to_text(sums)
    tree = remote.tree(known.head.commit) if known.head else {}
    refuse_foreign(remote, {*known.sums, SUMS} if known.sums else (), writes, tree)
    removes = tuple(sorted((known.sums.keys() - files.keys()) & tree.keys()))
    return PagePlan(repo=remote.repo, parent=known.commit, writes=writes, removes=removes)


def page_files(index: Index) -> dict[str, bytes]:
    """Return the Space's files: the page of the shelf, and the card that makes it static."""
    return {
        **page.page_files(index),
        "README.md": render("space.md.jinja", index=index, tool=installed_shelf().repository).encode(),
    }


def _published(shelf: Remote) -> Index:
    index = read_index(shelf, read_sums(shelf)).index
    if index is None:
        raise NotPersisted(f"{shelf.repo} holds no index to make a page of", fix="jobshelf publish, without --space")
    return index


def _require_static(remote: Remote, sdk: str | None) -> None:
    if sdk not in (None, "static"):
        message = f"{remote.repo} is a Space of the kind '{sdk}', and the page is a static one"
        raise InputError(message, fix="--space with another name")


def _outcome(remote: Remote, commit: str, written: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> PageOutcome:
    return PageOutcome(space=remote.repo, page=remote.page, commit=commit, written=written, removed=removed)
