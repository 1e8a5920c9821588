"""Read the bytes of a script from a file or from standard input, within limits of size and time."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import time
from pathlib import Path

from jobshelf.errors import EnvironmentFault, InputError

MOST_BYTES = 1 << 20
SECONDS = 20.0
_PIECE = 1 << 18


def is_url(text: str) -> bool:
    """Tell whether the text is an address with a scheme, not a path or a name."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def is_path(text: str) -> bool:
    """Tell whether the text is a path, not a name on the shelf: it has a slash, or is that of a `.py` file here."""
    return "/" in text or (text.endswith(".py") and os.path.lexists(text))


def read_file(path: Path, *, shown_as: str | None = None, seconds: float = SECONDS) -> bytes:
    """Return the bytes of a regular file; of a larger one, the first `MOST_BYTES` + 1.

    `shown_as` is the path that messages name. Raises InputError for what is no regular file or cannot be read, and
    EnvironmentFault when reading takes longer than `seconds`.
    """
    name = shown_as or str(path)
    try:
        # without O_NONBLOCK, opening a named pipe waits until somebody writes to it
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            _require_regular(name, os.fstat(handle).st_mode)
            return _read(handle, name, time.monotonic() + seconds, seconds)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name} cannot be read: {reason}", fix="check the path and its permissions") from error


def read_stdin(*, seconds: float = SECONDS) -> bytes:
    """Return the bytes of standard input; of a longer one, the first `MOST_BYTES` + 1. A person may take any time.

    Raises InputError when it is closed or cannot be read, and EnvironmentFault when a pipe stays open longer than `seconds`.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed", fix="pipe the script in, or name a file")
    handle = sys.stdin.fileno()
    end = None if os.isatty(handle) else time.monotonic() + seconds
    try:
        return _read(handle, "standard input", end, seconds)
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror}", fix="name a file") from error


def refuse_oversized(data: bytes, name: str) -> None:
    """Raise InputError for more than `MOST_BYTES`."""
    if len(data) > MOST_BYTES:
        found = f"{name} has more than {MOST_BYTES >> 10} KiB"
        raise InputError(f"{found}, expected a Python file", fix="check the name, or move data out of the script")


def _require_regular(name: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(mode), "not a regular file")
    raise InputError(f"{name} is {kind}, expected a Python file", fix="name a regular file, such as ./script.py")


def _read(handle: int, name: str, end: float | None, seconds: float) -> bytes:
    data = bytearray()
    while len(data) <= MOST_BYTES:
        left = None if end is None else max(end - time.monotonic(), 0)
        if not select.select([handle], [], [], left)[0] or left == 0:
            message = f"{name} took longer than {seconds:g} s"
            raise EnvironmentFault(message, fix="save the script to a file on this machine, and name that file")
        piece = os.read(handle, min(_PIECE, MOST_BYTES + 1 - len(data)))
        if not piece:
            break
        data += piece
    return bytes(data)
