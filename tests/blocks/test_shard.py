"""Block `shard`: every part belongs to exactly one shard; the markers say what the run is made of."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from jobshelf import blocks

shards, exits = blocks.load("shard"), blocks.load("exits")


@pytest.mark.parametrize(("text", "index", "count"), [(None, 1, 1), ("1/1", 1, 1), ("3/8", 3, 8), ("08/64", 8, 64)])
def test_shard(text: str | None, index: int, count: int) -> None:
    shard = shards.parse_shard(text)
    assert (shard.index, shard.count) == (index, count)


@pytest.mark.parametrize(
    "text", ["", "0/8", "9/8", "1/0", "1", "a/b", "-1/8", "1/8/2", " 1/8", "1.0/8", "1/100000", "٣/٨"]
)
def test_not_a_shard(text: str) -> None:
    with pytest.raises(exits.Stop) as stop:
        shards.parse_shard(text)
    assert stop.value.code == 2
    assert "--shard 1/8" in stop.value.fix


@given(count=strategies.integers(1, 64), part=strategies.integers(0, 10_000))
def test_a_part_belongs_to_exactly_one_shard(count: int, part: int) -> None:
    holders = [index for index in range(1, count + 1) if shards.Shard(index=index, count=count).holds(part)]
    assert len(holders) == 1


def test_markers_lie_where_datatrove_puts_them() -> None:
    assert shards.parse_shard("3/8").marker == "completions/00002"


def test_markers_tell_the_parts() -> None:
    markers = {
        f"completions/{n:05d}": shards.shard_marker(shards.parse_shard(f"{n + 1}/2"), parts_in_all=7) for n in (0, 1)
    }
    assert shards.parts_in_all(markers) == 7
    assert shards.parts_in_all({}) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"parts_in_all": "7"}', b'{"parts_in_all": -1}', b"\xff"])
def test_a_marker_of_others_tells_nothing(content: bytes) -> None:
    assert shards.parts_in_all({"completions/00000": content}) is None


def test_shards_that_do_not_agree() -> None:
    one, two = (shards.shard_marker(shards.parse_shard("1/2"), parts_in_all=total) for total in (7, 8))
    with pytest.raises(exits.Stop) as stop:
        shards.parts_in_all({"completions/00000": one, "completions/00001": two})
    assert stop.value.code == 4
    assert "completions/00001: 8" in stop.value.message


def test_missing_parts() -> None:
    assert shards.missing_parts(5, [3, 0, 9]) == [1, 2, 4]
