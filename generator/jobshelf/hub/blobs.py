"""File contents, addressed by their sha256, on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jobshelf.hub.private import private_folder
from jobshelf.hub.refusal import no_space

_CHUNK = 1 << 20


class Blobs:
    """A folder of immutable files named by content.

    A blob is complete and on disk (fsync) before its name exists, so a crash leaves temporary files and never half a
    blob. `capacity` is the number of bytes the folder may hold; None means as many as the disk takes.
    """

    def __init__(self, folder: Path, *, capacity: int | None = None) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        private_folder(self._incoming)
        for leftover in self._incoming.iterdir():
            leftover.unlink()
        self._capacity = capacity
        self._lock = threading.Lock()
        self._used = sum(path.stat().st_size for path in folder.glob("??/??/*"))

    def path(self, sha256: str) -> Path:
        """Where the blob lies, whether or not it exists."""
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    def size(self, sha256: str) -> int | None:
        """The blob's size in bytes; None when it does not exist."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, sha256: str) -> bytes:
        """The blob's content."""
        return self.path(sha256).read_bytes()

    def add(self, content: bytes) -> str:
        """Store `content` and return its sha256. Raises Refusal (507) when it does not fit."""
        sha256 = hashlib.sha256(content).hexdigest()
        if self.size(sha256) is not None:
            return sha256
        with self.incoming() as incoming:
            incoming.write(content)
            return incoming.keep()

    def add_file(self, source: Path) -> str:
        """Store a copy of a file and return its sha256. Raises Refusal (507) when it does not fit."""
        with self.incoming() as incoming, source.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                incoming.write(chunk)
            return incoming.keep()

    def require_room(self, size: int) -> None:
        """Raise Refusal (507) unless `size` more bytes fit."""
        if self._capacity is not None and self._used + size > self._capacity:
            raise no_space()

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """A blob being written: nothing of it stays unless its `keep()` is called."""
        handle, name = tempfile.mkstemp(dir=self._incoming)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield Incoming(stream, check_room=self.require_room, keep=lambda sha256: self._keep(path, sha256))
        finally:
            path.unlink(missing_ok=True)

    def _keep(self, temporary: Path, sha256: str) -> None:
        target = self.path(sha256)
        with self._lock:
            if target.exists():
                return
            size = temporary.stat().st_size
            self.require_room(size)
            private_folder(target.parent)
            temporary.rename(target)
            self._used += size
        _sync_folder(target.parent)


class Incoming:
    """The writing end of one new blob."""

    def __init__(self, stream: BinaryIO, *, check_room: Callable[[int], None], keep: Callable[[str], None]) -> None:
        self._stream = stream
        self._check_room = check_room
        self._keep = keep
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append to the blob. Raises Refusal (507) as soon as it cannot fit."""
        self.size += len(chunk)
        self._check_room(self.size)
        self._hash.update(chunk)
        self._stream.write(chunk)

    @property
    def sha256(self) -> str:
        """The hash of what was written so far."""
        return self._hash.hexdigest()

    def keep(self) -> str:
        """Make the blob permanent and return its sha256."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._keep(self.sha256)
        return self.sha256


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
