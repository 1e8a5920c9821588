"""Publish the page of a shelf as a static Space: files rendered from the published index, mirrored like the shelf itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobshelf import page
from jobshelf.client import explained, for_repo
from jobshelf.errors import InputError, NotPersisted
from jobshelf.index import Index
from jobshelf.publish import sums as sums_file
from jobshelf.publish.mirror import read_index, read_sums, refuse_foreign
from jobshelf.publish.remote import ATTEMPTS, Moved, Remote, never_stood_still
from jobshelf.publish.sums import SUMS, sums_of
from jobshelf.render import render

if TYPE_CHECKING:
    from huggingface_hub import HfApi


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
            files = page_files(_published(shelf))
            known = read_sums(remote)
            _require_static(remote, known.head and known.head.sdk)
            sums = sums_of(files)
            if known.head and known.sums == sums:
                return _outcome(remote, known.head.commit)
            writes = {path: data for path, data in files.items() if known.sums.get(path) != sums[path]}
            writes[SUMS] = sums_file.to_text(sums)
            remote.require_write(exists=known.head is not None)
            head = known.head or remote.create(private=private)
            tree = remote.tree(head.commit)
            refuse_foreign(remote, {*known.sums, SUMS} if known.sums else (), writes, tree)
            removes = tuple(sorted((known.sums.keys() - files.keys()) & tree.keys()))
            try:
                made = remote.commit(head.commit, writes, removes, "Publish the page")
            except Moved:
                continue
            remote.read_back(made.oid, writes)
            return _outcome(remote, made.oid, tuple(sorted(writes)), removes)
    raise never_stood_still(space)


def page_files(index: Index) -> dict[str, bytes]:
    """Return the Space's files: the page of the shelf, and the card that makes it static."""
    return {**page.page_files(index), "README.md": render("space.md.jinja", index=index).encode()}


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
