"""index.json as a whole: read, looked up, searched, written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from jobshelf.errors import InputError, UsageError
from jobshelf.forms import ENDPOINT, script_url
from jobshelf.index.entry import RELEASE, Entry, NoEntry, canonical, normalise
from jobshelf.index.schema import SCHEMA_FILE, problem
from jobshelf.shelf import Shelf, find_shelf, installed_shelf

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """All entries, ordered by id, with the names that their URLs are made of.

    `repository` is the address of the shelf's sources, wherever the index is published to (see `Shelf.repository`).
    An index names addresses in its own dataset: an entry that comes from elsewhere gets new ones here.
    """

    name: str
    description: str
    version: str
    repository: str
    dataset: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        at_home = tuple(entry.at(self.dataset) for entry in self.entries)
        object.__setattr__(self, "entries", at_home)  # the way to set a field of a frozen class

    @property
    def release(self) -> str | None:
        """The version that a release tag is made of; None for a development version."""
        return self.version if RELEASE.fullmatch(self.version) else None

    @property
    def homepage(self) -> str:
        """The page of the dataset."""
        return f"{ENDPOINT}/datasets/{self.dataset}"

    def to_text(self) -> str:
        """Return the text of index.json: sorted keys, two-space indent, no clock, a newline at the end."""
        return compose(
            self,
            tasks={entry.task for entry in self.entries},
            tags={tag for entry in self.entries for tag in entry.tags},
            texts=[entry.to_text() for entry in self.entries],
        )

    @classmethod
    def from_text(cls, text: str, where: str, *, whole: bool = True) -> Index:
        """Read the text of an index.json that came from `where`. Raises InputError that names what is wrong in it.

        `whole` holds all of it against the schema. Without, only what is read by name is checked: a tenth of the time, for a
        file that is ours and that `check_index` compares byte by byte.
        """
        try:
            data = json.loads(text)
            _require_version(data, where)
            if whole and (wrong := problem(data)):
                raise NoEntry(wrong)
            return cls(
                name=_text(data, "name"),
                description=_text(data, "description"),
                version=_text(data, "version"),
                repository=_text(data, "repository"),
                dataset=_text(data, "dataset"),
                entries=tuple(_entry(number, entry) for number, entry in enumerate(data["entries"])),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{where} is not an index of this format: {what}", fix="jobshelf index") from error

    def find(self, name: str) -> Entry:
        """Return the entry called `name`, compared as PyPI compares names. Raises UsageError with the nearest names."""
        import difflib

        wanted = normalise(name)
        names = {normalise(known): entry for entry in self.entries for known in (entry.id, *entry.aliases)}
        if wanted in names:
            return names[wanted]
        near = [names[match].id for match in difflib.get_close_matches(wanted, names, n=2, cutoff=0.5)]
        fix = f"jobshelf show {near[0]}" if near else "jobshelf list"
        hint = f" (did you mean {' or '.join(dict.fromkeys(near))}?)" if near else ""
        raise UsageError(f"no script is called '{name}'{hint}", fix=fix)

    def search(self, words: Iterable[str]) -> list[Entry]:
        """Return the entries that hold every word: those with one in the id first, then title and tags, then text.

        The text includes the options of the command line and their help.
        """
        wanted = [word.casefold() for word in words]
        found = [(rank, entry.id, entry) for entry in self.entries if (rank := _rank(entry, wanted)) is not None]
        return [entry for _, _, entry in sorted(found, key=lambda item: item[:2])]


def load_index(shelf: Shelf) -> Index:
    """Read the committed index.json. Raises InputError when it is missing or not one."""
    try:
        text = shelf.index_file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{shelf.index_file} does not exist", fix="jobshelf index") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{shelf.index_file} is not UTF-8", fix="jobshelf index") from error
    return Index.from_text(text, str(shelf.index_file), whole=False)


def shelf_with(*ids: str) -> tuple[Shelf, Index]:
    """Return the shelf that has all these scripts, with its index: the one here, else the one that comes with the tool."""
    shelf = find_shelf()
    index = load_index(shelf)
    if set(ids) <= {entry.id for entry in index.entries}:
        return shelf, index
    shelf = installed_shelf()
    return shelf, load_index(shelf)


def compose(index: Index, *, tasks: Collection[str], tags: Collection[str], texts: Sequence[str]) -> str:
    """Return the text of index.json with the names of `index` and the entries `texts`, which are canonical JSON."""
    from importlib.metadata import version  # reading an index needs no such thing

    head = {
        "$schema": script_url(index.dataset, SCHEMA_FILE),
        "schema_version": SCHEMA_VERSION,
        "name": index.name,
        "description": index.description,
        "version": index.version,
        "repository": index.repository,
        "homepage": index.homepage,
        "dataset": index.dataset,
        "base_url": script_url(index.dataset, ""),
        "generator": {"name": "jobshelf", "version": version("jobshelf")},
        "taxonomy": {"tasks": sorted(tasks), "tags": sorted(tags)},
        "count": len(texts),
        "entries": [],
    }
    # Entries are put in as text: rendering 10,000 of them again would take longer than everything else of a rebuild.
    before, after = canonical(head).split('"entries": []', 1)
    inside = ",\n".join("    " + text.replace("\n", "\n    ") for text in texts)
    return f'{before}"entries": [\n{inside}\n  ]{after}\n' if texts else f"{canonical(head)}\n"


def _require_version(data: dict[str, object], where: str) -> None:
    version = data["schema_version"]
    if isinstance(version, int) and version > SCHEMA_VERSION:
        message = f"{where} has schema_version {version}, expected {SCHEMA_VERSION}"
        raise InputError(message, fix="uv tool upgrade jobshelf")


def _entry(number: int, data: object) -> Entry:
    try:
        return Entry.from_json(data)
    except NoEntry as error:
        raise NoEntry(f"entries[{number}].{error}") from error


def _text(data: dict[str, object], key: str) -> str:
    if not isinstance(data[key], str):
        raise TypeError(f"{key} is {data[key]!r}, expected a string")
    return data[key]


def _rank(entry: Entry, words: list[str]) -> int | None:
    fields_by_rank = (
        (entry.id, *entry.aliases),
        (entry.title, entry.task, *entry.tags),
        (entry.summary, entry.description, *entry.dependencies, *_options(entry)),
    )
    ranks = []
    for word in words:
        hits = [rank for rank, texts in enumerate(fields_by_rank) if any(word in text.casefold() for text in texts)]
        if not hits:
            return None
        ranks.append(hits[0])
    return min(ranks, default=0)


def _options(entry: Entry) -> Iterable[str]:
    for argument in (entry.interface or {}).get("arguments", ()):
        yield from (*argument.get("flags", ()), argument.get("help", ""))
