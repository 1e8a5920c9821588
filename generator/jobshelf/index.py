"""The catalogue's index: one entry a script, derived from the script alone, byte for byte the same on every rebuild."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobshelf.errors import InputError, JobshelfError, ScriptError, UsageError
from jobshelf.forms import example_arguments, forms, script_url
from jobshelf.script import Header, Script, read_script
from jobshelf.shelf import Shelf

SCHEMA_VERSION = 1
_TEXT_KEYS = ("version", "title", "task", "license", "persists", "token", "status")
_LIST_KEYS = ("tags", "inputs", "outputs", "aliases", "rehearse")
_CHOICES = {"token": ("none", "read", "write"), "status": ("stable", "preview", "deprecated", "disabled")}
_RELEASE = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the index says of one script. `launch` is its `[tool.hf-jobs]` table, `arguments` those of its example."""

    id: str
    file: str
    title: str
    summary: str
    description: str
    version: str
    status: str
    license: str
    task: str
    tags: tuple[str, ...]
    aliases: tuple[str, ...]
    sha256: str
    bytes: int
    lines: int
    requires_python: str
    dependencies: tuple[str, ...]
    exclude_newer: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    persists: str
    token: str
    shardable: bool
    launch: Mapping[str, Any]
    arguments: tuple[str, ...]

    def to_json(self, dataset: str, release: str | None) -> dict[str, Any]:
        """Return the entry as it stands in index.json; `release` (a version) adds the URL pinned to its tag."""
        url = script_url(dataset, self.file)
        urls = {"latest": url}
        if release:
            urls["release"] = script_url(dataset, self.file, revision=f"v{release}")
        return {
            "id": self.id,
            "title": self.title,
            "summary": self.summary,
            "description": self.description,
            "version": self.version,
            "status": self.status,
            "license": self.license,
            "aliases": list(self.aliases),
            "classification": {"task": self.task, "tags": list(self.tags)},
            "source": {
                "path": self.file,
                "sha256": self.sha256,
                "bytes": self.bytes,
                "lines": self.lines,
                "urls": urls,
            },
            "runtime": {
                "requires_python": self.requires_python,
                "dependencies": list(self.dependencies),
                "exclude_newer": self.exclude_newer,
            },
            "io": {"inputs": list(self.inputs), "outputs": list(self.outputs), "persists": self.persists},
            "needs": {"token": self.token, "launch": dict(self.launch), "shardable": self.shardable},
            "arguments": list(self.arguments),
            "commands": forms(url, self.launch, self.arguments).to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """Read an entry of an index.json. Raises KeyError or TypeError when it is none."""
        source, runtime, needs = data["source"], data["runtime"], data["needs"]
        if not _RELEASE.fullmatch(data["version"]):
            raise TypeError(f"version {data['version']!r}")
        flat = {
            **{key: data[key] for key in ("id", "title", "summary", "description", "version", "status", "license")},
            **{key: data[key] for key in ("aliases", "arguments")},
            **data["classification"],
            **data["io"],
            **runtime,
            **{key: source[key] for key in ("sha256", "bytes", "lines")},
            **needs,
            "file": source["path"],
        }
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in flat.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """All entries, ordered by id, with the names that their URLs are made of."""

    name: str
    description: str
    version: str
    github: str
    dataset: str
    entries: tuple[Entry, ...]

    @property
    def release(self) -> str | None:
        """The version that a release tag is made of; None for a development version."""
        return self.version if _RELEASE.fullmatch(self.version) else None

    def to_text(self) -> str:
        """Return the text of index.json: sorted keys, two-space indent, no clock, a newline at the end."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "description": self.description,
            "version": self.version,
            "repository": f"https://github.com/{self.github}",
            "dataset": self.dataset,
            "count": len(self.entries),
            "entries": [entry.to_json(self.dataset, self.release) for entry in self.entries],
        }
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str, where: str) -> Index:
        """Read the text of an index.json that came from `where`. Raises InputError when it is none."""
        try:
            data = json.loads(text)
            return cls(
                name=data["name"],
                description=data["description"],
                version=data["version"],
                github=data["repository"].removeprefix("https://github.com/"),
                dataset=data["dataset"],
                entries=tuple(Entry.from_json(entry) for entry in data["entries"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"{where} is not an index of this format ({type(error).__name__}: {error})"
            raise InputError(message, fix="rebuild it: jobshelf index") from error

    def find(self, name: str) -> Entry:
        """Return the entry called `name`, compared as PyPI compares names. Raises UsageError with the nearest names."""
        wanted = normalise(name)
        names = {normalise(known): entry for entry in self.entries for known in (entry.id, *entry.aliases)}
        if wanted in names:
            return names[wanted]
        near = [names[match].id for match in difflib.get_close_matches(wanted, names, n=2, cutoff=0.5)]
        fix = f"jobshelf show {near[0]}" if near else "jobshelf list"
        hint = f" (did you mean {' or '.join(dict.fromkeys(near))}?)" if near else ""
        raise UsageError(f"no script is called '{name}'{hint}", fix=fix)

    def search(self, words: Iterable[str]) -> list[Entry]:
        """Return the entries that hold every word: those with one in the id first, then title and tags, then text."""
        wanted = [word.casefold() for word in words]
        found = [(rank, entry.id, entry) for entry in self.entries if (rank := _rank(entry, wanted)) is not None]
        return [entry for _, _, entry in sorted(found, key=lambda item: item[:2])]


def normalise(name: str) -> str:
    """Return a script's name the way PyPI normalises one; a trailing `.py` does not count."""
    return re.sub(r"[-_.]+", "-", name.removesuffix(".py")).lower()


def build_index(shelf: Shelf) -> Index:
    """Read every script of the catalogue. Raises ScriptError at the first line that is not as the index needs it."""
    entries = sorted((read_entry(path, shelf) for path in shelf.scripts()), key=lambda entry: entry.id)
    _refuse_collisions(entries)
    return _index(shelf, entries)


def load_index(shelf: Shelf) -> Index:
    """Read the committed index.json. Raises InputError when it is missing or not one."""
    try:
        text = shelf.index_file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{shelf.index_file} does not exist", fix="jobshelf index") from error
    return Index.from_text(text, str(shelf.index_file))


def check_index(shelf: Shelf) -> Index:
    """Return the index built from the catalogue; raise JobshelfError when the committed file is another."""
    index = build_index(shelf)
    committed = shelf.index_file.read_bytes() if shelf.index_file.exists() else b""
    if committed != index.to_text().encode():
        raise JobshelfError(f"{shelf.index_file.name} is not what the catalogue says", fix="jobshelf index")
    return index


def read_entry(path: Path, shelf: Shelf) -> Entry:
    """Read one script of the catalogue. Raises ScriptError that names the file line."""
    script = read_script(path, shown_as=path.relative_to(shelf.root).as_posix())
    header = script.require()
    _require_table(script, header)
    table = header.tool("jobshelf")
    return Entry(
        id=normalise(script.name),
        file=path.name,
        summary=_summary(script),
        description=script.docstring.partition("\n")[2].strip(),
        sha256=script.sha256,
        bytes=len(script.data),
        lines=len(script.text.splitlines()),
        requires_python=header.requires_python or "",
        dependencies=header.dependencies,
        exclude_newer=header.tool("uv").get("exclude-newer", ""),
        shardable=table["shardable"],
        launch=header.tool("hf-jobs"),
        arguments=example_arguments(script.docstring),
        **{key: table[key] for key in _TEXT_KEYS},
        **{key: tuple(table[key]) for key in _LIST_KEYS if key != "rehearse"},
    )


def _index(shelf: Shelf, entries: Iterable[Entry]) -> Index:
    return Index(
        name=shelf.name,
        description=shelf.description,
        version=shelf.version,
        github=shelf.github,
        dataset=shelf.dataset,
        entries=tuple(entries),
    )


def _require_table(script: Script, header: Header) -> None:
    """Hold `[tool.jobshelf]` against the keys and types of design section 2."""
    table = header.tool("jobshelf")
    for key, kind in (*((key, str) for key in _TEXT_KEYS), *((key, list) for key in _LIST_KEYS), ("shardable", bool)):
        if not isinstance(table.get(key), kind):
            found = f"{key} = {table[key]!r}" if key in table else f"no '{key}' in [tool.jobshelf]"
            line = header.line_of(key if key in table else "", table="tool.jobshelf")
            expected = {str: "a string", list: "a list of strings", bool: "true or false"}[kind]
            raise ScriptError(script.path, line, found=found, expected=expected, fix=f"set {key} there")
    for key, choices in _CHOICES.items():
        if table[key] not in choices:
            line = header.line_of(key, table="tool.jobshelf")
            expected = f"one of {', '.join(choices)}"
            raise ScriptError(script.path, line, found=f"{key} = {table[key]!r}", expected=expected, fix=f"set {key}")
    _require_version(script, header, table["version"])


def _require_version(script: Script, header: Header, version: str) -> None:
    if not _RELEASE.fullmatch(version):
        line = header.line_of("version", table="tool.jobshelf")
        found = f"version = {version!r}"
        raise ScriptError(script.path, line, found=found, expected="numbers and dots such as 1.0.0", fix="set version")


def _summary(script: Script) -> str:
    if not script.summary:
        found, expected = "no docstring", "a docstring whose first line says what the script does"
        raise ScriptError(script.path, 1, found=found, expected=expected, fix="write one below the header")
    return script.summary.rstrip(".")


def _refuse_collisions(entries: Iterable[Entry]) -> None:
    owners: dict[str, str] = {}
    for entry in entries:
        for name in dict.fromkeys(normalise(known) for known in (entry.id, *entry.aliases)):
            if name in owners:
                message = f"catalog/{entry.file} and catalog/{owners[name]} both answer to '{name}'"
                raise InputError(message, fix="rename one, or drop its alias")
            owners[name] = entry.file


def _rank(entry: Entry, words: list[str]) -> int | None:
    fields_by_rank = (
        (entry.id, *entry.aliases),
        (entry.title, entry.task, *entry.tags),
        (entry.summary, entry.description, *entry.dependencies),
    )
    ranks = []
    for word in words:
        hits = [rank for rank, texts in enumerate(fields_by_rank) if any(word in text.casefold() for text in texts)]
        if not hits:
            return None
        ranks.append(hits[0])
    return min(ranks, default=0)
