"""The templates as Copier sees them, away from the repository around them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy

from support import ROOT

Render = Callable[..., Path]


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A folder with copier.yml and templates/ as they are in the working tree, and nothing else."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copy(ROOT / "copier.yml", folder)
    shutil.copytree(ROOT / "templates", folder / "templates", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def render(template: Path, tmp_path: Path) -> Render:
    """`render(kind="utility")` is the folder that Copier made with these answers and the defaults, without --trust."""

    def make(folder: str = "made", /, **answers: Any) -> Path:
        run_copy(str(template), tmp_path / folder, data=answers, defaults=True, quiet=True)
        return tmp_path / folder

    return make


def files_in(folder: Path) -> Mapping[str, str]:
    """Return the text of every file below `folder`, by its relative path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}
