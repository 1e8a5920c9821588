"""The catalogue's index: what is known of every script, derived from the catalogue alone, the same on every rebuild.

::

    index = load_index(find_shelf())
    entry = index.find("finepdfs-stats")
    print(entry.commands["jobs"]["text"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobshelf.index.document import Index, load_index, shelf_with
from jobshelf.index.entry import Entry, normalise
from jobshelf.index.schema import SCHEMA_FILE, schema_text

if TYPE_CHECKING:
    from jobshelf.index.builder import Built, build, build_index, check_index, write_index

__all__ = [
    "SCHEMA_FILE",
    "Built",
    "Entry",
    "Index",
    "build",
    "build_index",
    "check_index",
    "load_index",
    "normalise",
    "schema_text",
    "shelf_with",
    "write_index",
]


def __getattr__(name: str) -> object:
    # Who only looks a script up (`jobshelf list`) shall not wait for what builds an index.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jobshelf.index import builder

    return getattr(builder, name)
