"""Rows: read from every form, compared as people compare them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobshelf.rehearse.result import carried_over
from jobshelf.rehearse.rows import RowReader, difference, row_reader, same

ROWS: list[dict[str, Any]] = [{"id": 1, "text": "a\u2028b", "score": 0.1}, {"id": 2, "text": None, "score": None}]


@pytest.fixture(scope="module")
def reader() -> Any:
    with row_reader() as made:
        yield made


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def test_files_of_the_same_columns_are_one_table(reader: RowReader) -> None:
    files = {
        "b/1.parquet": parquet(ROWS),
        "b/0.parquet": parquet(ROWS[:1]),
        "c.csv": b"x,y\n1,2\n",
        "README.md": b"hello",
    }
    tables = reader.tables(files)
    assert {columns: len(table.rows) for columns, table in tables.items()} == {
        ("id: Int64", "text: String", "score: Float64"): 3,
        ("x", "y"): 1,
    }
    (whole, _) = tables.values()
    assert whole.rows == (ROWS[0], *ROWS)


def test_json_lines_and_lists_and_manifests(reader: RowReader) -> None:
    files = {
        "a.jsonl": '{"t": "a\u2028b"}\n\n{"t": "c", "error": "e"}\n'.encode(),
        "b.json": b'[{"n": 1}]',
        "jobshelf.json": b'{"script": "x"}',
        "data/.cache/x.jsonl": b"not json",
    }
    tables = reader.tables(files)
    assert {columns: len(table.rows) for columns, table in tables.items()} == {("error", "t"): 2, ("n",): 1}


@pytest.mark.parametrize(("path", "data"), [("a.jsonl", b"{"), ("x/b.parquet", b"PAR1"), ("c.csv", b"\xff")])
def test_a_file_that_cannot_be_read_is_named(reader: RowReader, path: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=f"^{path} cannot be read: "):
        reader.tables({path: data})


def test_order_and_the_last_digits_do_not_count() -> None:
    assert difference(ROWS, [ROWS[1], ROWS[0] | {"score": 0.1 + 1e-12}]) is None
    assert difference([{"x": float("nan")}], [{"x": float("nan")}]) is None


@pytest.mark.parametrize(
    ("found", "lost", "extra"),
    [
        (ROWS[:1], 1, 0),
        ([*ROWS, ROWS[0]], 0, 1),
        ([ROWS[0], ROWS[1] | {"text": ""}], 1, 1),
        ([ROWS[0] | {"score": 0.1 + 1e-8}, ROWS[1]], 1, 1),
        ([ROWS[0] | {"id": 1.0}, ROWS[1]], 1, 1),
    ],
)
def test_what_is_lost_and_what_is_too_much(found: list[dict[str, Any]], lost: int, extra: int) -> None:
    differs = difference(ROWS, found)
    assert differs is not None
    assert (differs.lost, differs.extra) == (lost, extra)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=5), st.randoms())
def test_a_shuffle_is_no_difference(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    assert difference(rows, shuffled) is None
    assert difference(rows, [*shuffled, {"d": 1}]) is not None


@given(VALUES)
def test_a_value_is_the_same_as_itself(value: object) -> None:
    assert same(value, value)


def test_rows_keep_what_they_were_given() -> None:
    rows = tuple(ROWS)
    inputs = {("id", "text", "score"): rows}
    made = tuple(row | {"words": 1} for row in rows)
    assert carried_over(inputs, made, all_of_them=True) is None
    assert carried_over(inputs, made[:1], all_of_them=False) is None
    assert carried_over(inputs, made[:1], all_of_them=True) == "1 of 2 rows of the input are missing"
    assert "0 rows lost, 1 rows too many" in str(carried_over(inputs, (*made, made[0]), all_of_them=False))
    assert carried_over(inputs, ({"other": 1},), all_of_them=True) is None


def test_the_reader_ends_with_its_block(tmp_path: Path) -> None:
    with row_reader() as made:
        made.tables({"a.parquet": parquet(ROWS)})
        process = made._process
    assert process is not None
    assert process.poll() == 0
