"""The files that a shelf has to offer: the scripts that lie here, byte for byte, and what is derived from the index."""

from __future__ import annotations

from collections.abc import Mapping

from jobshelf.emit import emit
from jobshelf.index import Entry, Index
from jobshelf.index.sources import read_regular
from jobshelf.publish.sums import sha256
from jobshelf.shelf import Shelf


def files_of(shelf: Shelf, index: Index) -> dict[str, bytes]:
    """Return path -> bytes: the scripts of `index` that lie here as it describes them, and everything derived from it."""
    local = {path.name: read_regular(path, shelf) for path in shelf.scripts()}
    return {entry.file: local[entry.file] for entry in index.entries if _is_local(entry, local)} | emit(index)


def _is_local(entry: Entry, local: Mapping[str, bytes]) -> bool:
    return entry.file in local and sha256(local[entry.file]) == entry.sha256
