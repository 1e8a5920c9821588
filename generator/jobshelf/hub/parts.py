"""Large files that arrive in parts, until they are whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from jobshelf.hub.blobs import Blobs
from jobshelf.hub.private import private_folder
from jobshelf.hub.refusal import bad_request

PART_BYTES = 8 << 20
_CHUNK = 1 << 20


class Parts:
    """The parts of uploads that are under way. They do not survive a restart: a client then begins again."""

    def __init__(self, folder: Path, *, blobs: Blobs) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        private_folder(folder)
        self._folder = folder
        self._blobs = blobs

    async def receive(self, sha256: str, number: int, stream: AsyncIterator[bytes]) -> str:
        """Keep part `number` of a file and return its ETag. Raises Refusal: 400 for one that is too long, 507."""
        folder = private_folder(self._folder / sha256)
        etag, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in stream:
                    size += len(chunk)
                    if size > PART_BYTES:
                        raise bad_request(f"A part has at most {PART_BYTES} bytes")
                    self._blobs.require_room(size)
                    etag.update(chunk)
                    file.write(chunk)
            Path(name).rename(folder / f"{number}-{etag.hexdigest()}")
        finally:
            Path(name).unlink(missing_ok=True)
        return etag.hexdigest()

    def join(self, sha256: str, size: int, etags: Sequence[str]) -> None:
        """Make a blob of the parts in order. Raises Refusal: 400 when they are not what was announced, 507."""
        files = [self._folder / sha256 / f"{number}-{etag}" for number, etag in enumerate(etags, 1)]
        missing = [number for number, file in enumerate(files, 1) if not file.is_file()]
        if missing:
            raise bad_request(f"Part {missing[0]} of {sha256} is not here")
        with self._blobs.incoming() as incoming:
            for file in files:
                with file.open("rb") as stream:
                    while chunk := stream.read(_CHUNK):
                        incoming.write(chunk)
            if (incoming.sha256, incoming.size) != (sha256, size):
                raise bad_request(
                    f"The parts make {incoming.size} bytes with sha256 {incoming.sha256}, expected {size}"
                )
            incoming.keep()
        shutil.rmtree(self._folder / sha256, ignore_errors=True)
