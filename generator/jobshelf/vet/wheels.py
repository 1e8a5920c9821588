"""What a wheel says about its distribution: the modules that it holds, and what it requires.

The wheel is one that is installed beside the tool, or one that uv has in its cache; nothing is downloaded.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_MODULES = frozenset({".py", ".pyd", ".so"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """`modules` are dotted names, packages with an `__init__` and single files; `requires` its requirements, with their markers."""

    modules: frozenset[str]
    requires: tuple[Requirement, ...]

    def holds(self, module: str) -> bool:
        """Tell whether `import module` finds this distribution; a folder that it shares with others, such as `google`, does not say so."""
        parts = module.split(".")
        return any(".".join(parts[:size]) in self.modules for size in range(len(parts), 0, -1))

    def brought_by(self, extra: str) -> frozenset[str]:
        """Return the names of the distributions that this extra adds."""
        return frozenset(
            canonicalize_name(one.name)
            for one in self.requires
            if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
        )

    def brings(self) -> frozenset[str]:
        """Return the names of the distributions that come along without any extra."""
        return frozenset(
            canonicalize_name(one.name)
            for one in self.requires
            if one.marker is None or one.marker.evaluate({"extra": ""})
        )


@lru_cache(maxsize=256)
def wheel_of(distribution: str) -> Wheel | None:
    """Return what a wheel of this distribution (normalised name) on this machine says; None when there is none."""
    found = _installed(distribution) or next(_cached(distribution), None)
    if found is None:
        return None
    modules = frozenset(_modules(found.read_text("RECORD") or ""))
    return Wheel(modules=modules, requires=tuple(_requirements(found))) if modules else None


def _installed(distribution: str) -> Distribution | None:
    from importlib import metadata

    try:
        return metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cached(distribution: str) -> Iterator[Distribution]:
    """Yield the wheels in uv's cache, the one that was fetched last first."""
    from importlib.metadata import Distribution

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("UV_CACHE_DIR") or home / "uv")
    places = (f"wheels-v*/pypi/{distribution}", f"wheels-v*/index/*/{distribution}")
    folders = [folder for place in places for folder in cache.glob(f"{place}/*/*.dist-info")]
    for folder in sorted(folders, key=lambda folder: (folder.stat().st_mtime, folder.name), reverse=True):
        yield Distribution.at(folder)


def _modules(record: str) -> Iterator[str]:
    for row in csv.reader(record.splitlines()):
        path = PurePosixPath(row[0] if row else "")
        names = [*path.parts[:-1], path.name.partition(".")[0]]
        if path.suffix in _MODULES and all(name.isidentifier() for name in names):
            yield ".".join(names[:-1] if names[-1] == "__init__" else names)


def _requirements(found: Distribution) -> Iterator[Requirement]:
    for text in found.requires or ():
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue
