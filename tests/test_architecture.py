"""The arrows of the house: every import of ours points down, and what starts the tool stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "generator" / "jobshelf"

# The floors of the house, top to bottom; a module imports only from floors below its own.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("demo", "testing"),
    ("rehearse", "publish", "jobs", "host", "scaffold"),
    ("emit", "page", "derive"),
    ("skill",),
    ("guides",),
    ("index",),
    ("vet", "record", "hardware"),
    ("interface", "stub", "client", "blocks", "hub", "render", "sample_data"),
    ("script", "shelf", "forms", "recording", "session", "canary"),
    ("launch", "scripts"),
    ("errors", "workers", "outages"),
)
# Modules that may import nothing of ours but the one named.
ALONE = {"script": {"errors", "scripts"}, "scripts": {"errors", "outages"}, "hub": {"errors"}}
HEAVY = {"huggingface_hub", "copier", "starlette", "uvicorn", "polars", "jinja2", "yaml", "packaging"}


def modules() -> Iterator[tuple[str, Path]]:
    """Yield (room, file): a package is one room, named by its folder."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in {"__init__", "_data"}:
            yield room, path


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jobshelf":
            names = node.module.split(".")[1:] or [alias.name for alias in node.names]
            found.add(names[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("jobshelf.")}
    return found


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def upward(room: str, path: Path) -> set[str]:
    """Return the rooms that this file imports and must not."""
    others = imported_rooms(path) - {room}
    if room in ALONE:
        return others - ALONE[room]
    return {other for other in others if floor_of(other) <= floor_of(room)}


@pytest.mark.parametrize(("room", "path"), list(modules()), ids=lambda value: getattr(value, "name", value))
def test_imports_point_down(room: str, path: Path):
    assert not upward(room, path), f"{path.relative_to(PACKAGE)} imports upwards: {sorted(upward(room, path))}"


def test_the_map_of_the_house_is_the_house():
    """docs/architecture.md lists the same rooms on the same floors; `__main__` is of another."""
    text = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    told = [set(re.findall(r"`(\w+)`", cell)) & ({room for room, _ in modules()}) for _, cell in rows]
    assert told == [set(rooms) for rooms in FLOORS[1:]]
    assert {room for room, _ in modules()} == {room for rooms in FLOORS for room in rooms}


def test_an_upward_import_is_named(tmp_path: Path):
    path = tmp_path / "script.py"
    path.write_text("from jobshelf.index import Index\nimport jobshelf.cli\n", encoding="utf-8")
    assert upward("script", path) == {"index", "cli"}


def test_help_imports_nothing_heavy():
    argv = [sys.executable, "-X", "importtime", "-m", "jobshelf", "--help"]
    log = subprocess.run(argv, capture_output=True, text=True, check=True).stderr
    names = {line.rpartition("|")[2].strip().split(".")[0] for line in log.splitlines()}
    assert "jobshelf" in names
    assert not names & HEAVY
