"""A publish that is killed, at any request: the repository is as before or as after, and the next publish completes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from jobshelf.rehearse.trouble import KillPoint, kill_points
from publisher import Case, Rig, cases

POINTS = {"first": 4, "unchanged": 2, "changed": 4, "release": 5}
Record = Callable[[str, object], None]


@pytest.fixture
def rig(hub, client, hub_environment) -> Rig:
    return Rig(hub, client, hub_environment)


def sweep(rig: Rig, case: Case, points: Sequence[KillPoint]) -> tuple[int, list[str]]:
    """Return how many publishes were killed, and what was wrong."""
    kills, wrong = 0, []
    for point in points:
        rig.begin(case)
        reached = rig.killed(case, point)
        kills += reached
        place = rig.place(case)
        again = rig.finished(case)
        if not reached or place not in {"before", "after"} or again:
            wrong.append(
                f"{case.name} killed {point} (reached: {reached}): {place}; run again: {again or 'as it must'}"
            )
    return kills, wrong


def every_point(case: Case) -> list[KillPoint]:
    numbers = range(1, len(case.requests) + 1)
    return [KillPoint(number=number, moment=moment) for number in numbers for moment in ("before", "after")]


@pytest.mark.heavy
@pytest.mark.jobs
def test_killed_at_some_requests(rig, make_shelf, record_property: Record):
    found = [
        sweep(rig, case, kill_points(case.requests, POINTS[name])) for name, case in cases(rig, make_shelf).items()
    ]
    assert not [text for _, wrong in found for text in wrong]
    kills = sum(count for count, _ in found)
    assert kills == sum(POINTS.values())
    record_property("figure", f"publish: killed at {kills} points, 0 left in between, 0 not completed by the next run")


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_killed_at_every_request(rig, make_shelf, record_property: Record):
    planned = {name: (case, every_point(case)) for name, case in cases(rig, make_shelf).items()}
    found = {name: sweep(rig, case, points) for name, (case, points) in planned.items()}
    assert not [text for _, wrong in found.values() for text in wrong]
    told = ", ".join(f"{name} {kills}" for name, (kills, _) in found.items())
    kills = sum(count for count, _ in found.values())
    assert kills == sum(len(points) for _, points in planned.values()) >= 10
    record_property(
        "figure",
        f"publish: killed at every request ({kills}: {told}), 0 left in between, 0 not completed by the next run",
    )


def test_a_publish_in_two_commits_would_be_seen(rig, make_shelf):
    case = cases(rig, make_shelf)["changed"]
    half = {path: data for path, data in case.after.items() if path in {"a.py", "SHA256SUMS"}}
    rig.begin(Case(name="half", root=case.root, before={**case.before, **half}))
    assert rig.place(case).startswith("[")
