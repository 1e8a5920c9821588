"""What a checkout commits that follows from its index: the tables in README and guides, and the skill.

`jobshelf index` writes them, `jobshelf index --check` compares them byte by byte. A shelf that marks no table and
keeps no skill has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jobshelf.errors import JobshelfError
from jobshelf.guides import marked_files, with_tables
from jobshelf.index import Index
from jobshelf.shelf import Shelf
from jobshelf.skill import skill_files, skill_folder


def has_derived(shelf: Shelf) -> bool:
    """Whether the shelf marks a table or keeps the skill: reading a large index for nothing takes seconds."""
    return skill_folder(shelf).is_dir() or bool(marked_files(shelf))


def write_derived(shelf: Shelf, index: Index) -> tuple[Path, ...]:
    """Write what differs and remove what is no longer of the skill; return the paths that changed.

    Raises InputError for a mark of a table that there is not.
    """
    # the skill holds the guides, so their tables come first
    return (*_write(_tables(shelf, index), frozenset()), *_write(_skill(shelf, index), _kept(shelf)))


def check_derived(shelf: Shelf, index: Index) -> None:
    """Raise JobshelfError that names what is not as it should be."""
    if stale := _differing(_tables(shelf, index) | _skill(shelf, index), _kept(shelf)):
        names = ", ".join(path.relative_to(shelf.root).as_posix() for path in stale)
        raise JobshelfError(f"not what the index says: {names}", fix="jobshelf index")


def _tables(shelf: Shelf, index: Index) -> dict[Path, bytes]:
    return {path: with_tables(text, index, path.name).encode() for path, text in marked_files(shelf).items()}


def _skill(shelf: Shelf, index: Index) -> dict[Path, bytes]:
    folder = skill_folder(shelf)
    if not folder.is_dir():
        return {}
    return {folder.parent / path: data for path, data in skill_files(index).items()}


def _kept(shelf: Shelf) -> frozenset[Path]:
    return frozenset(path for path in skill_folder(shelf).rglob("*") if path.is_file())


def _write(wanted: Mapping[Path, bytes], present: frozenset[Path]) -> tuple[Path, ...]:
    changed = _differing(wanted, present)
    for path in changed:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[path])
        else:
            path.unlink()
    return changed


def _differing(wanted: Mapping[Path, bytes], present: frozenset[Path]) -> tuple[Path, ...]:
    differing = {path for path, data in wanted.items() if not path.is_file() or path.read_bytes() != data}
    return tuple(sorted(differing | (present - wanted.keys())))
