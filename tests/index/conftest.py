"""An index that needs nothing of this machine: what it serves as torch is an empty wheel of the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from index import cpu_index
from index.pages import TORCH_FILE, TORCH_VERSION
from index.wheels import EmptyWheel

Links = Callable[[str], Path]


@pytest.fixture
def links(tmp_path: Path) -> Links:
    """`links("name")`: a folder that holds a wheel of torch."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        tag = TORCH_FILE.removesuffix(".whl").split("-", 2)[2]
        (folder / TORCH_FILE).write_bytes(EmptyWheel(name="torch", version=TORCH_VERSION, tag=tag).build())
        return folder

    return make


@pytest.fixture
def user(environment: dict[str, str], links: Links, tmp_path: Path) -> dict[str, str]:
    """A user whose PIP_FIND_LINKS names a folder with torch, and whose caches are empty."""
    return environment | {
        "PIP_FIND_LINKS": str(links("links")),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "UV_CACHE_DIR": str(tmp_path / "cache" / "uv"),
    }


@pytest.fixture
def served(user: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, str]]:
    """The variables of an index that runs."""
    for name in ("PIP_FIND_LINKS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, user[name])
    monkeypatch.delenv("UV_INDEX", raising=False)
    with cpu_index() as variables:
        yield variables
