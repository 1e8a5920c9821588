"""Read the files of a catalogue: regular ones inside the shelf, of a size that the Hub takes, and nothing else."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from jobshelf.errors import InputError
from jobshelf.index.entry import FILE_NAME, normalise
from jobshelf.shelf import Shelf

LIMIT_BYTES = 10_000_000  # above it the Hub wants a file through LFS, and no URL serves its text
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def catalogue_files(shelf: Shelf) -> list[Path]:
    """Return the script files in the order of their ids.

    Raises InputError for a file name that cannot be a URL, for two names that are one after normalisation, and for a folder that
    lies elsewhere.
    """
    for folder in (shelf.catalog, shelf.catalog / "records"):
        _require_inside(folder, shelf)
    owners: dict[str, Path] = {}
    for path in shelf.scripts():
        if not FILE_NAME.fullmatch(path.name):
            message = f"catalog/{path.name!r} cannot be part of a URL, expected letters, digits, '-', '_' and '.'"
            raise InputError(message, fix="rename the file")
        name = normalise(path.name)
        if name in owners:
            message = f"catalog/{owners[name].name} and catalog/{path.name} both answer to '{name}'"
            raise InputError(message, fix="rename one of them")
        owners[name] = path
    return [owners[name] for name in sorted(owners)]


def read_regular(path: Path, shelf: Shelf) -> bytes:
    """Return the bytes of a file of the shelf. Raises InputError that says what it is instead of a file to publish."""
    try:
        handle = _open(path, shelf)
    except OSError as error:
        message = f"{_shown(path, shelf)} cannot be read ({error.strerror}), expected a file that can"
        raise InputError(message, fix=f"ls -l {_shown(path, shelf)}, then mend or remove it") from error
    try:
        status = os.fstat(handle)
        _require_regular(status, path, shelf)
        data = _read_all(handle, status.st_size)
    finally:
        os.close(handle)
    if data.startswith(_LFS_POINTER):
        message = f"{_shown(path, shelf)} is a Git LFS pointer, expected the file that it stands for"
        raise InputError(message, fix=f"git lfs pull --include {_shown(path, shelf)}")
    return data


def _open(path: Path, shelf: Shelf) -> int:
    # Without O_NONBLOCK a named pipe would keep us waiting for somebody who writes to it.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    _require_inside(path, shelf)
    return os.open(path, flags)


def _read_all(handle: int, size: int) -> bytes:
    parts = []
    while part := os.read(handle, size + 1):
        parts.append(part)
    return b"".join(parts)


def _require_inside(path: Path, shelf: Shelf) -> None:
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(os.path.realpath(shelf.root)):
        shown = _shown(path, shelf)
        raise InputError(
            f"{shown} is a link to {real}, expected a file of the shelf", fix=f"copy it: cp {real} {shown}"
        )


def _require_regular(status: os.stat_result, path: Path, shelf: Shelf) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for test, words in _KINDS if test(status.st_mode)), "no file")
        message = f"{_shown(path, shelf)} is {kind}, expected a regular file"
        raise InputError(message, fix=f"move it out of {path.parent.name}/")
    if status.st_size > LIMIT_BYTES:
        message = f"{_shown(path, shelf)} has {status.st_size / 1e6:.1f} MB, expected at most 10 MB"
        raise InputError(message, fix="put its data into a Hub dataset")


def _shown(path: Path, shelf: Shelf) -> str:
    return path.relative_to(shelf.root).as_posix()
