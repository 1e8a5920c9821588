"""Volumes of a Job, as folders on this machine.

A Job's command names its volumes by mount path (`/data`). Nothing is mounted here: the files are copied into a folder
of the Job's own, the mount path in the command is replaced by that folder, and afterwards the changes go back.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobshelf.hub import clock
from jobshelf.hub.blobs import Blobs
from jobshelf.hub.buckets import Add, Bucket, Buckets, Remove
from jobshelf.hub.names import file_path
from jobshelf.hub.private import private_folder
from jobshelf.hub.xet import Xet


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Files (path below the mount -> sha256) that a Job finds at `mount_path`.

    `bucket` and the folder `inside` it are where changes go back to; None for what is read-only.
    """

    mount_path: str
    files: Mapping[str, str]
    bucket: Bucket | None = None
    inside: str = ""


def copy_out(mount: Mount, folder: Path, blobs: Blobs) -> None:
    """Write a mount's files below `folder`."""
    private_folder(folder)
    for path, sha256 in mount.files.items():
        target = folder / path
        private_folder(target.parent)
        target.touch(mode=0o600)
        shutil.copyfile(blobs.path(sha256), target)


def rewrite(text: str, folders: Mapping[str, Path]) -> str:
    """Replace each mount path in `text` by its folder, where it stands as a whole path or the beginning of one."""
    for mount_path, folder in folders.items():
        text = re.sub(rf"(?<![\w./-]){re.escape(mount_path)}(?=/|$|[\s\"':,;)])", lambda _, to=folder: str(to), text)
    return text


def copy_back(mount: Mount, folder: Path, *, buckets: Buckets, xet: Xet) -> None:
    """Put what a Job changed below `folder` back into the mount's bucket. Raises Refusal (507) when it does not fit."""
    if mount.bucket is None:
        return
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    changed = [path for path, file in present.items() if mount.files.get(path) != _sha256(file)]
    contents = xet.add([present[path] for path in changed]) if changed else []
    prefix = f"{mount.inside}/" if mount.inside else ""
    operations: list[Add | Remove] = [
        Add(path=file_path(prefix + path), content=content, mtime=clock.moment(present[path].stat().st_mtime))
        for path, content in zip(changed, contents, strict=True)
    ]
    operations += [Remove(path=prefix + path) for path in mount.files if path not in present]
    buckets.apply(mount.bucket, operations)


def below(files: Mapping[str, str], folder: str) -> dict[str, str]:
    """The files inside a folder, by their path in there; all of them when `folder` is empty."""
    prefix = f"{folder}/" if folder else ""
    return {path[len(prefix) :]: sha256 for path, sha256 in files.items() if path.startswith(prefix)}


def _files(folder: Path) -> Sequence[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
