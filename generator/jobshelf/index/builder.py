"""Make index.json from the catalogue: read, find out, describe, put together. The same bytes on every machine.

An entry depends on the script's bytes, its record, the names of the shelf, the choice of rules and the tool. All
of that is its key in the cache, so that a rebuild costs what changed.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobshelf.errors import InputError, JobshelfError
from jobshelf.index.cache import Cache, open_cache, sha256, tool_digest
from jobshelf.index.document import Index, compose
from jobshelf.index.entry import canonical, normalise, rehearsed
from jobshelf.index.sources import catalogue_files, read_regular
from jobshelf.record import Record, record_path
from jobshelf.script import Script, parse_script
from jobshelf.shelf import Shelf
from jobshelf.workers import spread

if TYPE_CHECKING:
    from jobshelf.index.examine import Findings
    from jobshelf.index.prices import Prices

_ID_LINE = re.compile(r'^ {6}"id": "([a-z0-9-]+)",$', re.MULTILINE)
_BATCH = 16
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One entry as text, with what the index as a whole must know of it."""

    id: str
    file: str
    aliases: tuple[str, ...]
    task: str
    tags: tuple[str, ...]
    replaced_by: str | None
    rehearsed: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The text of index.json. `notes` are one line each: records that are missing or stale, ids that are gone."""

    text: str
    count: int
    notes: tuple[str, ...]


def build(shelf: Shelf) -> Built:
    """Make the index of the catalogue.

    Raises ScriptError at the first line that is not as the index needs it; InputError for a file that is none, for names that
    collide and for a broken record; EnvironmentFault where scripts cannot be run with stubs. Writes nothing but its cache.
    """
    recipe = make_recipe(shelf)
    parts = _parts(catalogue_files(shelf), recipe)
    _refuse_collisions(parts)
    _refuse_bad_replacements(parts)
    names = Index(
        name=shelf.name,
        description=shelf.description,
        version=shelf.version,
        repository=shelf.repository,
        dataset=shelf.dataset,
        entries=(),
    )
    text = compose(
        names,
        tasks={part.task for part in parts},
        tags={tag for part in parts for tag in part.tags},
        texts=[part.text for part in parts],
    )
    return Built(text=text, count=len(parts), notes=(*_unrehearsed(parts), *_gone(parts, shelf)))


def build_index(shelf: Shelf) -> Index:
    """Make the index of the catalogue, for who looks things up in it; see `build`."""
    return Index.from_text(build(shelf).text, "the catalogue", whole=False)


def write_index(shelf: Shelf) -> Built:
    """Make the index of the catalogue and put it in the place of index.json, at once or not at all; see `build`."""
    built = build(shelf)
    handle, name = tempfile.mkstemp(dir=shelf.root, prefix=".index-")
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(built.text)
    Path(name).chmod(0o644)
    Path(name).replace(shelf.index_file)
    return built


def check_index(shelf: Shelf) -> Index:
    """Return the index of the catalogue; raise JobshelfError when the committed file says something else."""
    text = build(shelf).text
    committed = shelf.index_file.read_bytes() if shelf.index_file.is_file() else b""
    if committed != text.encode():
        where = f" of {', '.join(ids)}" if (ids := _differing(text, committed)) else ""
        message = f"{shelf.index_file.name} is not what the catalogue says{where}"
        raise JobshelfError(message, fix="jobshelf index")
    return Index.from_text(text, str(shelf.index_file), whole=False)


def _differing(text: str, committed: bytes) -> list[str]:
    """Return the first ids of which two indexes say different things; none where one of them is no index."""
    try:
        ours, theirs = ({entry["id"]: entry for entry in json.loads(one)["entries"]} for one in (text, committed))
    except (ValueError, KeyError, TypeError):
        return []
    return [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)][:_SHOWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all entries of one build depend on beside their own files: `examined` for runs and rules, `named` for the text."""

    shelf: Shelf
    prices: Prices
    cache: Cache
    examined: str
    named: str


def make_recipe(shelf: Shelf) -> Recipe:
    """Return the recipe of a shelf as it is now."""
    from jobshelf.index.examine import vetting_config
    from jobshelf.index.prices import read_prices

    config, prices = vetting_config(shelf), read_prices(shelf)
    chosen = [sorted(config.select), sorted(config.ignore), sorted(config.per_file_ignores.items())]
    return Recipe(
        shelf=shelf,
        prices=prices,
        cache=open_cache(tool_digest()),
        examined=_digest(chosen),
        named=_digest([shelf.dataset, shelf.repository, prices.date, prices.usd_per_hour]),
    )


def _digest(data: object) -> str:
    return sha256(json.dumps(data).encode())


def _parts(paths: Sequence[Path], recipe: Recipe) -> list[Part]:
    known = {path: _kept(path, recipe) for path in paths}
    missing = [path for path, part in known.items() if part is None]
    known.update(zip(missing, _made(missing, recipe), strict=True))
    return [part for part in known.values() if part is not None]


def _kept(path: Path, recipe: Recipe) -> Part | None:
    data, record = _read(path, recipe.shelf)
    content = recipe.cache.get(_text_key(path, data, record, recipe))
    return _unpack(content) if content else None


def _made(paths: Sequence[Path], recipe: Recipe) -> Iterator[Part]:
    """Yield the parts of what no cache holds; many of them are made in as many processes as there are cores."""
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    work = partial(_make_batch, recipe=recipe)
    yield from (part for made in spread(work, batches) for part in made)


def _make_batch(paths: Sequence[Path], *, recipe: Recipe) -> list[Part]:
    from jobshelf.index.describe import check_script, describe

    shelf, cache = recipe.shelf, recipe.cache
    files = [_read(path, shelf) for path in paths]
    scripts = [
        parse_script(data, path.relative_to(shelf.root).as_posix())
        for path, (data, _) in zip(paths, files, strict=True)
    ]
    for script in scripts:
        check_script(script)
    parts = []
    for path, script, findings, (data, record) in zip(paths, scripts, _examined(scripts, recipe), files, strict=True):
        where = record_path(shelf, path.stem).relative_to(shelf.root).as_posix()
        described = describe(script, findings, _record(record, where), shelf, recipe.prices)
        part = _part(described)
        if findings.settled:
            cache.put(_text_key(path, data, record, recipe), _pack(part))
        parts.append(part)
    return parts


def _read(path: Path, shelf: Shelf) -> tuple[bytes, bytes | None]:
    """Return the bytes of a script and of its record, if there is one."""
    record = record_path(shelf, path.stem)
    return read_regular(path, shelf), read_regular(record, shelf) if os.path.lexists(record) else None


def _text_key(path: Path, data: bytes, record: bytes | None, recipe: Recipe) -> str:
    return _digest(["text", recipe.examined, recipe.named, path.name, sha256(data), record and sha256(record)])


def _examined(scripts: Sequence[Script], recipe: Recipe) -> Iterator[Findings]:
    from jobshelf.index.examine import Findings, examine, vetting_config

    cache = recipe.cache
    keys = [_digest(["findings", recipe.examined, script.name, script.sha256]) for script in scripts]
    known = [cache.get(key) for key in keys]
    unknown = [script for script, content in zip(scripts, known, strict=True) if content is None]
    fresh = iter(examine(unknown, recipe.shelf, vetting_config(recipe.shelf)) if unknown else ())
    for key, content in zip(keys, known, strict=True):
        if content is not None:
            yield Findings(**json.loads(content))
            continue
        findings = next(fresh)
        if findings.settled:
            cache.put(key, json.dumps(asdict(findings)).encode())
        yield findings


def _record(data: bytes | None, where: str) -> Record | None:
    if data is None:
        return None
    try:
        return Record.from_text(data.decode(), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8", fix="write it again: jobshelf rehearse NAME --record") from error


def _part(data: dict[str, Any]) -> Part:
    return Part(
        id=data["id"],
        file=data["source"]["path"],
        aliases=tuple(data["aliases"]),
        task=data["classification"]["task"],
        tags=tuple(data["classification"]["tags"]),
        replaced_by=data["replaced_by"],
        rehearsed=rehearsed(data["rehearsal"]),
        text=canonical(data),
    )


def _pack(part: Part) -> bytes:
    return json.dumps(asdict(part)).encode()


def _unpack(content: bytes) -> Part:
    data = json.loads(content.decode())
    return Part(**data | {"aliases": tuple(data["aliases"]), "tags": tuple(data["tags"])})


def _refuse_collisions(parts: Iterable[Part]) -> None:
    owners: dict[str, str] = {}
    for part in parts:
        for name in dict.fromkeys(normalise(known) for known in (part.id, *part.aliases)):
            if name in owners:
                message = f"catalog/{owners[name]} and catalog/{part.file} both answer to '{name}'"
                raise InputError(message, fix="rename one, or drop its alias")
            owners[name] = part.file


def _refuse_bad_replacements(parts: Sequence[Part]) -> None:
    ids = {part.id for part in parts}
    for part in parts:
        if part.replaced_by is not None and part.replaced_by not in ids - {part.id}:
            message = f"catalog/{part.file}: replaced_by = '{part.replaced_by}', expected the id of another script"
            raise InputError(message, fix="jobshelf list, then set replaced_by there")


def _unrehearsed(parts: Iterable[Part]) -> Iterator[str]:
    why = {
        "never": "has no rehearsal record",
        "stale": "has changed since its rehearsal",
        "failed": "failed its rehearsal",
    }
    for part in parts:
        if part.rehearsed in why:
            name = part.file.removesuffix(".py")
            yield f"catalog/{part.file} {why[part.rehearsed]}: jobshelf rehearse {name} --record"


def _gone(parts: Iterable[Part], shelf: Shelf) -> Iterator[str]:
    """Yield the ids of the committed index that nothing answers to any more; an id is for good."""
    names = {normalise(name) for part in parts for name in (part.id, *part.aliases)}
    text = shelf.index_file.read_text(encoding="utf-8", errors="replace") if shelf.index_file.is_file() else ""
    # Parsing all of it would take longer than everything else when nothing has changed.
    for name in _ID_LINE.findall(text):
        if name not in names:
            yield f"'{name}' is gone: if another script took its place, add it to that one's aliases"
