"""Rows in files of many forms, and whether two sets of rows are the same: rows and text exactly, floats to 1e-9."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from jobshelf.rehearse.environment import synced
from jobshelf.script import read_script

Row = Mapping[str, Any]
TOLERANCE = 1e-9
_DIGITS = 9
_READER = Path(__file__).with_name("parquet_rows.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows with the same columns. `columns` are the names, with their types where the form of the file tells them."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What one set of rows has that another has not: rows `lost` and rows that are `extra` (twice, or never there)."""

    lost: int
    extra: int
    example: str

    def __str__(self) -> str:
        return f"{self.lost} rows lost, {self.extra} rows too many, e.g. {self.example}"


class RowReader:
    """Reads rows; parquet through a process of its own, which is started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def tables(self, files: Mapping[str, bytes]) -> dict[tuple[str, ...], Table]:
        """Return the tables in `files` (path -> content) by their columns; files of the same columns are one table.

        Files that hold no rows are left out. Raises ValueError that names the file which cannot be read.
        """
        found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for path, data in sorted(files.items()):
            if is_table(path):
                columns, rows = self._read(path, data)
                found[columns].extend(rows)
        return {columns: Table(columns=columns, rows=tuple(rows)) for columns, rows in sorted(found.items()) if rows}

    def close(self) -> None:
        """End the reading process."""
        if self._process is not None:
            self._process.communicate()

    def _read(self, path: str, data: bytes) -> tuple[tuple[str, ...], list[Row]]:
        try:
            if path.endswith(".parquet"):
                return self._parquet(data)
            rows = list(_FORMS[PurePosixPath(path).suffix](data.decode()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        return tuple(sorted({column for row in rows for column in row})), rows

    def _parquet(self, data: bytes) -> tuple[tuple[str, ...], list[Row]]:
        with self._lock, tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            file.write(data)
            file.flush()
            answer = json.loads(self._ask(file.name))
        if "error" in answer:
            raise ValueError(answer["error"])
        return tuple(f"{name}: {kind}" for name, kind in answer["columns"].items()), answer["rows"]

    def _ask(self, path: str) -> str:
        if self._process is None:
            python = synced(_READER, read_script(_READER).require()).python
            self._process = subprocess.Popen(
                [python, _READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("the reader of parquet files has no pipes")
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def is_table(path: str) -> bool:
    """Whether a file of this name holds rows."""
    name = PurePosixPath(path)
    return name.suffix in {".parquet", *_FORMS} and not any(part.startswith(".") for part in name.parts)


def difference(expected: Sequence[Row], found: Sequence[Row]) -> Difference | None:
    """Return how `found` differs from `expected`, None when they are the same rows in whatever order."""
    if len(expected) == len(found) and all(map(same, _ordered(expected), _ordered(found))):
        return None
    wanted, there = Counter(map(_key, expected)), Counter(map(_key, found))
    lost, extra = wanted - there, there - wanted
    example = next(iter([*lost, *extra]), "the same rows but for the last digits of a float")
    return Difference(lost=lost.total(), extra=extra.total(), example=example[:200])


def same(one: object, other: object) -> bool:
    """Whether two JSON values are the same: floats to a relative 1e-9, everything else exactly."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def _ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=_key)


def _key(row: Row) -> str:
    return json.dumps(_rounded(row), sort_keys=True, ensure_ascii=False)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def _json_lines(text: str) -> Iterator[Row]:
    return (_object(json.loads(line)) for line in text.split("\n") if line.strip())


def _json(text: str) -> Iterator[Row]:
    """Rows are a list of objects; an object alone is a manifest or a configuration."""
    value = json.loads(text)
    return map(_object, value) if isinstance(value, list) else iter(())


def _object(value: object) -> Row:
    return value if isinstance(value, dict) else {"value": value}


def _csv(text: str) -> Iterator[Row]:
    return iter(csv.DictReader(io.StringIO(text)))


_FORMS = {".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json, ".csv": _csv}


@contextlib.contextmanager
def row_reader() -> Iterator[RowReader]:
    """A reader that is closed when the block ends."""
    reader = RowReader()
    try:
        yield reader
    finally:
        reader.close()
