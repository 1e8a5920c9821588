"""The guides in `docs/`: the tables in them that are derived, and their text for who has no checkout.

A derived table stands between two marks, of which the first names it::

    <!-- table: flavors -->
    ...
    <!-- end of table -->

`jobshelf index` writes each anew, in the guides and wherever else in the checkout's README and `docs/` one is marked.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jobshelf.errors import EXIT_CODES, InputError
from jobshelf.forms import script_url
from jobshelf.hardware import ADVICE_WORK, Advice, advise, estimator, price_table
from jobshelf.index import Entry, Index, words
from jobshelf.index.rename import rename_dataset
from jobshelf.render import code, inline
from jobshelf.shelf import Shelf, installed_shelf

# In the order in which somebody new needs them.
GUIDES: Final = (
    "token_usage",
    "hub_saving",
    "hardware_guide",
    "training_methods",
    "training_patterns",
    "gguf_conversion",
    "trackio_guide",
    "scale",
    "reliability",
    "troubleshooting",
    "three_forms",
    "other_sources",
    "own_shelf",
    "updating",
)
_MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end of table -->\n)", re.DOTALL)
_LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A guide of the tool as a shelf passes it on. `source` is its address among the tool's sources.

    `text` is Markdown for a folder that holds guides only; None for a guide that runs scripts by address which the
    shelf does not have, and that is linked to instead.
    """

    name: str
    title: str
    source: str
    text: str | None


def guides_for(index: Index) -> tuple[Guide, ...]:
    """Return the tool's guides as the shelf of `index` passes them on: tables and addresses are those of its own scripts."""
    tool = installed_shelf()
    folder, base = tool.root / "docs", script_url(tool.dataset, "")
    texts = {name: (folder / f"{name}.md").read_text(encoding="utf-8") for name in GUIDES}
    has = {entry.file for entry in index.entries}
    named = {name: set(re.findall(rf"{re.escape(base)}([\w.-]+\.py)", text)) for name, text in texts.items()}
    kept = {name for name, files in named.items() if files <= has}

    def passed_on(name: str) -> str:
        text = _MARKED.sub(r"\3", with_tables(texts[name], index, f"{name}.md"))
        return rename_dataset(_portable(text, tool.repository, kept), tool.dataset, index.dataset)

    return tuple(
        Guide(
            name=name,
            title=texts[name].partition("\n")[0].removeprefix("# "),
            source=f"{tool.repository}/blob/main/docs/{name}.md",
            text=passed_on(name) if name in kept else None,
        )
        for name in GUIDES
    )


def _portable(text: str, repository: str, kept: Collection[str]) -> str:
    """Return a guide with absolute links to what is not among the guides in `kept`; `repository` is the tool's."""

    def absolute(match: re.Match[str]) -> str:
        target, anchor = match[2], match[3] or ""
        if target.removesuffix(".md") in kept:
            return f"{match[1]}{target}{anchor})"
        return f"{match[1]}{repository}/blob/main/{posixpath.normpath(posixpath.join('docs', target))}{anchor})"

    return _LINK.sub(absolute, text)


def marked_files(shelf: Shelf) -> dict[Path, str]:
    """Return the Markdown files of a checkout that have derived tables, with their text."""
    paths = [shelf.root / "README.md", *sorted((shelf.root / "docs").glob("*.md"))]
    texts = {path: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    return {path: text for path, text in texts.items() if _MARKED.search(text)}


def with_tables(text: str, index: Index, where: str) -> str:
    """Return `text` with each marked table as it is now. Raises InputError that names a table which there is not."""

    def table(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise InputError(f"{where} marks a table {match[2]!r}", fix=f"name one of: {', '.join(TABLES)}")
        return f"{match[1]}{TABLES[match[2]](index)}{match[4]}"

    return _MARKED.sub(table, text)


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _exit_codes(_: Index) -> str:
    return _rows(("code", "meaning", "what to do"), ((str(number), *told) for number, told in EXIT_CODES.items()))


def _flavors(_: Index) -> str:
    """The dated list, never the Hub's of this moment: what is committed must not depend on the day."""
    table = price_table()
    flavors = sorted(table.flavors.values(), key=lambda flavor: (flavor.usd_per_hour, flavor.name))
    rows = (
        (
            f"`{one.name}`",
            str(one.vcpus),
            f"{one.ram_gb:g}",
            f"{one.disk_gb:g}",
            one.chips if one.gpus else "",
            f"{one.usd_per_hour:.2f}",
            f"{one.usd_per_hour / 60:.4f}",
        )
        for one in flavors
    )
    head = ("flavor", "vCPU", "RAM GB", "disk GB", "GPUs", "$ an hour", "$ a minute")
    return f"{_rows(head, rows)}\nList of {table.date}.\n"


def _absent(_: Index) -> str:
    rows = ((f"`{name}`", f"`{nearest}`", why) for name, nearest, why in estimator().ABSENT_FLAVORS)
    return _rows(("begins with", "nearest", "why"), rows)


def _scripts(index: Index) -> str:
    rows = (
        (
            f"`{entry.id}`",
            inline(entry.summary),
            f"{', '.join(entry.inputs) or 'nothing'} → {', '.join(entry.outputs) or 'nothing'}",
            entry.token,
            inline(words.machine(entry)),
        )
        for entry in index.entries
    )
    return _rows(("script", "what it does", "reads → writes", "token", "machine"), rows)


def _shared_flags(index: Index) -> str:
    """Options that several scripts have: the first one's words for each."""
    known: dict[str, list[tuple[Entry, Mapping[str, Any]]]] = {}
    for entry in index.entries:
        for one in entry.interface["arguments"] if entry.interface else ():
            for flag in one.get("flags", ()) if not one.get("hidden") else ():
                known.setdefault(flag, []).append((entry, one))
    shared = {flag: given for flag, given in sorted(known.items()) if len(given) > 1}
    rows = (
        (code(flag), inline(given[0][1]["help"]), ", ".join(f"`{entry.id}`" for entry, _ in given))
        for flag, given in shared.items()
    )
    return _rows(("option", "meaning", "scripts"), rows)


def _fits(_: Index) -> str:
    return _advice(lambda one: one.likely if one.estimate is None else f"`{one.estimate.flavor.name}` {one.likely}")


def _timeouts(_: Index) -> str:
    return _advice(lambda one: one.timeout)


def _advice(cell: Callable[[Advice], str]) -> str:
    """By the dated list, as the table of flavors is."""
    cells: dict[float, list[str]] = {}
    for one in advise(price_table().flavors):
        cells.setdefault(one.size, []).append(cell(one))
    return _rows(("model", *ADVICE_WORK), ((f"{size:g}B", *found) for size, found in cells.items()))


TABLES: Final[Mapping[str, Callable[[Index], str]]] = {
    "exit-codes": _exit_codes,
    "flavors": _flavors,
    "absent-flavors": _absent,
    "scripts": _scripts,
    "shared-flags": _shared_flags,
    "fits": _fits,
    "timeouts": _timeouts,
}
