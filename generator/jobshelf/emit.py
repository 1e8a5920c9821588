"""What is published beside the scripts: files derived from the index alone, the same bytes on every machine.

An emitter is a function from an index to files; adding a kind of file means adding one to `EMITTERS`. `SHA256SUMS` is not
among them: it covers the scripts too, so the publisher writes it last.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from jobshelf.errors import EXIT_CODES
from jobshelf.forms import script_url
from jobshelf.guides import guides_for
from jobshelf.index import SCHEMA_FILE, Entry, Index, schema_text, words
from jobshelf.render import one_line, render
from jobshelf.shelf import installed_shelf
from jobshelf.skill import skill_files

Emitter = Callable[[Index], Mapping[str, bytes]]
_RETIRED = ("deprecated", "disabled")
_FEED_LENGTH = 100
_PLACEHOLDER = re.compile(r"\{[a-z]+(:[^{}]*)?\}")


def emit(index: Index) -> dict[str, bytes]:
    """Return every derived file, path in the repository -> bytes. Raises ValueError when two emitters claim one path."""
    files: dict[str, bytes] = {}
    for emitter in EMITTERS:
        made = emitter(index)
        if taken := sorted(made.keys() & files.keys()):
            raise ValueError(f"two emitters write {taken[0]}")
        files |= made
    return files


def index_files(index: Index) -> dict[str, bytes]:
    """`index.json` as it is committed, with the addresses of the repository that it is published to, and its schema."""
    return {"index.json": index.to_text().encode(), SCHEMA_FILE: schema_text().encode()}


def short_index(index: Index) -> dict[str, bytes]:
    """`index.min.json`: what a list of scripts shows, one line a script."""
    lines = ",\n".join(_compact(_short(entry)) for entry in index.entries)
    head = {"name": index.name, "version": index.version, "dataset": index.dataset}
    text = f'{_compact(head)[:-1]},"entries":[\n{lines}\n]}}\n'
    return {"index.min.json": text.encode()}


def card(index: Index) -> dict[str, bytes]:
    """`README.md`, the dataset card: what the shelf is, a table of its scripts, and their commands."""
    return {"README.md": render("card.md.jinja", index=index, tool=_tool()).encode()}


def script_files(index: Index) -> dict[str, bytes]:
    """`scripts/<id>.json` and `scripts/<id>.md`: each entry by itself, for programs and for reading."""
    files = {}
    for entry in index.entries:
        files[f"scripts/{entry.id}.json"] = f"{entry.to_text()}\n".encode()
        files[f"scripts/{entry.id}.md"] = script_page(entry).encode()
    return files


def script_page(entry: Entry) -> str:
    """Return an entry as Markdown."""
    return render(
        "script.md.jinja",
        entry=entry,
        vetted=words.vetting(entry),
        rehearsed=words.rehearsal(entry),
        machine=words.machine(entry),
        commands=list(words.commands(entry)),
        small=_small(entry),
        why=entry.data.get("behaviour", {}).get("inconclusive") or "no reason is recorded",
    )


def llms(index: Index) -> dict[str, bytes]:
    """`llms.txt` (llmstxt.org): where a language model finds what."""
    base = script_url(index.dataset, "")
    told = {"guides": guides_for(index), "exit_codes": EXIT_CODES, "has_feed": bool(_fresh(index))}
    return {"llms.txt": render("llms.txt.jinja", index=index, base=base, tool=_tool(), **told).encode()}


def skill(index: Index) -> dict[str, bytes]:
    """`skills/<name>/`: the shelf as a skill that agents install by copying the folder."""
    return {f"skills/{path}": data for path, data in skill_files(index).items()}


def ai_catalog(index: Index) -> dict[str, bytes]:
    """`ai-catalog.json` (AI Catalog 1.0): each script as an artifact that an agent can discover.

    No type is registered for a script that runs; `text/x-python` says what its bytes are. `mediaType` is the older name of `type`.
    """
    host = urlsplit(index.homepage).netloc
    document = {
        "specVersion": "1.0",
        "host": {
            "displayName": index.name,
            "identifier": index.homepage,
            "documentationUrl": index.repository,
        },
        "entries": [_artifact(entry, index, host) for entry in index.entries if entry.status not in _RETIRED],
    }
    return {"ai-catalog.json": _json(document)}


def rules(_: Index) -> dict[str, bytes]:
    """`rules.json`: the rules that the scripts were held against, with their documentation."""
    from jobshelf.vet.docs import rules_json

    return {"rules.json": rules_json().encode()}


def feed(index: Index) -> dict[str, bytes]:
    """`feed.xml` (Atom, RFC 4287): the newest bytes that were rehearsed, on the day of that; no file where none were.

    Nothing else about a script has a date: there is no clock and no history in an index.
    """
    newest = sorted(_fresh(index), key=lambda entry: entry.rehearsal["date"], reverse=True)[:_FEED_LENGTH]
    if not newest:
        return {}
    items = [_item(entry) for entry in newest]
    address = script_url(index.dataset, "feed.xml")
    named = replace(index, name=one_line(index.name), description=one_line(index.description))
    return {"feed.xml": render("feed.xml.jinja", index=named, address=address, items=items).encode()}


EMITTERS: Final[tuple[Emitter, ...]] = (
    index_files,
    short_index,
    card,
    script_files,
    llms,
    ai_catalog,
    rules,
    feed,
    skill,
)


def _tool() -> str:
    return installed_shelf().repository


def _fresh(index: Index) -> list[Entry]:
    """The entries whose very bytes were rehearsed."""
    return [entry for entry in index.entries if entry.rehearsal is not None and not entry.rehearsal["stale"]]


def _small(entry: Entry) -> str:
    """Return the command of the rehearsal, with its placeholders; "" where none is recorded."""
    if entry.rehearsal is None:
        return ""
    words_ = (word if _PLACEHOLDER.search(word) else shlex.quote(word) for word in entry.rehearsal["arguments"])
    return " ".join(("uv run", entry.url, *words_))


def _short(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "title": entry.title,
        "summary": entry.summary,
        "version": entry.version,
        "status": entry.status,
        "task": entry.task,
        "tags": list(entry.tags),
        "aliases": list(entry.aliases),
        "inputs": list(entry.inputs),
        "outputs": list(entry.outputs),
        "token": entry.token,
        "flavor": entry.hardware["flavor"],
        "timeout": entry.hardware["timeout"],
        "usd_per_hour": entry.cost and entry.cost["usd_per_hour"],
        "vetted": entry.vetting is not None and entry.vetting["passed"],
        "rehearsed": entry.rehearsed,
        "sha256": entry.sha256,
        "url": entry.url,
        "local": entry.commands["local"]["text"],
        "jobs": entry.commands["jobs"]["text"],
    }


def _item(entry: Entry) -> dict[str, str]:
    return {
        "title": one_line(f"{entry.title} {entry.version}"),
        "summary": one_line(f"{entry.summary}. {words.rehearsal(entry).capitalize()}."),
        "date": entry.rehearsal["date"],
        "sha256": entry.sha256,
        "address": entry.url,
        "page": entry.data["source"]["urls"]["markdown"],
    }


def _artifact(entry: Entry, index: Index, host: str) -> dict[str, Any]:
    return {
        "identifier": f"urn:air:{host}:{index.dataset}/{entry.id}",
        "displayName": entry.title,
        "type": "text/x-python",
        "mediaType": "text/x-python",
        "url": entry.url,
        "description": f"{entry.summary}.",
        "tags": sorted({entry.task, *entry.tags}),
        "version": entry.version,
        "metadata": {
            "sha256": entry.sha256,
            "license": entry.license,
            "commands": {form: entry.commands[form]["text"] for form in ("local", "jobs")},
            "documentation": script_url(index.dataset, f"scripts/{entry.id}.md"),
        },
    }


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _compact(document: object) -> str:
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
