# block: persist_bucket 1
"""Files in a Hub bucket (`hf://buckets/user/name/folder`), or in a folder that a bucket is mounted at (`/data/out`).

Promises: the place is checked (a bucket created, private) before the work; files are streamed from disk, whole files
only, in one batch; every one is listed again afterwards; what a killed run left half written goes when that file is
written again; what cannot be stored stays where it is, and the code is 6.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .exits import EXIT_ENVIRONMENT, EXIT_NOT_PERSISTED, EXIT_TOKEN, EXIT_USAGE, Stop, one_line
from .retry import http_status, retry
from .token import require_write, token_advice

BUCKET_RACES = 20  # of those that write, and clear away, the same file in one folder
_BUCKET_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # a file being written, or left by a run killed just then
_BUCKET_URI = re.compile(r"hf://buckets/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(.*?))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlace:
    """Where files go: under `prefix` of the bucket `bucket_id`, or in the mounted `folder`; one of the two is set."""

    bucket_id: str | None
    prefix: str
    folder: Path | None

    def __str__(self) -> str:
        return str(self.folder) if self.folder else f"hf://buckets/{self.bucket_id}/{self.prefix}".rstrip("/")


def parse_bucket(given: str) -> BucketPlace:
    """Return the place that `given` names; stop with 2 when it is neither hf://buckets/user/name nor an absolute path."""
    if Path(given).is_absolute():
        return BucketPlace(bucket_id=None, prefix="", folder=Path(given))
    match = _BUCKET_URI.fullmatch(given)
    prefix = (match[2] or "") if match else ""
    if match is None or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        message = f"{given!r} is neither a bucket nor the absolute path of a mounted one"
        raise Stop(EXIT_USAGE, message, fix="write hf://buckets/user/name/folder, or /data/folder with `-v` on the Job")
    return BucketPlace(bucket_id=match[1], prefix=prefix, folder=None)


def open_bucket(place: BucketPlace, *, dry_run: bool) -> str | None:
    """Return the token that writes to `place` (None for a mount), after checking that it can be written to.

    Creates a bucket that does not exist yet, private; a dry run creates nothing. Stops with 3 or 5.
    """
    if place.folder is not None:
        _bucket_mount_is_writable(place.folder, dry_run=dry_run)
        return None
    token = require_write(str(place.bucket_id))
    if not dry_run:
        create_bucket_once(place, token)
    return token


def create_bucket_once(place: BucketPlace, token: str) -> None:
    """Create the bucket, private, unless it is there; stop with 3 when the Hub does not let this token."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(
            lambda: api.create_bucket(str(place.bucket_id), private=True, exist_ok=True),
            what=f"creating the bucket {place.bucket_id}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 402, 403, 404}:
            raise
        message = f"the Hub does not let this token create the bucket {place.bucket_id}: {one_line(error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def list_bucket(place: BucketPlace, token: str | None) -> dict[str, int]:
    """Return the files at `place`: name relative to it -> size in bytes.

    A folder or bucket that does not exist, or that this token may not see, holds none. What others are writing, or were
    when they were killed, is not there yet.
    """
    if place.folder is not None:
        return _bucket_files(place.folder)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    start = f"{place.prefix}/" if place.prefix else ""
    api = HfApi(token=token)
    try:
        items = retry(
            lambda: list(api.list_bucket_tree(str(place.bucket_id), prefix=start or None, recursive=True)),
            what=f"listing {place}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403, 404}:
            raise
        return {}
    return {item.path.removeprefix(start): item.size for item in items if item.type == "file"}


def put_in_bucket(place: BucketPlace, files: Mapping[str, Path], token: str | None) -> None:
    """Store `files` (name relative to `place` -> local file). Errors of the Hub and the disk pass through."""
    if place.folder is not None:
        for name, path in files.items():
            _bucket_copy(path, place.folder / name)
        return
    from huggingface_hub import HfApi

    start = f"{place.prefix}/" if place.prefix else ""
    add = [(str(path), f"{start}{name}") for name, path in files.items()]
    api = HfApi(token=token)
    retry(lambda: api.batch_bucket_files(str(place.bucket_id), add=add), what=f"writing to {place}")


def fetch_from_bucket(place: BucketPlace, wanted: Mapping[str, Path], token: str | None) -> None:
    """Copy files of `place` (name -> local path) to this machine. Raises FileNotFoundError where one is missing."""
    for path in wanted.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    if place.folder is not None:
        for name, path in wanted.items():
            shutil.copyfile(place.folder / name, path)
        return
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError

    start = f"{place.prefix}/" if place.prefix else ""
    pairs = [(f"{start}{name}", str(path)) for name, path in wanted.items()]
    api = HfApi(token=token)
    try:
        retry(
            lambda: api.download_bucket_files(str(place.bucket_id), pairs, raise_on_missing_files=True),
            what=f"reading {place}",
        )
    except EntryNotFoundError as error:
        raise FileNotFoundError(one_line(error)) from error


def persist_in_bucket(place: BucketPlace, files: Mapping[str, Path], token: str | None) -> str:
    """Store `files`, list them again, and return where they are; stop with 6 where that cannot be had."""
    try:
        put_in_bucket(place, files, token)
        there = list_bucket(place, token)
    except (Stop, OSError, RuntimeError) as error:
        raise _bucket_not_persisted(place, files, error.message if isinstance(error, Stop) else error) from error
    wrong = [name for name, path in files.items() if there.get(name) != path.stat().st_size]
    if wrong:
        raise _bucket_not_persisted(place, files, f"{', '.join(wrong[:3])} did not arrive whole")
    return str(place)


def _bucket_mount_is_writable(folder: Path, *, dry_run: bool) -> None:
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    # A folder at the root of the machine that nothing is mounted at is lost when the Job ends.
    if nearest == Path(folder.anchor) or not nearest.is_dir():
        message = f"nothing is mounted at {folder}"
        raise Stop(EXIT_ENVIRONMENT, message, fix="start the Job with `-v hf://buckets/user/name:/data`")
    try:
        if dry_run:
            writable = os.access(nearest, os.W_OK)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                writable = True
    except OSError:
        writable = False
    if not writable:
        raise Stop(EXIT_ENVIRONMENT, f"{folder} cannot be written to", fix="mount the bucket without `:ro`")


def _bucket_files(folder: Path) -> dict[str, int]:
    # not rglob, which fails when another run clears a folder away at this moment
    found = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names if not _BUCKET_PART.fullmatch(name)):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return dict(sorted(found.items()))


def half_written(path: Path) -> list[Path]:
    """Return what is beside `path` of attempts to write it that were killed, or are going on."""
    beside: list[Path] = []
    with contextlib.suppress(FileNotFoundError):
        beside = list(path.parent.iterdir())
    return [one for one in beside if one.name.startswith(f".{path.name}.") and _BUCKET_PART.fullmatch(one.name)]


def _bucket_copy(source: Path, destination: Path) -> None:
    # once, not at each race: two that write the same file would take away each other's for ever
    for path in half_written(destination):
        path.unlink(missing_ok=True)
    for race in range(1, BUCKET_RACES + 1):
        try:
            _bucket_copy_once(source, destination)
        except FileNotFoundError:  # another writer took ours for a leftover, or cleared the folder away
            if race == BUCKET_RACES or not source.exists():
                raise
        else:
            return


def _bucket_copy_once(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as target, source.open("rb") as data:
            shutil.copyfileobj(data, target)
            target.flush()
            os.fsync(target.fileno())
        Path(temporary).replace(destination)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _bucket_not_persisted(place: BucketPlace, files: Mapping[str, Path], reason: object) -> Stop:
    copy = ["cp"] if place.folder else ["hf", "cp"]
    commands = [shlex.join([*copy, str(path.absolute()), f"{place}/{name}"]) for name, path in files.items()]
    folders = ", ".join(sorted({str(path.parent.absolute()) for path in files.values()}))
    message = f"the result is not in {place} ({one_line(reason)}); it is in {folders}"
    return Stop(EXIT_NOT_PERSISTED, message, fix=" && ".join(commands))
