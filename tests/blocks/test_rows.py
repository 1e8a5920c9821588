"""Block `rows`: the beginning of a file, exactly, however its bytes arrive."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobshelf import blocks

rows = blocks.load("rows")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=6)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@given(records=RECORDS, size=st.integers(1, 40), indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_json_array_in_any_pieces(
    records: list[dict[str, Any]], size: int, indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(records, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if b"\xed" in data and not ascii_only:
        return
    head = rows._json_head(pieces(data, size), 100)
    assert list(head.rows) == records
    assert head.total == len(records)


@given(records=RECORDS, size=st.integers(1, 40), end=st.sampled_from(["\n", "\r\n", "\n\n"]), bom=st.booleans())
def test_json_lines_in_any_pieces(records: list[dict[str, Any]], size: int, end: str, bom: bool) -> None:
    text = "".join(json.dumps(record) + end for record in records)
    data = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    head = rows._json_head(pieces(data, size), 100)
    assert list(head.rows) == records


def test_reads_no_further_than_needed() -> None:
    endless = itertools.chain([b"["], itertools.repeat(b'{"a": 1},'))
    head = rows._json_head(endless, 3)
    assert (len(head.rows), head.total) == (3, None)
    assert len(rows._json_head(itertools.repeat(b'{"a": 1}\n'), 3).rows) == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": 1}\n{"a"\n', "line 2 is not JSON"),
        (b'[{"a": 1}, {"a"', "after item 1"),
        (b"[1]", "record 1 is a int, expected an object"),
        (b'"text"', "record 1 is a str"),
        (b'{"a": "\xff"}', "utf-8"),
    ],
)
def test_errors_say_where(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rows._json_head([data], 10)
