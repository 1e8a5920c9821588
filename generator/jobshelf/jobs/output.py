"""What a run in shards has left in its output: parts, completion markers, the card, and what is missing of them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobshelf.blocks import load
from jobshelf.client import explained
from jobshelf.errors import InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_KIND = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is there. `parts` are numbers of parts in the repository, `aside` of those that wait in the run's bucket.

    `total` is the number of parts of the whole run, None while no shard has told it. `has_begun` says that a manifest is there.
    """

    has_begun: bool = False
    total: int | None = None
    parts: frozenset[int] = field(default_factory=frozenset)
    aside: frozenset[int] = field(default_factory=frozenset)
    has_card: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every part is in the repository, and the card with it."""
        return self.total is not None and not set(range(self.total)) - self.parts and self.has_card

    @property
    def lacks_only_the_end(self) -> bool:
        """Whether every part is somewhere, and only collecting them or the card is left."""
        return self.total is not None and not self._missing_parts and not self.is_complete

    @property
    def _missing_parts(self) -> set[int]:
        return set(range(self.total or 0)) - self.parts - self.aside

    def missing_shards(self, count: int) -> list[int]:
        """Return the shards of `count` (from 1) that have work left; the first alone when only the end is missing."""
        if self.total is None:
            return list(range(1, count + 1))
        shards = sorted({part % count + 1 for part in self._missing_parts})
        return shards or ([] if self.is_complete else [1])


def has_begun(repo: str, client: HfApi) -> bool:
    """Whether the output holds the manifest of a run: the first thing that the first shard writes."""
    with explained(client):
        return bool(client.file_exists(repo, load("parts").PARTS_MANIFEST, repo_type=_KIND))


def read_progress(repo: str, client: HfApi) -> Progress:
    """Return what the output `repo` holds: two listings and the contents of two small files.

    Raises InputError when it holds something that is no run in parts.
    """
    parts, shard = load("parts"), load("shard")
    names = _names(repo, client)
    if parts.PARTS_MANIFEST not in names:
        return Progress()
    content = _read(repo, parts.PARTS_MANIFEST, client)
    manifest = parts.parse_run_manifest(_json(content))
    if manifest is None:
        raise InputError(f"{repo} holds the result of something else", fix="name another output")
    beside = _beside(repo, content, client)
    total = _total([name for name in names if name.startswith(f"{shard.SHARD_MARKERS}/")], repo, client)
    total = _total_beside(beside, repo, content, client) if total is None else total
    return Progress(
        has_begun=True,
        total=total,
        parts=_numbers(manifest, names),
        aside=_numbers(manifest, beside),
        has_card="README.md" in names,
    )


def _names(repo: str, client: HfApi) -> list[str]:
    from huggingface_hub.errors import RepositoryNotFoundError

    with explained(client):
        try:
            return client.list_repo_files(repo, repo_type=_KIND)
        except RepositoryNotFoundError:
            return []


def _beside(repo: str, manifest: bytes, client: HfApi) -> list[str]:
    """Return the files in the run's bucket, where the parts of many shards wait to be collected."""
    from huggingface_hub.errors import BucketNotFoundError

    bucket, folder = run_bucket(repo, manifest)
    with explained(client):
        try:
            items = list(client.list_bucket_tree(bucket, prefix=f"{folder}/", recursive=True))
        except BucketNotFoundError:
            return []
    return [item.path.removeprefix(f"{folder}/") for item in items if item.type == "file"]


def run_bucket(repo: str, manifest: bytes) -> tuple[str, str]:
    """Return (bucket, folder) where the block `persist_dataset` puts the parts of more than eight shards."""
    return f"{repo}-parts", hashlib.sha256(manifest).hexdigest()[:8]


def _total(markers: Sequence[str], repo: str, client: HfApi) -> int | None:
    if not markers:
        return None
    return load("shard").parts_in_all({markers[0]: _read(repo, markers[0], client)})


def _total_beside(names: Iterable[str], repo: str, manifest: bytes, client: HfApi) -> int | None:
    shard = load("shard")
    markers = sorted(name for name in names if name.startswith(f"{shard.SHARD_MARKERS}/"))
    if not markers:
        return None
    bucket, folder = run_bucket(repo, manifest)
    with tempfile.TemporaryDirectory() as temporary, explained(client):
        path = Path(temporary) / "marker"
        client.download_bucket_files(bucket, [(f"{folder}/{markers[0]}", str(path))])
        return shard.parts_in_all({markers[0]: path.read_bytes()})


def _read(repo: str, name: str, client: HfApi) -> bytes:
    with tempfile.TemporaryDirectory() as folder, explained(client):
        path = client.hf_hub_download(repo, name, repo_type=_KIND, local_dir=folder, force_download=True)
        return Path(path).read_bytes()


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(manifest: Any, names: Iterable[str]) -> frozenset[int]:  # noqa: ANN401 - a class of a block
    return frozenset(number for name in names if (number := manifest.index(name)) is not None)
