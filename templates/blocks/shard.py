# block: shard 1
"""`--shard I/N`: the I-th (from 1) of N processes that share one run, and the marker each leaves when it is done.

Promises: every part belongs to exactly one shard, whatever N is; part numbers do not depend on N, so that a run begun
with eight shards may be ended with one; markers lie where datatrove puts them (`completions/00000` is shard 1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .exits import EXIT_INPUT, EXIT_USAGE, Stop

SHARD_MARKERS = "completions"
SHARD_MOST = 99_999
_SHARD_FORM = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Number `index` of `count` shards, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def rank(self) -> int:
        """The number of this shard counted from 0, as in the names of its files."""
        return self.index - 1

    @property
    def marker(self) -> str:
        """Where the marker of this shard lies, relative to the output."""
        return f"{SHARD_MARKERS}/{self.rank:05d}"

    def holds(self, part_index: int) -> bool:
        """Whether the part of this number (from 0) is this shard's work."""
        return part_index % self.count == self.rank


def parse_shard(given: str | None) -> Shard:
    """Return the shard that `--shard` names, 1/1 for None; stop with 2 when it is not I/N with 1 <= I <= N."""
    if given is None:
        return Shard(index=1, count=1)
    match = _SHARD_FORM.fullmatch(given)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= SHARD_MOST:
        message = f"--shard {given!r} is not I/N with I from 1 to N and N up to {SHARD_MOST}"
        raise Stop(EXIT_USAGE, message, fix="write --shard 1/8 for the first of eight, --shard 8/8 for the last")
    return Shard(index=index, count=count)


def shard_marker(shard: Shard, *, parts_in_all: int) -> bytes:
    """Return what the marker of a finished shard says: which shard it was, and the parts that the whole run has."""
    return (json.dumps({"parts_in_all": parts_in_all, "shard": str(shard)}, sort_keys=True) + "\n").encode()


def parts_in_all(markers: Mapping[str, bytes]) -> int | None:
    """Return the number of parts of the whole run as the markers (name -> content) say; None when none says it.

    Stops with 4 when they do not agree: the shards did not read the same input.
    """
    told = {name: _shard_told(content) for name, content in sorted(markers.items())}
    totals = {total for total in told.values() if total is not None}
    if len(totals) > 1:
        listed = ", ".join(f"{name}: {total}" for name, total in told.items())
        message = f"the shards do not agree on the number of parts ({listed})"
        raise Stop(EXIT_INPUT, message, fix="run all shards on the same input and revision, with --overwrite")
    return totals.pop() if totals else None


def missing_parts(total: int, finished: Iterable[int]) -> list[int]:
    """Return the numbers below `total` that are not finished, in order."""
    return sorted(set(range(total)).difference(finished))


def _shard_told(content: bytes) -> int | None:
    try:
        said = json.loads(content)
    except ValueError:
        return None
    total = said.get("parts_in_all") if isinstance(said, dict) else None
    return total if isinstance(total, int) and total >= 0 else None
