"""A publish that meets a failing request: as before or as after, the right exit code, and one line that says what to type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from publisher import FAULTS, Rig, Struck, cases, sweep, wrong_answer

Record = Callable[[str, object], None]


@pytest.fixture
def rig(hub, client, hub_environment) -> Rig:
    return Rig(hub, client, hub_environment)


def figure(found: list[Struck]) -> str:
    codes = Counter(one.code for one in found)
    told = ", ".join(f"exit code {code}: {count}" for code, count in sorted(codes.items()))
    return f"publish: {len(found)} failing requests, 0 left in between ({told})"


@pytest.mark.heavy
@pytest.mark.jobs
@pytest.mark.parametrize("fault", FAULTS)
def test_the_commit_and_what_follows_it_fail(rig, make_shelf, fault: str, record_property: Record):
    case = cases(rig, make_shelf)["changed"]
    commit = next(number for number, one in enumerate(case.requests, start=1) if "/commit/" in one.path)
    found = [rig.struck(case, fault, number) for number in (1, commit, commit + 1)]
    assert not [text for text in map(wrong_answer, found) if text]
    assert all(one.place == "before" for one in found[:1] if one.code)
    record_property("figure", figure(found))


@pytest.mark.sweep
@pytest.mark.timeout(1800)
def test_every_request_fails_in_every_way(rig, make_shelf, record_property: Record):
    found = sweep(rig, cases(rig, make_shelf).values())
    wrong = [f"{one.case}, {one.fault} at {one.request}: {text}" for one in found if (text := wrong_answer(one))]
    assert not wrong, "\n".join(wrong)
    record_property("figure", figure(found))
