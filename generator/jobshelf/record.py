"""What the last rehearsal of a catalogue script showed: `catalog/records/<name>.json`, written here and never by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from jobshelf.errors import InputError, UsageError
from jobshelf.script import Script, read_script
from jobshelf.shelf import Shelf

SCHEMA_VERSION = 1
Figures = Mapping[str, int | float | str]
_Kind = TypeVar("_Kind")


class Outcome(Enum):
    """How a step ended; the values stand in records."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one step. `reason` says why it failed or does not apply; `figures` are counts and sizes."""

    step: str
    outcome: Outcome
    reason: str = ""
    seconds: float
    figures: Figures = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as it stands in reports and records."""
        return {
            "name": self.step,
            "verdict": self.outcome.value,
            "reason": self.reason,
            "seconds": round(self.seconds, 1),
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The versions of the tool, the interpreter, uv, and the packages that the header resolved to."""

    jobshelf: str
    python: str
    uv: str
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A whole rehearsal of one script. `sha256` is that of the script's bytes, `date` the day it was rehearsed."""

    name: str
    sha256: str
    date: date
    arguments: tuple[str, ...]
    versions: Versions
    seconds: float
    peak_memory_mib: int
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether no step failed."""
        return all(verdict.outcome is not Outcome.FAILED for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "sha256": self.sha256,
            "date": self.date.isoformat(),
            "arguments": list(self.arguments),
            "versions": {
                "jobshelf": self.versions.jobshelf,
                "python": self.versions.python,
                "uv": self.versions.uv,
                "packages": dict(self.versions.packages),
            },
            "seconds": round(self.seconds, 1),
            "peak_memory_mib": self.peak_memory_mib,
            "steps": [verdict.to_json() for verdict in self.verdicts],
        }

    def to_text(self) -> str:
        """Return the text of the file: sorted keys, two-space indent, a newline at the end."""
        return json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str, where: str) -> Record:
        """Read the text of a record that came from `where`. Raises InputError that names the value that is wrong."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise _unreadable(where, f"is not JSON: {error}") from error
        try:
            return _parsed(data)
        except _WrongValue as error:
            raise _unreadable(where, str(error)) from error


class _WrongValue(Exception):
    """Names the value, what it is and what was expected."""


def record_path(shelf: Shelf, name: str) -> Path:
    """Return where the record of the catalogue script of this file name (without `.py`) lies."""
    return shelf.catalog / "records" / f"{name}.json"


def write_record(record: Record, shelf: Shelf) -> Path:
    """Write the record and return its path. Raises UsageError unless it is of a script of the catalogue as it is now."""
    script = shelf.catalog / f"{record.name}.py"
    if not script.is_file() or is_stale(record, read_script(script)):
        message = f"records are kept of the scripts in {shelf.catalog}, and this was not {script.name} as it is there"
        raise UsageError(message, fix=f"jobshelf rehearse {record.name} --record, inside the checkout")
    path = record_path(shelf, record.name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(record.to_text(), encoding="utf-8")
    return path


def load_record(shelf: Shelf, name: str) -> Record | None:
    """Return the record of a catalogue script, None when it was never rehearsed. Raises InputError for a broken file."""
    path = record_path(shelf, name)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise _unreadable(str(path), "is not UTF-8") from error
    return Record.from_text(text, str(path))


def is_stale(record: Record, script: Script) -> bool:
    """Whether the record is of other bytes than the script has now."""
    return record.sha256 != script.sha256


def _parsed(data: object) -> Record:
    document = _table(data, "the file")
    version = _value(document, "schema_version", int)
    if version != SCHEMA_VERSION:
        raise _WrongValue(f"has schema_version {version}, expected {SCHEMA_VERSION}")
    versions = _table(_value(document, "versions", dict), "versions")
    return Record(
        name=_value(document, "name", str),
        sha256=_value(document, "sha256", str),
        date=_day(_value(document, "date", str)),
        arguments=tuple(_texts(document, "arguments")),
        versions=Versions(
            jobshelf=_value(versions, "jobshelf", str, inside="versions."),
            python=_value(versions, "python", str, inside="versions."),
            uv=_value(versions, "uv", str, inside="versions."),
            packages=_value(versions, "packages", dict, inside="versions."),
        ),
        seconds=_value(document, "seconds", float),
        peak_memory_mib=_value(document, "peak_memory_mib", int),
        verdicts=tuple(_verdict(item, number) for number, item in enumerate(_value(document, "steps", list))),
    )


def _verdict(item: object, number: int) -> Verdict:
    step, inside = _table(item, f"steps[{number}]"), f"steps[{number}]."
    outcome = _value(step, "verdict", str, inside=inside)
    if outcome not in _OUTCOMES:
        raise _WrongValue(f"has {inside}verdict = {outcome!r}, expected one of {', '.join(_OUTCOMES)}")
    return Verdict(
        step=_value(step, "name", str, inside=inside),
        outcome=_OUTCOMES[outcome],
        reason=_value(step, "reason", str, inside=inside),
        seconds=_value(step, "seconds", float, inside=inside),
        figures=_value(step, "figures", dict, inside=inside),
    )


def _table(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _WrongValue(f"has {what} = {value!r}, expected an object")
    return value


def _value(table: Mapping[str, Any], key: str, kind: type[_Kind], *, inside: str = "") -> _Kind:
    if key not in table:
        raise _WrongValue(f"has no {inside}{key}")
    value = table[key]
    # JSON writes a whole float without its point, and a bool is an int to Python alone
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _WrongValue(f"has {inside}{key} = {value!r}, expected {kind.__name__}")
    return value


def _texts(table: Mapping[str, Any], key: str) -> list[str]:
    values = _value(table, key, list)
    if not all(isinstance(value, str) for value in values):
        raise _WrongValue(f"has {key} = {values!r}, expected a list of strings")
    return values


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise _WrongValue(f"has date = {text!r}, expected a day such as 2026-11-21") from error


def _unreadable(where: str, why: str) -> InputError:
    return InputError(f"{where} {why}", fix="write it again: jobshelf rehearse NAME --record")
