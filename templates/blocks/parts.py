# block: parts 1
"""The work of a run cut into parts that are the same on every attempt, and the manifest that says which run it is.

Promises: part K always holds the rows from K x size on, in the order of the input; the manifest (script, request with
RESULT_VERSION, source commit, part size) is what a restart goes by: it keeps the first attempt's source and part size,
and stops with 4 only when the request itself differs (unless --overwrite).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .exits import EXIT_INPUT, Stop, note

PARTS_MANIFEST = "jobshelf.json"
PARTS_FOLDER = "data"

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows `start` <= row < `stop` of the input (counted from 0); `index` counts the parts from 0."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """Which run an output belongs to. `request` holds every argument that changes the result, and RESULT_VERSION.

    `source` is the identity of the input (a commit, or "sha256:..." of local files), `part_rows` the rows a part,
    `split` the name of the split that the parts make up.
    """

    script: str
    request: Mapping[str, Any]
    source: str
    part_rows: int
    split: str = "train"

    def to_bytes(self) -> bytes:
        """Return the manifest as the file that is written to the output."""
        content = {
            "script": self.script,
            "request": dict(self.request),
            "source": self.source,
            "part_rows": self.part_rows,
            "split": self.split,
        }
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def path(self, index: int) -> str:
        """Return where part `index` lies, relative to the output."""
        return f"{PARTS_FOLDER}/{self.split}-{index:06d}.parquet"

    def index(self, path: str) -> int | None:
        """Return the number of the part that lies at `path`, None when that is no part of this run."""
        number = path.removeprefix(f"{PARTS_FOLDER}/{self.split}-").removesuffix(".parquet")
        return int(number) if number.isdecimal() and self.path(int(number)) == path else None


def parse_run_manifest(content: Mapping[str, Any]) -> RunManifest | None:
    """Return the manifest that a JSON object says, None when it is not one of a run in parts."""
    kinds = {"script": str, "request": dict, "source": str, "part_rows": int, "split": str}
    if not all(isinstance(content.get(key), kind) for key, kind in kinds.items()) or content["part_rows"] < 1:
        return None
    return RunManifest(**{key: content[key] for key in kinds})


def adopt_manifest(
    there: RunManifest | None, ours: RunManifest, *, where: str, overwrite: bool, complete: bool
) -> RunManifest:
    """Return the manifest to go by: the one that is `there` when it is of the same request, else `ours`.

    `overwrite` begins anew where the request differs, or where a run that is `complete` had another source; it never
    throws away the unfinished work of the same request, so that restarts and sibling shards may all pass it.
    Stops with 4 when the request differs, or when a local input is no longer what the run began with.
    """
    if there is None:
        return ours
    if _parts_request(there) != _parts_request(ours):
        if overwrite:
            return ours
        raise _parts_of_another_run(there, ours, where)
    if there.source == ours.source or (overwrite and complete):
        return there if there.source == ours.source else ours
    if "sha256:" in there.source + ours.source:
        message = f"the input is not what {where} was begun with ({there.source[:15]} then, {ours.source[:15]} now)"
        raise Stop(EXIT_INPUT, message, fix="bring the old input back, or name another output")
    end = "is complete: add --overwrite to compute it from the new one" if complete else "goes on with that"
    note(f"{where} was begun with revision {there.source[:12]} (now {ours.source[:12]}) and {end}")
    return there


def cut(total: int, size: int) -> Iterator[Part]:
    """Yield the parts of `total` rows, `size` rows each, the last one shorter."""
    for index, start in enumerate(range(0, total, size)):
        yield Part(index=index, start=start, stop=min(start + size, total))


def cut_stream(
    items: Iterable[_Item], size: int, *, wanted: Callable[[int], bool]
) -> Iterator[tuple[Part, list[_Item] | None]]:
    """Yield each part of `items` (of a known order, unknown length); its items, or None where not `wanted(index)`.

    Items of an unwanted part are read and dropped one by one: at most one part is in memory.
    """
    stream, start = iter(items), 0
    for index in itertools.count():
        group = itertools.islice(stream, size)
        kept = list(group) if wanted(index) else None
        taken = len(kept) if kept is not None else sum(1 for _ in group)
        if not taken:
            return
        yield Part(index=index, start=start, stop=start + taken), kept
        start += taken


def _parts_request(manifest: RunManifest) -> dict[str, str]:
    """Return each thing asked for as JSON text: what a file brings back as a list may have been a tuple."""
    asked = {"script": manifest.script, "split": manifest.split, **manifest.request}
    return {key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in asked.items()}


def _parts_of_another_run(there: RunManifest, ours: RunManifest, where: str) -> Stop:
    before, now = _parts_request(there), _parts_request(ours)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    told = ", ".join(f"{key}: {before.get(key, '-')[:60]} there, {now.get(key, '-')[:60]} asked" for key in changed[:3])
    message = f"{where} holds the result of another request ({told})"
    return Stop(EXIT_INPUT, message, fix="name another output, or add --overwrite to replace that result")
