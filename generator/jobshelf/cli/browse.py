"""Browse the shelf: list, show, search, page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jobshelf.cli.parser import Verbs
from jobshelf.cli.printing import say, say_json

if TYPE_CHECKING:
    from jobshelf.index import Entry


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    list_ = verbs.add("list", _list, "list the scripts of the shelf", example="jobshelf list")
    list_.add_argument("--json", action="store_true", help="print the index entries as JSON")
    show = verbs.add(
        "show", _show, "show what a script does, its options and requirements", example="jobshelf show train-sft"
    )
    show.add_argument("name", metavar="NAME", help="script of the shelf")
    search = verbs.add("search", _search, "list the scripts that match all words", example="jobshelf search lora sft")
    search.add_argument("words", metavar="WORD", nargs="+", help="part of a name, tag, option or description")
    search.add_argument("--json", action="store_true", help="print the index entries as JSON")
    page = verbs.add("page", _page, "build the page of the shelf: one HTML file", example="jobshelf page --open yes")
    page.add_argument("--output", metavar="FILE", type=Path, default=Path("shelf.html"), help="default: shelf.html")
    page.add_argument("--open", choices=("yes", "no"), help="open it in the browser (default: yes on a terminal)")


def _list(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index
    from jobshelf.shelf import find_shelf

    _print_entries(load_index(find_shelf()).entries, as_json=arguments.json)
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index
    from jobshelf.shelf import find_shelf

    found = load_index(find_shelf()).search(arguments.words)
    if not found:
        words = " ".join(arguments.words)
        say(f"no script matches all of: {words}. Try fewer words, or: jobshelf list", file=sys.stderr)
        return 1
    _print_entries(found, as_json=arguments.json)
    return 0


def _print_entries(entries: Iterable[Entry], *, as_json: bool) -> None:
    """Print id, version, flavor, last rehearsal and summary, in columns."""
    if as_json:
        say_json([one.data for one in entries])
        return
    rows = [(one.id, one.version, one.hardware["flavor"], one.rehearsed, one.summary) for one in entries]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for row in rows:
        say("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4]]))


def _show(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index, words
    from jobshelf.jobs import command, find_target
    from jobshelf.shelf import find_shelf

    shelf = find_shelf()
    index = load_index(shelf)
    entry = index.find(arguments.name)
    start = command(find_target(entry.id, shelf, index), ())
    instead = f": use {entry.replaced_by} instead" if entry.replaced_by else ""
    facts = {
        "version": f"{entry.version} ({entry.status}{instead}), {entry.license}",
        "reads": ", ".join(entry.inputs) or "nothing",
        "writes": ", ".join(entry.outputs) or "nothing",
        "token": entry.token,
        "machine": words.machine(entry),
        "python": f"{entry.requires_python}, {', '.join(entry.dependencies) or 'no dependencies'}",
        "rules": words.vetting(entry),
        "tried": words.rehearsal(entry),
        "sha256": entry.sha256,
    }
    say(f"{entry.id}: {entry.summary}\n\n{entry.description}\n")
    say("\n".join(f"{key:<8} {value}" for key, value in facts.items()))
    for line in words.commands(entry):
        rows = [words.argument(one) for one in line["arguments"] if not one.get("hidden")]
        width = min(max((len(named) for named, _ in rows), default=0), 40)
        say("\n".join(["", line["usage"], *(f"  {named:<{width}}  {help_}" for named, help_ in rows)]))
    texts = start.to_json()
    say(f"\non Jobs  {texts['jobs']['text']}\nhere     {texts['local']['text']}")
    return 0


def _page(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index
    from jobshelf.page import page, read_sources, write_page
    from jobshelf.shelf import own_shelf

    shelf = own_shelf()
    index = load_index(shelf)
    write_page(page(index, read_sources(index, shelf.catalog)), arguments.output)
    say(f"wrote {arguments.output}: {len(index.entries)} scripts")
    if arguments.open == "yes" or (arguments.open is None and sys.stdout.isatty()):
        import webbrowser

        webbrowser.open(arguments.output.resolve().as_uri())
    return 0
