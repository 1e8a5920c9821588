"""Where the shelf lies on disk and what it is called: the checkout first, the installed package second."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import InputError

_PACKAGED = Path(__file__).parent / "_data"
_SOURCE_TREE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A shelf on disk.

    `root` holds `catalog/`, `templates/` and `index.json`. `github`, `dataset` and `space` are the public names
    (`owner/name`), read from `[tool.jobshelf.shelf]` in `root/pyproject.toml`, the one place where they stand.
    """

    root: Path
    name: str
    version: str
    description: str
    github: str
    dataset: str
    space: str

    @property
    def catalog(self) -> Path:
        """The folder of scripts."""
        return self.root / "catalog"

    @property
    def index_file(self) -> Path:
        """The generated index."""
        return self.root / "index.json"

    def scripts(self) -> list[Path]:
        """The catalogue's script files, in the order of their names."""
        return sorted(self.catalog.glob("*.py"), key=lambda path: path.name)


def find_shelf(start: Path | None = None) -> Shelf:
    """Return the shelf around `start` (default: the working folder), else the installed one.

    Raises InputError when `[tool.jobshelf.shelf]` lacks a name.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, _PACKAGED, _SOURCE_TREE):
        table = _shelf_table(folder / "pyproject.toml")
        if table is not None:
            return _shelf(folder, *table)
    raise InputError(f"no shelf at {here}, nor in the installed package", fix="run inside a checkout of the shelf")


def _shelf_table(pyproject: Path) -> tuple[dict[str, str], dict[str, str]] | None:
    try:
        document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{pyproject} is not TOML: {error}", fix="mend that line") from error
    table = document.get("tool", {}).get("jobshelf", {}).get("shelf")
    return None if table is None else (document.get("project", {}), table)


def _shelf(root: Path, project: dict[str, str], table: dict[str, str]) -> Shelf:
    try:
        return Shelf(
            root=root,
            name=table["name"],
            version=project["version"],
            description=project["description"],
            github=table["github"],
            dataset=table["dataset"],
            space=table["space"],
        )
    except KeyError as error:
        key = error.args[0]
        where = "project" if key in {"version", "description"} else "tool.jobshelf.shelf"
        raise InputError(f"{root / 'pyproject.toml'} has no '{key}' in [{where}]", fix=f"add {key} there") from error
