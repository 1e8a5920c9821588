"""The page to browse a shelf with: one HTML file that asks for nothing else, whole without JavaScript, better with it.

It is derived from the index alone. Where the scripts lie at hand, it can also show their text: those bytes only that the
index describes. What a script says of itself may come from anybody, and is text wherever it stands.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from jobshelf.forms import ENDPOINT, script_url
from jobshelf.hardware import Flavor, price_table
from jobshelf.index import Entry, Index, normalise, words
from jobshelf.render import printable, render
from jobshelf.shelf import installed_shelf

PAGE: Final = "index.html"
PARENT: Final = ENDPOINT
_OWN = Path(__file__).parent / "pages"
_ID = re.compile(r"[a-z0-9-]{1,95}")
_RULE = re.compile(r"UVS\d{3}")
# What a passed step of a rehearsal shows, by the step's name in records.
PROVEN: Final[Mapping[str, str]] = {
    "help": "--help answers, without a token",
    "bad-arguments": "An unknown option is refused before anything is done",
    "no-token": "Without a token it stops before anything is written",
    "read-only-token": "With a token that may only read it stops before anything is written",
    "missing-input": "An input that does not exist is named, and nothing is written",
    "missing-column": "An input without the needed columns is named, and nothing is written",
    "dry-run": "--dry-run writes nothing",
    "run": "A real run ends well, and leaves what it should",
    "second-run": "Run again, it changes nothing",
    "kill": "Killed at any moment and run again, it loses nothing and writes nothing twice",
    "faults": "When requests fail it survives, or says so and keeps the data",
    "shards": "Two shards at once make what one run makes",
    "token": "The token turns up nowhere: output, logs, files, command lines",
}
_MACHINES = (
    (16, "GPU up to 16 GB"),
    (24, "GPU up to 24 GB"),
    (48, "GPU up to 48 GB"),
    (1 << 20, "GPU of 80 GB and more"),
)
_COSTS = ((0.1, "under $0.10"), (1, "$0.10 to $1"), (10, "$1 to $10"), (float("inf"), "over $10"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a command. `value` is the number of the example's word that it is, None for what is not to be edited."""

    text: str
    value: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to start a script. `quoting` is how its values are written: shell, python or json."""

    key: str
    label: str
    quoting: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One script as the page shows it. `source` is its text, None where only its address is known."""

    entry: Entry
    aliases: tuple[str, ...]
    machine: str
    forms: tuple[Form, ...]
    fields: tuple[Mapping[str, Any], ...]
    paragraphs: tuple[tuple[str, str], ...]
    commands: tuple[Mapping[str, Any], ...]
    source: str | None


def page_files(index: Index) -> dict[str, bytes]:
    """`index.html`: the page as an emitter makes it, from the index alone; sources are linked."""
    return {PAGE: page(index).encode()}


def page(index: Index, sources: Mapping[str, bytes] | None = None) -> str:
    """Return the page of an index: the same text for the same index on every machine.

    `sources` are the bytes of scripts by file name. Bytes with another digest than the index's are not shown.
    """
    shown = _cleaned(index)
    own = {f"{kind}_text": _own(f"page.{kind}") for kind in ("css", "js")}
    return render(
        "page.html.jinja",
        index=shown,
        base=script_url(shown.dataset, ""),
        articles=(_article(entry, _source(entry, sources or {})) for entry in shown.entries),
        machines={entry.id: machine_class(entry) for entry in shown.entries},
        data=_for_script(_data(shown)),
        linked=_for_script(_linked_data(shown)),
        policy=_policy(*own.values()),
        words=words,
        proven=PROVEN,
        tool=installed_shelf().repository,
        **own,
    )


def write_page(text: str, path: Path) -> None:
    """Put the page in the place of `path`, at once or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def read_sources(index: Index, folder: Path) -> dict[str, bytes]:
    """Return the bytes of those scripts of an index that lie in `folder`, by file name."""
    paths = {entry.file: folder / entry.file for entry in index.entries}
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def machine_class(entry: Entry) -> str:
    """Return the class of machines that the Job's flavor is of: CPU, a size of GPU memory, or other."""
    flavor = _flavors().get(entry.hardware["flavor"])
    if flavor is None:
        return "other"
    return _band(flavor.vram_gb, _MACHINES) if flavor.gpus else "CPU"


def form_parts(text: str, arguments: Sequence[str], quoting: str, fields: Iterable[int]) -> tuple[Part, ...]:
    """Cut a command into what stays and the words of its example that a person replaces.

    A command whose example is not found in it, as it is written in that form, is one part.
    """
    quote, opening, between, closing = _QUOTINGS[quoting]
    quoted = [quote(word) for word in arguments]
    editable = set(fields)
    for before in opening:
        written = f"{before}{between.join(quoted)}{closing}"
        start = text.rfind(written)
        if not arguments or start < 0 or (quoting == "shell" and not text.endswith(written)):
            continue
        parts = [Part(text=text[:start] + before)]
        for number, word in enumerate(quoted):
            parts.append(Part(text=word, value=number if number in editable else None))
            parts.append(Part(text=between if number < len(quoted) - 1 else closing))
        parts.append(Part(text=text[start + len(written) :]))
        return tuple(part for part in parts if part.text)
    return (Part(text=text),)


# Quoting -> how a word is written, what can stand before the first, between two, and behind the last.
_QUOTINGS: Final[Mapping[str, tuple[Callable[[str], str], tuple[str, ...], str, str]]] = {
    "shell": (shlex.quote, (" ",), " ", ""),
    "python": (repr, ("[", ", "), ", ", "]"),
    "json": (lambda word: json.dumps(word, ensure_ascii=False), ("[", ", "), ", ", "]"),
}


def _article(entry: Entry, source: str | None) -> Article:
    fields = tuple(_fields(entry))
    return Article(
        entry=entry,
        aliases=_old_ids(entry),
        machine=words.machine(entry),
        forms=tuple(_forms(entry, [field["value"] for field in fields])),
        fields=fields,
        paragraphs=tuple(_paragraphs(entry.description)),
        commands=tuple(words.commands(entry)),
        source=source,
    )


def _forms(entry: Entry, fields: Sequence[int]) -> Iterator[Form]:
    commands, pinned, pinned_notes = entry.commands, *_pinned(entry)
    rows = (
        ("jobs", "Jobs", "shell", commands["jobs"]["text"], [f"Runs on {words.machine(entry)}."]),
        ("local", "Local", "shell", commands["local"]["text"], ["Runs on this machine, with uv."]),
        ("pinned", "Pinned", "shell", pinned, pinned_notes),
        ("python", "Python", "python", commands["python"]["text"], []),
        ("mcp", "MCP", "json", commands["mcp"]["text"], ["For the tool hf_jobs of the Hugging Face MCP server."]),
    )
    for key, label, quoting, text, notes in rows:
        known = [note["note"] for note in commands.get("notes", ()) if note["form"] == key]
        parts = form_parts(text, entry.arguments, quoting, fields)
        yield Form(key=key, label=label, quoting=quoting, parts=parts, notes=(*notes, *known))


def _pinned(entry: Entry) -> tuple[str, list[str]]:
    """Return the command that runs these very bytes, and what is to be said of it."""
    if entry.release:
        return entry.commands["pinned"]["jobs"]["text"], [f"A Job with the bytes of release {entry.release}, for good."]
    start = [entry.file if word == entry.url else word for word in entry.commands["local"]["argv"]]
    check = shlex.quote(f"{entry.sha256}  {entry.file}")
    text = f"curl -fsSLO {shlex.quote(entry.url)} && echo {check} | sha256sum --check && {shlex.join(start)}"
    return text, ["Runs on this machine, if the bytes are those described here; no release holds them yet."]


def _fields(entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield the words of the example that a person replaces: each value with the name of what it is."""
    takes_value = _options(entry)
    places = iter([one["name"] for one in _arguments(entry) if one["kind"] == "positional"])
    flag = ""
    for number, word in enumerate(entry.arguments):
        if word.startswith("-"):
            flag = word if "=" not in word and takes_value.get(word, True) else ""
            continue
        yield {"value": number, "label": flag or next(places, f"argument {number + 1}"), "example": word}
        flag = ""


def _options(entry: Entry) -> dict[str, bool]:
    """Return the options of a script, and whether a value stands behind each."""
    named = [one for one in _arguments(entry) if one["kind"] == "option"]
    return {flag: one["type"] not in ("flag", "bool") for one in named for flag in one["flags"]}


def _arguments(entry: Entry) -> Sequence[Mapping[str, Any]]:
    return entry.interface["arguments"] if entry.interface else ()


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of a docstring's body: what is indented is code, the rest flows."""
    for block in re.split(r"\n[ \t]*\n|\n(?=Exit codes:)", text.strip("\n")):
        lines = block.splitlines()
        if lines and all(line.startswith("    ") for line in lines):
            yield "code", "\n".join(line[4:] for line in lines)
        elif lines:
            yield "text", block


def _source(entry: Entry, sources: Mapping[str, bytes]) -> str | None:
    data = sources.get(entry.file)
    if data is None or hashlib.sha256(data).hexdigest() != entry.sha256:
        return None
    return _printable(data.decode("utf-8", errors="replace"))


def _old_ids(entry: Entry) -> tuple[str, ...]:
    known = dict.fromkeys(normalise(alias) for alias in entry.aliases)
    return tuple(alias for alias in known if _ID.fullmatch(alias) and alias != entry.id)


def _data(index: Index) -> dict[str, Any]:
    """What the page's script knows of each entry, in the order in which the page lists them."""
    groups = {
        "task": "Task",
        "machine": "Machine",
        "cost": "Cost at most",
        "token": "Token",
        "in": "Reads",
        "out": "Writes",
        "rules": "Rules",
        "status": "Status",
    }
    order = {
        "machine": ["CPU", *(name for _, name in _MACHINES)],
        "cost": [name for _, name in _COSTS],
        "token": ["none", "read", "write"],
    }
    aliases = {alias: entry.id for entry in index.entries for alias in _old_ids(entry)}
    return {"groups": groups, "order": order, "aliases": aliases, "rows": [_row(entry) for entry in index.entries]}


def _row(entry: Entry) -> dict[str, Any]:
    facets = [
        [entry.task],
        [machine_class(entry)],
        [_band(entry.cost["usd_at_timeout"], _COSTS) if entry.cost else "no price"],
        [entry.token],
        list(entry.inputs) or ["nothing"],
        list(entry.outputs) or ["nothing"],
        ["passed" if entry.vetting and entry.vetting["passed"] else "not passed"],
        [entry.status],
    ]
    return {
        "id": entry.id,
        "title": entry.title,
        "text": _searched(entry),
        "facets": facets,
        "usd": entry.cost["usd_at_timeout"] if entry.cost else None,
        "proven": entry.rehearsed,
        "date": entry.rehearsal["date"] if entry.rehearsal else "",
    }


def _searched(entry: Entry) -> str:
    """Return each word that a script can be found by, once; its id and title stand elsewhere."""
    flags = [word for one in _arguments(entry) for word in (*one.get("flags", ()), one["name"], one["help"])]
    kinds = (entry.task, *entry.tags, *entry.aliases, *entry.inputs, *entry.outputs, entry.hardware["flavor"])
    text = " ".join((*kinds, entry.summary, entry.description, *entry.dependencies, *entry.arguments, *flags))
    return " ".join(sorted({word for word in text.lower().split() if "://" not in word}))


def _linked_data(index: Index) -> dict[str, Any]:
    """The scripts in the words of schema.org."""
    items = [
        {
            "@type": "SoftwareSourceCode",
            "name": entry.title,
            "description": entry.summary,
            "identifier": entry.id,
            "version": entry.version,
            "license": entry.license,
            "programmingLanguage": "Python",
            "codeRepository": index.repository,
            "url": entry.url,
        }
        for entry in index.entries
    ]
    head = {"@context": "https://schema.org", "@type": "DataCatalog", "name": index.name}
    return {**head, "description": index.description, "url": index.homepage, "hasPart": items}


def _band(amount: float, bands: Sequence[tuple[float, str]]) -> str:
    return next(name for most, name in bands if amount <= most)


@cache
def _flavors() -> Mapping[str, Flavor]:
    return price_table().flavors


def _cleaned(index: Index) -> Index:
    entries = tuple(Entry(data=_clean(entry.data)) for entry in index.entries)
    return replace(index, name=_clean(index.name), description=_clean(index.description), entries=entries)


def _clean(value: Any) -> Any:  # noqa: ANN401 (any JSON data)
    """Return JSON data whose texts hold nothing that hides or turns around what stands beside it."""
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, Mapping):
        return {_printable(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _printable(text: str) -> str:
    return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))


def _for_script(data: object) -> str:
    """Return JSON that can stand inside a <script>: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _own(name: str) -> str:
    return (_OWN / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and nothing runs but the page's own script: also not what somebody could smuggle in."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
