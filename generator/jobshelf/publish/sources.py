"""The files that a shelf publishes: its scripts and what is derived from the index, rendered for the repository.

A shelf's files name its own dataset. Published elsewhere (`--repo`), every text names that repository instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jobshelf.emit import emit
from jobshelf.index import Entry, Index
from jobshelf.index.rename import rename_bytes, rename_dataset, rename_entry
from jobshelf.index.sources import read_regular
from jobshelf.publish.sums import sha256
from jobshelf.shelf import Shelf


def render_index(shelf: Shelf, index: Index, repo: str) -> Index:
    """Return the index of the shelf as it is published to `repo`, with the digests of the scripts rendered for it."""
    if repo == shelf.dataset:
        return index
    scripts = _scripts(shelf, repo)
    entries = (_renamed(entry, scripts[entry.file], shelf.dataset, repo) for entry in index.entries)
    description = rename_dataset(index.description, shelf.dataset, repo)
    return replace(index, description=description, dataset=repo, entries=tuple(entries))


def files_of(shelf: Shelf, index: Index) -> dict[str, bytes]:
    """Return path -> bytes: the scripts of `index` that are here as it describes them, and everything derived from it."""
    local = _scripts(shelf, index.dataset)
    return {entry.file: local[entry.file] for entry in index.entries if _is_local(entry, local)} | emit(index)


def _scripts(shelf: Shelf, repo: str) -> dict[str, bytes]:
    """Return the bytes of each script as they are published to `repo`."""
    return {path.name: rename_bytes(read_regular(path, shelf), shelf.dataset, repo) for path in shelf.scripts()}


def _renamed(entry: Entry, data: bytes, old: str, new: str) -> Entry:
    return rename_entry(entry, old, new, sha256=sha256(data), size=len(data))


def _is_local(entry: Entry, local: Mapping[str, bytes]) -> bool:
    return entry.file in local and sha256(local[entry.file]) == entry.sha256
