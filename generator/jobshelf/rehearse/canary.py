"""The tokens of a rehearsal, and the search for places where they turn up although nobody should see them."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

# They look like tokens and are known to the rehearsal's Hub only.
CANARY = "hf_" + "qXz7CanaryCanary" * 2 + "qXzW"
READER = "hf_" + "rXz7ReaderReader" * 2 + "rXzW"
# Enough of one to call it a leak: a script that prints the first characters "to check" leaks, too.
_SHOWN = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How many files were looked into, and those that hold a token."""

    files: int
    leaks: tuple[str, ...]


def has_token(data: bytes) -> bool:
    """Whether `data` has one of the tokens, or the beginning of one."""
    return any(token[:_SHOWN].encode() in data for token in (CANARY, READER))


def search(folder: Path, *, since: float = 0.0) -> Search:
    """Look into every file below `folder` that was written `since` then (seconds since 1970): its content and its name."""
    files = [path for path in sorted(folder.rglob("*")) if _is_file_since(path, since)]
    leaks = [path for path in files if has_token(_content(path)) or has_token(path.name.encode())]
    return Search(files=len(files), leaks=tuple(path.relative_to(folder.parent).as_posix() for path in leaks))


def _is_file_since(path: Path, since: float) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:  # others use a shared folder at the same time, here and below
        return False
    return stat.S_ISREG(found.st_mode) and found.st_mtime >= since


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
