"""Places in the text of a PEP 723 header, and edits to it. An edit that would not parse as meant is not offered."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from jobshelf.script import Header
from jobshelf.vet.rule import Edit
from jobshelf.vet.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A stretch of one line of the script (1-based, end exclusive)."""

    line: int
    column: int
    end_column: int

    def span(self) -> dict[str, int]:
        """Return the four position arguments of a Hit."""
        return {"line": self.line, "column": self.column, "end_line": self.line, "end_column": self.end_column}


def place_of_string(subject: Subject, header: Header, value: str, *, key: str, table: str = "") -> Place:
    """Return where the string `value` of `key` stands between its quotes; the key's line when it is written otherwise."""
    start = header.line_of(key, table=table)
    for number in range(start, header.last_line):
        for quote in ('"', "'"):
            column = subject.lines[number - 1].find(f"{quote}{value}{quote}")
            if column >= 0:
                return Place(line=number, column=column + 2, end_column=column + 2 + len(value))
    return place_of_line(subject, start)


def place_of_key(subject: Subject, header: Header, key: str, *, table: str = "") -> Place:
    """Return where `key` of `[table]` is set."""
    line = header.line_of(key, table=table)
    column = subject.lines[line - 1].find(key)
    if column < 0:
        return place_of_line(subject, line)
    return Place(line=line, column=column + 1, end_column=column + 1 + len(key))


def place_of_line(subject: Subject, line: int) -> Place:
    """Return the whole of a line."""
    return Place(line=line, column=1, end_column=len(subject.lines[line - 1]) + 1)


def replace(subject: Subject, place: Place, text: str) -> tuple[Edit, ...]:
    """Return the edit that puts `text` at `place`; none when the header would not be TOML any more."""
    line = subject.lines[place.line - 1]
    changed = line[: place.column - 1] + text + line[place.end_column - 1 :]
    return _checked(subject, {place.line: [changed]})


def insert_key(subject: Subject, header: Header, key: str, value: str, *, table: str = "") -> tuple[Edit, ...]:
    """Return the edit that sets `key = value` (TOML) in `[table]`, which it adds when the header has none."""
    setting = f"# {key} = {value}"
    if not table:
        return _checked(subject, {header.first_line: [subject.lines[header.first_line - 1], setting]})
    heading = re.compile(rf"# \[{re.escape(table)}\]\s*(?:#.*)?")
    for number in range(header.first_line + 1, header.last_line):
        if heading.fullmatch(subject.lines[number - 1]):
            return _checked(subject, {number: [subject.lines[number - 1], setting]})
    last = header.last_line
    return _checked(subject, {last: [f"# [{table}]", setting, subject.lines[last - 1]]})


def remove_line(subject: Subject, line: int) -> tuple[Edit, ...]:
    """Return the edit that takes the line out; none when the header would not be TOML any more."""
    return _checked(subject, {line: []})


def _checked(subject: Subject, changes: dict[int, list[str]]) -> tuple[Edit, ...]:
    header = subject.script.header
    if header is None:
        return ()
    inside = range(header.first_line, header.last_line + 1)
    new = [text for number in inside for text in changes.get(number, [subject.lines[number - 1]])]
    try:
        tomllib.loads("".join(f"{text[2:]}\n" for text in new[1:-1]))
    except tomllib.TOMLDecodeError:
        return ()
    return tuple(subject.edit_lines(number, number, *texts) for number, texts in sorted(changes.items()))


def comment_run(lines: list[str], first: int) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, text) of the comment and blank lines from `first` on."""
    for number in range(first, len(lines) + 1):
        text = lines[number - 1].strip()
        if text and not text.startswith("#"):
            return
        yield number, lines[number - 1]
