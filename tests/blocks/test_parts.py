"""Block `parts`: the same parts on every attempt, and a manifest that knows its run."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, strategies

from jobshelf import blocks

parts, exits = blocks.load("parts"), blocks.load("exits")
OURS = parts.RunManifest(script="x.py", request={"model": "m", "result_version": 1}, source="a" * 40, part_rows=3)


@given(total=strategies.integers(0, 200), size=strategies.integers(1, 50))
def test_parts_cover_each_row_once(total: int, size: int) -> None:
    cut = list(parts.cut(total, size))
    assert [row for part in cut for row in range(part.start, part.stop)] == list(range(total))
    assert [part.index for part in cut] == list(range(len(cut)))
    assert all(part.stop - part.start == size for part in cut[:-1])


@given(
    total=strategies.integers(0, 60), size=strategies.integers(1, 20), wanted=strategies.sets(strategies.integers(0, 9))
)
def test_a_stream_is_cut_like_a_count(total: int, size: int, wanted: set[int]) -> None:
    streamed = list(parts.cut_stream(range(total), size, wanted=wanted.__contains__))
    assert [part for part, _ in streamed] == list(parts.cut(total, size))
    for part, items in streamed:
        assert items == (list(range(part.start, part.stop)) if part.index in wanted else None)


def test_a_stream_is_read_one_part_at_a_time() -> None:
    read = itertools.count()
    stream = parts.cut_stream((next(read) for _ in range(100)), 10, wanted=lambda _: True)
    next(stream)
    assert next(read) == 10


def test_manifest_survives_the_file() -> None:
    read = parts.parse_run_manifest(json.loads(OURS.to_bytes()))
    assert read == OURS
    assert read.to_bytes() == OURS.to_bytes()


def test_part_paths() -> None:
    assert OURS.path(12) == "data/train-000012.parquet"
    assert OURS.index("data/train-000012.parquet") == 12
    assert replace(OURS, split="test").path(0) == "data/test-000000.parquet"


@pytest.mark.parametrize(
    "path",
    ["data/train-00000-of-00001.parquet", "data/test-000001.parquet", "data/train-1.parquet", "train-000001.parquet",
     "data/train-000001.parquet.tmp", "data/train-.parquet", "data/train-٠٠٠٠٠١.parquet"],
)  # fmt: skip
def test_not_a_part_of_this_run(path: str) -> None:
    assert OURS.index(path) is None


@pytest.mark.parametrize(
    "change",
    [{"script": 1}, {"request": []}, {"source": None}, {"part_rows": 0}, {"part_rows": "3"}, {"split": None}],
)
def test_not_a_manifest(change: dict[str, object]) -> None:
    assert parts.parse_run_manifest(json.loads(OURS.to_bytes()) | change) is None
    assert parts.parse_run_manifest({}) is None


def adopt(there: object, ours: object = OURS, *, overwrite: bool = False, complete: bool = False) -> object:
    return parts.adopt_manifest(there, ours, where="user/out", overwrite=overwrite, complete=complete)


def test_nothing_there() -> None:
    assert adopt(None) is OURS


def test_source_and_part_size_of_the_first_attempt_count() -> None:
    first = replace(OURS, source="b" * 40, part_rows=100)
    assert adopt(first) is first
    assert adopt(first, overwrite=True) is first
    assert adopt(replace(first, source=OURS.source), overwrite=True, complete=True).part_rows == 100


def test_overwrite_computes_a_complete_run_from_the_new_source() -> None:
    first = replace(OURS, source="b" * 40)
    assert adopt(first, complete=True) is first
    assert adopt(first, complete=True, overwrite=True) is OURS


def test_tuples_come_back_as_lists() -> None:
    ours = replace(OURS, request={"columns": ("a", "b")})
    there = parts.parse_run_manifest(json.loads(ours.to_bytes()))
    assert adopt(there, ours) is there


@pytest.mark.parametrize(
    ("there", "named"),
    [
        (replace(OURS, request={"model": "other", "result_version": 1}), 'model: "other" there, "m" asked'),
        (replace(OURS, request={"model": "m", "result_version": 2}), "result_version: 2 there, 1 asked"),
        (replace(OURS, request={"model": "m"}), "result_version: - there, 1 asked"),
        (replace(OURS, script="y.py"), 'script: "y.py" there'),
        (replace(OURS, split="test"), 'split: "test" there'),
    ],
)
def test_another_request(there: object, named: str) -> None:
    with pytest.raises(exits.Stop) as stop:
        adopt(there)
    assert stop.value.code == 4
    assert named in stop.value.message
    assert "--overwrite" in stop.value.fix
    assert adopt(there, overwrite=True) is OURS


def test_local_input_that_changed() -> None:
    with pytest.raises(exits.Stop) as stop:
        adopt(replace(OURS, source="sha256:" + "1" * 64), replace(OURS, source="sha256:" + "2" * 64))
    assert stop.value.code == 4
    assert "sha256:11111111 then, sha256:22222222 now" in stop.value.message
