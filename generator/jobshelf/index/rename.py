"""Texts that name one Hub dataset, rewritten to name another: what a shelf says of itself where it is published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jobshelf.index.entry import Entry, addressed


def rename_dataset(text: str, old: str, new: str) -> str:
    """Return `text` with the dataset `old` (owner/name) replaced by `new`, in addresses and by itself.

    Longer names that contain it (`owner/name-extra`, `my-owner/name`) and repositories of the same name elsewhere
    (`github.com/owner/name`, `spaces/owner/name`) stay as they are.
    """
    return _name(old).sub(lambda _: new, text)


def rename_bytes(data: bytes, old: str, new: str) -> bytes:
    """Return `rename_dataset` of a file; bytes that are not UTF-8 stay as they are."""
    return rename_dataset(data.decode("utf-8", "surrogateescape"), old, new).encode("utf-8", "surrogateescape")


def rename_entry(entry: Entry, old: str, new: str, *, sha256: str, size: int) -> Entry:
    """Return the entry of a script whose text was renamed to `size` bytes with this digest.

    Where the script is maintained stays as it is. The record of a rehearsal of the script stays one of it: no address
    of its own decides what a script does.
    """
    data = _renamed(entry.data, old, new)
    origin = entry.data["source"]["urls"].get("repository")
    urls = data["source"]["urls"] | ({"repository": origin} if origin else {})
    data = {**data, "source": {**data["source"], "urls": urls, "sha256": sha256, "bytes": size}}
    if entry.rehearsal is not None and entry.rehearsal.get("sha256") == entry.sha256:
        data = {**data, "rehearsal": {**data["rehearsal"], "sha256": sha256}}
    return Entry(data=addressed(data, new))


@cache
def _name(dataset: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?<=datasets/)|(?<![\w./@-])(?<!gh:)){re.escape(dataset)}(?![\w-]|\.\w)", re.ASCII)


def _renamed(value: Any, old: str, new: str) -> Any:  # noqa: ANN401 (any JSON data)
    if isinstance(value, str):
        return rename_dataset(value, old, new)
    if isinstance(value, Mapping):
        return {rename_dataset(key, old, new): _renamed(item, old, new) for key, item in value.items()}
    return [_renamed(item, old, new) for item in value] if isinstance(value, list) else value
