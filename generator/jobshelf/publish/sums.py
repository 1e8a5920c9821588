"""`SHA256SUMS`: which files of a repository belong to the shelf, and which bytes they have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from jobshelf.errors import InputError

SUMS: Final = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def sha256(data: bytes) -> str:
    """Return the hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def sums_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the digest of each file."""
    return {path: sha256(data) for path, data in files.items()}


def to_text(sums: Mapping[str, str]) -> bytes:
    """Return the file as `sha256sum -c` reads it, ordered by path."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items())).encode()


def parse(data: bytes | None, where: str) -> dict[str, str]:
    """Return path -> digest; nothing for None. Raises InputError when the file is not one that a shelf published."""
    lines = (data or b"").decode("utf-8", "replace").splitlines()
    pairs = [_LINE.fullmatch(line) for line in lines]
    if not all(pairs):
        message = f"{SUMS} in {where} is not one that a shelf published"
        raise InputError(message, fix="publish to another repository: --repo owner/name")
    return {pair[2]: pair[1] for pair in pairs if pair}
