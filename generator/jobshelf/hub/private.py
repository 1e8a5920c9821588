"""Folders and files that only their owner may read, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from jobshelf.errors import EnvironmentFault


def claim(root: Path) -> None:
    """Make `root` a folder that this user alone can read, whether or not it exists.

    Raises EnvironmentFault when it cannot be made or belongs to another user.
    """
    try:
        private_folder(root)
        owner = root.stat().st_uid
        if owner == os.geteuid():
            root.chmod(0o700)
    except OSError as error:
        raise EnvironmentFault(f"cannot keep a Hub in {root}: {error}", fix="choose another --root") from error
    if owner != os.geteuid():
        raise EnvironmentFault(f"{root} belongs to another user", fix="choose another --root")


def private_folder(folder: Path) -> Path:
    """Make a folder, and the missing ones above it, with mode 0700; return it."""
    if not folder.is_dir():
        private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def private_opener(path: str, flags: int) -> int:
    """Open a file, as `open(..., opener=private_opener)`; a new one has mode 0600."""
    return os.open(path, flags, 0o600)


def tighten(paths: Iterable[Path]) -> None:
    """Take the rights of everybody but the owner from files, and from folders with all that is in them.

    Links are left alone, and so is what does not exist.
    """
    for path in paths:
        _tighten(path)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                _tighten(Path(folder, name))


def _tighten(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISLNK(mode) and mode & 0o077:
        path.chmod(stat.S_IMODE(mode) & 0o700)
