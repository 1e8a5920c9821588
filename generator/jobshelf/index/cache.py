"""Keep what was found out about bytes, so that only what changed is found out again.

A key is the digest of everything that the answer depends on, so that nothing here can be stale; files are written whole
under another name and then renamed, and carry their own digest, so that nothing can be half. All of it may be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

_KEPT_VERSIONS = 4
_PACKAGE = Path(__file__).parents[1]


class Cache:
    """Bytes by key, in one folder. What cannot be read is missing, what cannot be written is not kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes | None:
        """Return the bytes kept under `key`, None when there are none or when they are not what was written."""
        try:
            with open(self._path(key), "rb") as file:  # noqa: PTH123 -- ten thousand of them: pathlib takes longer than the disk
                data = file.read()
        except OSError:
            return None
        digest, content = data[:64], data[65:]
        return content if digest == hashlib.sha256(content).hexdigest().encode() else None

    def put(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`, for whoever asks next, in whatever process."""
        path = Path(self._path(key))
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            Path(name).replace(path)

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key[:2]}/{key[2:]}"


def open_cache(tool: str) -> Cache:
    """Return the cache of this version of the tool; those of versions that were used long ago are removed."""
    home = cache_home()
    folder = home / tool[:16]
    if not folder.exists():
        _remove_old(home)
    return Cache(folder)


def cache_home() -> Path:
    """Return the folder of all of it: `$XDG_CACHE_HOME/jobshelf/index`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jobshelf" / "index"


def tool_digest() -> str:
    """Return the digest of what finds things out: the source of this package, Python and ruff."""
    digest = hashlib.sha256(f"{platform.python_version()} {version('ruff')}\n".encode())
    for path in sorted(_PACKAGE.rglob("*.py")):
        if "_data" not in path.relative_to(_PACKAGE).parts:
            digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {sha256(path.read_bytes())}\n".encode())
    return digest.hexdigest()


def sha256(data: bytes) -> str:
    """Return the hex digest."""
    return hashlib.sha256(data).hexdigest()


def _remove_old(home: Path) -> None:
    with contextlib.suppress(OSError):
        folders = sorted(home.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for folder in folders[_KEPT_VERSIONS - 1 :]:
            shutil.rmtree(folder, ignore_errors=True)
