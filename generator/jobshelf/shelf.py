"""Where the shelf is on disk and what it is called: the one around a folder, else the one that comes with the tool."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import InputError, UsageError

_PACKAGED = Path(__file__).parent / "_data"
_SOURCE_TREE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A shelf on disk.

    `root` holds `catalog/` and `index.json`. `dataset`, `github` and `space` are the public names (`owner/name`), read
    from `[tool.jobshelf.shelf]` in `root/pyproject.toml`, the one place where they stand; a shelf need not have the last two.
    """

    root: Path
    name: str
    version: str
    description: str
    dataset: str
    github: str | None
    space: str | None

    @property
    def catalog(self) -> Path:
        """The folder of scripts."""
        return self.root / "catalog"

    @property
    def index_file(self) -> Path:
        """The generated index."""
        return self.root / "index.json"

    @property
    def repository(self) -> str:
        """The address of the sources: the GitHub repository, else the dataset's own page."""
        if self.github is None:
            return f"https://huggingface.co/datasets/{self.dataset}"
        return f"https://github.com/{self.github}"

    def scripts(self) -> list[Path]:
        """The catalogue's script files, in the order of their names."""
        return sorted(self.catalog.glob("*.py"), key=lambda path: path.name)


def find_shelf(start: Path | None = None) -> Shelf:
    """Return the shelf around `start` (default: the working folder), else the installed one; for what only reads.

    Raises InputError when `[tool.jobshelf.shelf]` lacks a name.
    """
    return _nearest(start) or installed_shelf()


def own_shelf(start: Path | None = None) -> Shelf:
    """Return the shelf around `start` (default: the working folder), for what writes or publishes.

    Raises UsageError where there is none. The installed package's shelf is nobody's own.
    """
    found = _own(start)
    if found is None:
        here = (start or Path.cwd()).resolve()
        message = f"no shelf here: neither {here} nor a folder above it has a pyproject.toml with [tool.jobshelf.shelf]"
        raise UsageError(message, fix="jobshelf init")
    return found


def has_shelf() -> bool:
    """Whether `own_shelf` finds one around the working folder."""
    return _own(None) is not None


def installed_shelf() -> Shelf:
    """Return the shelf that comes with the tool: its templates, guides and blocks serve every other shelf too."""
    for folder in (_PACKAGED, _SOURCE_TREE):
        if found := shelf_in(folder):
            return found
    raise InputError(f"{_PACKAGED.parent} holds no shelf", fix="install jobshelf again")


def shelf_in(folder: Path) -> Shelf | None:
    """Return the shelf whose root is `folder`; None where its pyproject.toml names none, or is missing."""
    table = _shelf_table(folder / "pyproject.toml")
    return None if table is None else _shelf(folder, *table)


def _own(start: Path | None) -> Shelf | None:
    found = _nearest(start)
    return None if found is None or found.root == _PACKAGED.resolve() else found


def _nearest(start: Path | None) -> Shelf | None:
    here = (start or Path.cwd()).resolve()
    return next(filter(None, map(shelf_in, (here, *here.parents))), None)


def _shelf_table(pyproject: Path) -> tuple[dict[str, str], dict[str, str]] | None:
    try:
        document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{pyproject} is not TOML: {error}", fix="correct that line") from error
    table = document.get("tool", {}).get("jobshelf", {}).get("shelf")
    return None if table is None else (document.get("project", {}), table)


def _shelf(root: Path, project: dict[str, str], table: dict[str, str]) -> Shelf:
    try:
        return Shelf(
            root=root,
            name=table["name"],
            version=project["version"],
            description=project["description"],
            dataset=table["dataset"],
            github=table.get("github"),
            space=table.get("space"),
        )
    except KeyError as error:
        key = error.args[0]
        where = "project" if key in {"version", "description"} else "tool.jobshelf.shelf"
        raise InputError(f"{root / 'pyproject.toml'} has no '{key}' in [{where}]", fix=f"add {key} there") from error
