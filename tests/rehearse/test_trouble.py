"""Where runs are killed and requests fail: the same places every time, and the ones that hurt."""

from __future__ import annotations

import pytest

from jobshelf.hub import Request
from jobshelf.rehearse.recovery import told_commands
from jobshelf.rehearse.trouble import kill_points, spread, troubles

REPO = "/api/datasets/u/o"
ASKED = [
    ("GET", "/api/whoami-v2"),
    ("POST", "/api/repos/create"),
    ("POST", f"{REPO}/paths-info/main"),
    ("POST", f"{REPO}/preupload/main"),
    ("GET", f"{REPO}/xet-write-token/main"),
    ("POST", "/api/validate-yaml"),
    ("POST", f"{REPO}/commit/main"),
    ("GET", f"{REPO}/tree/main"),
    ("POST", f"{REPO}/commit/main"),
]


def request(method: str, path: str, *, answer: int = 0) -> Request:
    return Request(
        method=method,
        path=path,
        host="",
        status=200,
        bytes_in=0,
        bytes_out=answer,
        user=None,
        client="",
        outcome=200,
        fault=None,
    )


JOURNAL = [request(*asked) for asked in ASKED]


def test_every_write_meets_every_trouble() -> None:
    planned = [str(trouble) for trouble in troubles(JOURNAL)]
    assert [text for text in planned if "repos/create" in text] == [
        f"{name} at POST /api/repos/create (1)" for name in ("500", "429", "reset", "lost answer")
    ]
    for nth in (1, 2):
        names = [trouble.name for trouble in troubles(JOURNAL) if "/commit/" in trouble.path and trouble.nth == nth]
        assert names[:5] == ["500", "429", "reset", "lost answer", "412"]
    assert planned[-2:] == [f"{name} at POST {REPO}/commit/main (2)" for name in ("silence", "refused for good")]
    assert not [text for text in planned if "paths-info" in text or "validate-yaml" in text or "whoami" in text]
    assert len([text for text in planned if "xet-write-token" in text]) == 3


def test_answers_to_reads_break_off_at_four_places() -> None:
    reads = [request("GET", f"/datasets/u/i/resolve/c/{number}", answer=9) for number in range(10)]
    planned = troubles([*reads, *reads, request("HEAD", "/x", answer=9), *JOURNAL])
    broken = [trouble for trouble in planned if trouble.at_read]
    assert [trouble.path.rpartition("/")[2] for trouble in broken] == ["0", "3", "6", "9"]
    assert {(trouble.kind, trouble.nth) for trouble in broken} == {("truncate", 1)}


def test_fewer_troubles_are_spread_and_keep_the_last() -> None:
    every = troubles(JOURNAL)
    some = troubles(JOURNAL, 3)
    assert (some[0], some[-1], len(some)) == (every[0], every[-1], 3)
    assert troubles(JOURNAL, 1) == [every[-1]]
    assert troubles([]) == []


def test_kills_come_before_requests_and_after_writes() -> None:
    points = kill_points(JOURNAL, 10)
    assert [str(point) for point in points if point.moment == "after"] == [
        "after request 2",
        "after request 7",
        "after request 9",
    ]
    assert [point.number for point in points if point.moment == "before"] == [1, 2, 4, 5, 6, 8, 9]
    assert points == kill_points(JOURNAL, 10)


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, [9]), (2, [0, 9]), (4, [0, 3, 6, 9]), (20, list(range(10)))]
)
def test_spread(count: int, expected: list[int]) -> None:
    assert spread(range(10), count) == expected


@pytest.mark.parametrize(
    ("stderr", "commands"),
    [
        ("note: x\nerror: no. Fix: hf upload u/o '/a b' .\n", [["hf", "upload", "u/o", "/a b", "."]]),
        (
            "error: no. Fix: hf buckets sync a b && hf upload c d\n",
            [["hf", "buckets", "sync", "a", "b"], ["hf", "upload", "c", "d"]],
        ),
        ("error: nothing to type\n", []),
        ("error: Fix: hf upload a b\nTraceback\n", []),
        ("", []),
    ],
)
def test_the_commands_of_the_last_line(stderr: str, commands: list[list[str]]) -> None:
    assert told_commands(stderr) == commands


def test_most_kills_come_after_the_first_part_is_persisted() -> None:
    part = [("POST", f"{REPO}/preupload/main"), ("POST", f"{REPO}/commit/main"), ("GET", f"{REPO}/tree/main")]
    journal = [request(*asked) for asked in (*ASKED[:2], *part * 6)]
    points = kill_points(journal, 10)
    second_commit = 7
    late = [point for point in points if (point.number, point.moment) >= (second_commit, "after")]
    late = [point for point in late if not (point.number == second_commit and point.moment == "before")]
    assert (len(points), len(set(points)), len(late)) == (10, 10, 8)
    assert {point.moment for point in late} == {"before", "after"}
    assert max(point.number for point in points) == len(journal)


def test_kills_of_a_run_with_one_commit_are_spread_over_all_of_it() -> None:
    journal = [request(*asked) for asked in ASKED[:8]]
    assert min(point.number for point in kill_points(journal, 10)) == 1
