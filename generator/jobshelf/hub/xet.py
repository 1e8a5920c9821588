"""Xet, the transfer of large files, without a storage server.

`hf_xet` accepts `local:///folder` as the address of its storage and then writes the real chunks and shards there. So a
write token names a fresh folder, and a commit reads out of it what was uploaded. The folder is fresh for every token
because the client holds an exclusive lock on it for as long as it lives; for the same reason the Hub reads a copy.
Shard format: https://github.com/huggingface/xet-core (mdb_shard).
"""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobshelf.hub.blobs import Blobs
from jobshelf.hub.database import Database
from jobshelf.hub.private import private_folder
from jobshelf.hub.refusal import Refusal, bad_request

if TYPE_CHECKING:
    from hf_xet import XetSession

TOKEN_LIFETIME_SECONDS = 3600
_EMPTY_FILE = "0" * 64
_STORE = Path("xet", "xorbs")

_SHARD_HEADER = _SHARD_ENTRY = 48
_SHARD_END = b"\xff" * 32
_HAS_VERIFICATION = 1 << 31
_HAS_METADATA = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file that Xet knows: its Xet hash, the blob that holds it, its size in bytes."""

    hash: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file as a shard describes it; the sha256 is there when the client knew it."""

    hash: str
    sha256: str | None
    size: int


class Xet:
    """The folders that clients write to and read from, and what came in by them."""

    def __init__(self, folder: Path, *, database: Database, blobs: Blobs) -> None:
        self._folder = folder
        self._database = database
        self._blobs = blobs
        self._lock = threading.Lock()
        self._sweeping = threading.Lock()

    def open_upload(self, owner: str) -> str:
        """The address of a fresh folder for an upload on behalf of `owner` (a repo or bucket)."""
        self._sweep()
        return f"local://{self._fresh(f'upload/{owner}')}"

    def open_download(self, contents: Sequence[Content]) -> str:
        """The address of a fresh folder in which a client finds these files."""
        self._sweep()
        folder = self._fresh("download")
        _store(folder, [self._blobs.path(content.sha256) for content in contents if content.size])
        return f"local://{folder}"

    def receive(self, owner: str, wanted: Collection[str]) -> None:
        """Take in the files of these hashes (Xet's, or sha256) out of what was uploaded for `owner`.

        What is here, or was not uploaded, is passed over: nobody waits for the rest of an upload that was given up, or
        that another client is still sending.
        Raises Refusal: 507 when a file does not fit, 400 when a file is missing and an upload cannot be read.
        """
        unreadable: Refusal | None = None
        with self._lock:
            for folder in self._folder.glob(f"upload/{owner}/*"):
                try:
                    listed = [file for shard in (folder / _STORE / "shards").glob("*.mdb") for file in _listed(shard)]
                    found = [file for file in listed if {file.hash, file.sha256} & set(wanted)]
                    self._read_out(folder, [file for file in found if self.find(file.hash) is None])
                except Refusal as refusal:
                    if refusal.status != 400:
                        raise
                    unreadable = refusal
        known = "SELECT 1 FROM xet WHERE ? IN (hash, sha256)"
        if unreadable and any(self._database.row(known, one) is None for one in wanted):
            raise unreadable

    def find(self, xet_hash: str) -> Content | None:
        """The file of that hash, if it came in."""
        row = self._database.row("SELECT * FROM xet WHERE hash = ?", xet_hash)
        return None if row is None else Content(**row)

    def add(self, files: Sequence[Path]) -> list[Content]:
        """Store local files as if a client had uploaded them. Raises Refusal (507) when they do not fit."""
        with tempfile.TemporaryDirectory(dir=self._made("scratch")) as scratch:
            hashes = _store(Path(scratch), files)
        return [self._keep(xet_hash, file) for xet_hash, file in zip(hashes, files, strict=True)]

    def _read_out(self, folder: Path, files: Sequence[Listed]) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory(dir=self._made("scratch")) as scratch:
            try:
                fetched = _fetch(folder, files, Path(scratch))
            except RuntimeError as error:
                raise bad_request(f"The uploaded content cannot be read: {error}") from error
            for xet_hash, file in fetched.items():
                self._keep(xet_hash, file)

    def _keep(self, xet_hash: str, file: Path) -> Content:
        content = Content(hash=xet_hash, sha256=self._blobs.add_file(file), size=file.stat().st_size)
        self._database.execute("INSERT OR IGNORE INTO xet VALUES (?, ?, ?)", content.hash, content.sha256, content.size)
        return content

    def _fresh(self, below: str) -> Path:
        return private_folder(self._folder.absolute() / below / secrets.token_hex(8))

    def _made(self, below: str) -> Path:
        return private_folder(self._folder / below)

    def _sweep(self) -> None:
        """Remove the folders whose token ran out, and as long again to finish what was begun with it."""
        oldest = time.time() - 2 * TOKEN_LIFETIME_SECONDS
        with self._sweeping:
            for folder in (*self._folder.glob("upload/*/*"), *self._folder.glob("download/*")):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def parse_shard(shard: bytes) -> Iterator[Listed]:
    """Yield the files that a shard describes."""
    position = _SHARD_HEADER
    while shard[position : position + 32] != _SHARD_END:
        xet_hash = _hex(shard[position : position + 32])
        flags, segments = struct.unpack_from("<II", shard, position + 32)
        sizes = [struct.unpack_from("<I", shard, position + (1 + n) * _SHARD_ENTRY + 36)[0] for n in range(segments)]
        position += _SHARD_ENTRY * (1 + segments * (2 if flags & _HAS_VERIFICATION else 1))
        sha256 = None
        if flags & _HAS_METADATA:
            sha256 = _hex(shard[position : position + 32])
            position += _SHARD_ENTRY
        yield Listed(hash=xet_hash, sha256=sha256, size=sum(sizes))


def _listed(shard: Path) -> list[Listed]:
    try:
        return list(parse_shard(shard.read_bytes()))
    except struct.error as error:
        raise bad_request(f"The uploaded shard cannot be read: {error}") from error


def _hex(raw: bytes) -> str:
    """Xet writes a hash as four little-endian 64-bit numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def _session() -> XetSession:
    import hf_xet

    # by default it logs below HF_HOME, which is none of the Hub's
    return hf_xet.XetSession(hf_xet.XetConfig().with_config({"log.dest": os.devnull, "telemetry.enabled": False}))


def _access(folder: Path) -> dict[str, str | int]:
    expires = int(time.time()) + TOKEN_LIFETIME_SECONDS
    return {"endpoint": f"local://{folder.absolute()}", "token": "local", "token_expiry_unix_secs": expires}


def _store(folder: Path, files: Sequence[Path]) -> list[str]:
    from hf_xet import SKIP_SHA256

    with _session().new_upload_commit(**_access(folder)) as upload:
        sent = [upload.start_upload_file(str(file), sha256=SKIP_SHA256) for file in files]
    return [item.result().xet_info.hash for item in sent]


def _copy_if_there(source: str, target: str) -> None:
    """A client that is still sending renames its files meanwhile."""
    with suppress(FileNotFoundError):
        shutil.copyfile(source, target)


def _fetch(folder: Path, files: Sequence[Listed], scratch: Path) -> dict[str, Path]:
    from hf_xet import XetFileInfo

    copy = scratch / "copy"
    shutil.copytree(folder / _STORE, copy / _STORE, copy_function=_copy_if_there)
    targets = {file.hash: scratch / file.hash for file in files}
    with _session().new_file_download_group(**_access(copy)) as download:
        for file in files:
            if file.hash == _EMPTY_FILE:
                targets[file.hash].touch()
            else:
                download.start_download_file(XetFileInfo(file.hash, file.size), str(targets[file.hash]))
    return targets
