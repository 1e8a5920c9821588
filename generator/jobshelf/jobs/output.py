"""How far the output of a run in shards is: whether a run has begun there, its parts, and whether it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobshelf.client import explained

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_RUN = "run.json"  # says whose files they are: the first thing that the first shard writes
_CARD = "README.md"  # the last thing, by the shard that ends last


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is there: whether a run has begun, how many parts are finished, and whether these are all."""

    has_begun: bool = False
    parts: int = 0
    is_complete: bool = False


def read_progress(repo: str, client: HfApi) -> Progress:
    """Return how far the dataset `repo` is; nothing of a run where there is no such dataset."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with explained(client):
        try:
            names = client.list_repo_files(repo, repo_type="dataset")
        except RepositoryNotFoundError:
            return Progress()
    parts = [name for name in names if name.startswith("data/") and name.endswith(".parquet")]
    has_begun = _RUN in names
    return Progress(has_begun=has_begun, parts=len(parts), is_complete=has_begun and _CARD in names)


def has_begun(repo: str, client: HfApi) -> bool:
    """Tell whether a run has begun in the dataset `repo`, with one small request."""
    with explained(client):
        return client.file_exists(repo, _RUN, repo_type="dataset")
