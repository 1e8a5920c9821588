"""One script as index.json tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobshelf.forms import forms, script_url

RELEASE = re.compile(r"\d+(\.\d+)*")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,90}\.py", re.ASCII)
_ID = re.compile(r"[a-z0-9-]{1,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PINNED = re.compile(r"/resolve/v([0-9.]+)/")
_TEXT, _NUMBER, _FLAG, _TABLE, _TEXTS = "a string", "a whole number", "true or false", "an object", "a list of strings"
_KINDS: Mapping[str, type] = {_TEXT: str, _NUMBER: int, _FLAG: bool, _TABLE: dict, _TEXTS: list}
# What is read of an entry by name; the schema says the rest.
_READ = (
    *((key, _TEXT) for key in ("id", "title", "summary", "description", "version", "status", "license")),
    *((key, _TEXTS) for key in ("aliases", "arguments", "classification.tags", "io.inputs", "io.outputs")),
    *((key, _TEXT) for key in ("classification.task", "io.persists", "needs.token", "source.path", "source.sha256")),
    *((key, _TEXT) for key in ("runtime.requires_python", "source.urls.latest")),
    *((key, _NUMBER) for key in ("source.bytes", "source.lines")),
    *((key, _TABLE) for key in ("needs.launch", "commands", "needs.hardware")),
    ("runtime.dependencies", _TEXTS),
    ("needs.shardable", _FLAG),
)
_PATTERNS = (
    ("id", _ID, "lower-case letters, digits and '-'"),
    ("version", RELEASE, "numbers and dots such as 1.0.0"),
    ("source.path", FILE_NAME, "the name of a .py file"),
    ("source.sha256", _SHA256, "64 hexadecimal digits"),
)


class NoEntry(ValueError):
    """Says which value of an entry is not as it must be, what it is and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One script of an index. `data` is its JSON object as it was read, so that what a newer tool wrote is kept."""

    data: Mapping[str, Any]

    @classmethod
    def from_json(cls, data: object) -> Entry:
        """Read an entry of an index.json. Raises NoEntry that names the value that is wrong."""
        for path, kind in _READ:
            value = _at(data, path)
            right = isinstance(value, _KINDS[kind]) and (kind is not _NUMBER or not isinstance(value, bool))
            if not right or (kind is _TEXTS and not all(isinstance(item, str) for item in value)):
                raise NoEntry(f"{path} is {_shown(value)}, expected {kind}")
        for path, pattern, expected in _PATTERNS:
            if not pattern.fullmatch(_at(data, path)):
                raise NoEntry(f"{path} is {_shown(_at(data, path))}, expected {expected}")
        return cls(data=data)

    def to_text(self) -> str:
        """Return the entry as JSON: sorted keys, two-space indent, no newline at the end."""
        return canonical(self.data)

    def at(self, dataset: str) -> Entry:
        """Return the entry with the addresses and commands of the Hub dataset `dataset`; itself where it has them."""
        if self.url == script_url(dataset, self.file):
            return self
        return Entry(data=addressed(self.data, dataset))

    def pinned(self, release: str | None) -> Entry:
        """Return the entry with addresses pinned to the tag of `release` (a version), or with none."""
        if self.release == release:
            return self
        dataset = self.url.partition("/datasets/")[2].partition("/resolve/")[0]
        return Entry(data=addressed(self.data, dataset, release))

    @property
    def id(self) -> str:
        """The permanent name."""
        return self.data["id"]

    @property
    def file(self) -> str:
        """The file name, which is the last part of its URL."""
        return self.data["source"]["path"]

    @property
    def url(self) -> str:
        """The address of the newest version."""
        return self.data["source"]["urls"]["latest"]

    @property
    def release(self) -> str | None:
        """The release whose tag is known to hold exactly these bytes; None for bytes that were not released."""
        match = _PINNED.search(self.data["source"]["urls"].get("release", ""))
        return match[1] if match else None

    @property
    def title(self) -> str:
        """A few words."""
        return self.data["title"]

    @property
    def summary(self) -> str:
        """One sentence without its full stop."""
        return self.data["summary"]

    @property
    def description(self) -> str:
        """The docstring below its first line."""
        return self.data["description"]

    @property
    def version(self) -> str:
        """Numbers and dots."""
        return self.data["version"]

    @property
    def status(self) -> str:
        """One of stable, preview, deprecated, disabled."""
        return self.data["status"]

    @property
    def replaced_by(self) -> str | None:
        """The id to use instead of a deprecated script, if there is one."""
        return self.data.get("replaced_by")

    @property
    def license(self) -> str:
        """An SPDX identifier."""
        return self.data["license"]

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names that it answers to, old ids among them."""
        return tuple(self.data["aliases"])

    @property
    def task(self) -> str:
        """What it is for, in one word."""
        return self.data["classification"]["task"]

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by."""
        return tuple(self.data["classification"]["tags"])

    @property
    def sha256(self) -> str:
        """Hex digest of the script's bytes."""
        return self.data["source"]["sha256"]

    @property
    def bytes(self) -> int:
        """The size of the script."""
        return self.data["source"]["bytes"]

    @property
    def requires_python(self) -> str:
        """A version specifier."""
        return self.data["runtime"]["requires_python"]

    @property
    def dependencies(self) -> tuple[str, ...]:
        """PEP 508 requirements."""
        return tuple(self.data["runtime"]["dependencies"])

    @property
    def inputs(self) -> tuple[str, ...]:
        """Kinds of what it reads."""
        return tuple(self.data["io"]["inputs"])

    @property
    def outputs(self) -> tuple[str, ...]:
        """Kinds of what it writes."""
        return tuple(self.data["io"]["outputs"])

    @property
    def token(self) -> str:
        """The Hub token that it needs: none, read or write."""
        return self.data["needs"]["token"]

    @property
    def launch(self) -> Mapping[str, Any]:
        """Its `[tool.hf-jobs]` table."""
        return self.data["needs"]["launch"]

    @property
    def hardware(self) -> Mapping[str, str]:
        """The `flavor` and `timeout` of its Job, those that Jobs fills in included."""
        return self.data["needs"]["hardware"]

    @property
    def cost(self) -> Mapping[str, Any] | None:
        """The dated price of its Job; None where its flavor has none."""
        return self.data.get("cost")

    @property
    def arguments(self) -> tuple[str, ...]:
        """Those of its example."""
        return tuple(self.data["arguments"])

    @property
    def commands(self) -> Mapping[str, Any]:
        """The ready commands, by form."""
        return self.data["commands"]

    @property
    def interface(self) -> Mapping[str, Any] | None:
        """The captured command line; None where it could not be captured."""
        return self.data.get("interface")

    @property
    def vetting(self) -> Mapping[str, Any] | None:
        """What the rules found."""
        return self.data.get("vetting")

    @property
    def rehearsal(self) -> Mapping[str, Any] | None:
        """The record of the last rehearsal; None when there is none."""
        return self.data.get("rehearsal")

    @property
    def rehearsed(self) -> str:
        """The last rehearsal in one word: passed, failed, stale (the script has changed since) or never."""
        return rehearsed(self.rehearsal)


def rehearsed(record: Mapping[str, Any] | None) -> str:
    """Return passed, failed, stale or never for the `rehearsal` of an entry."""
    if record is None:
        return "never"
    if record["stale"]:
        return "stale"
    return "passed" if record["passed"] else "failed"


def addressed(data: Mapping[str, Any], dataset: str, release: str | None = None) -> dict[str, Any]:
    """Return an entry's data with the URLs and commands of `dataset`; `release` (a version) adds those pinned to its tag."""
    file, launch, arguments = data["source"]["path"], data["needs"]["launch"], data["arguments"]
    url = script_url(dataset, file)
    urls = {key: value for key, value in data["source"].get("urls", {}).items() if key != "release"}
    urls |= {
        "latest": url,
        "json": script_url(dataset, f"scripts/{data['id']}.json"),
        "markdown": script_url(dataset, f"scripts/{data['id']}.md"),
    }
    commands = commands_of(url, launch, arguments)
    if release:
        urls["release"] = script_url(dataset, file, revision=f"v{release}")
        commands["pinned"] = commands_of(urls["release"], launch, arguments)
    return {**data, "source": {**data["source"], "urls": urls}, "commands": commands}


def commands_of(url: str, launch: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the ready commands of the script at `url`: the four forms of its example, its help, and what to know of a form."""
    made = forms(url, launch, arguments)
    return {
        "help": {"argv": ["uv", "run", url, "--help"], "text": f"uv run {url} --help"},
        **made.to_json(),
        "notes": [{"form": form, "note": note} for form, note in made.notes],
    }


def canonical(data: object) -> str:
    """Return `data` as the one JSON text that stands for it: sorted keys, two-space indent, no escapes but needed ones."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def normalise(name: str) -> str:
    """Return a script's name the way PyPI normalises one; a trailing `.py` does not count."""
    return re.sub(r"[-_.]+", "-", name.removesuffix(".py")).lower()


def _at(data: object, path: str) -> Any:  # noqa: ANN401 (whatever stands there)
    for key in path.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _shown(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
