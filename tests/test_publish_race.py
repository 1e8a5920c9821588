"""Six publishers at once, round after round: one head that holds what everybody was told is published."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from jobshelf.index import Index
from publisher import REPO, tree_of, wrong_sums

PUBLISHERS = 6
SHARED = "shared"
GAVE_UP = "moved under each of 5 tries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How often a publisher had to be started again because the others kept moving the repository; commits made."""

    again: int
    commits: int


class Race:
    """Six checkouts of one shelf, each with a script of its own and one that all of them change."""

    def __init__(self, make_shelf, client, environment: dict[str, str]) -> None:
        self._make, self._client, self._environment = make_shelf, client, environment
        self._names = [f"own{number}" for number in range(PUBLISHERS)]
        base = make_shelf(dict.fromkeys([SHARED, *self._names], "0.0"))
        self._shelves = [make_shelf.copy(base, f"by-{name}") for name in self._names]
        self._publish([self._shelves[0]])

    def round(self, number: int) -> Round:
        """Change every checkout, publish from all of them at once, and look at the head."""
        for place, (shelf, name) in enumerate(zip(self._shelves, self._names, strict=True)):
            self._make.put(shelf, name, f"{number}.0")
            self._make.put(shelf, SHARED, f"{number}.{place}", word=f"shared by {name} in {number}")
            self._make.index(shelf)
        before = self._commits()
        again = self._publish(self._shelves)
        self._check(number)
        return Round(again=again, commits=self._commits() - before)

    def _publish(self, shelves: list) -> int:
        """Start a publisher a shelf; those that gave up do as they were told. Return how many that were."""
        argv = [sys.executable, "-m", "jobshelf", "publish"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started = [(shelf, subprocess.Popen(argv, cwd=shelf.root, env=self._environment, **pipes)) for shelf in shelves]
        ended = [(shelf, process.communicate(timeout=120)[1], process.returncode) for shelf, process in started]
        refused = [(shelf, said) for shelf, said, code in ended if code == 6]
        assert [said for _, said, code in ended if code not in {0, 6}] == []
        assert all(GAVE_UP in said for _, said in refused), refused
        return len(refused) + (self._publish([shelf for shelf, _ in refused]) if refused else 0)

    def _check(self, number: int) -> None:
        tree = tree_of(self._client)
        assert wrong_sums(tree) == []
        own = {f"{name}.py": self._bytes(shelf, name) for shelf, name in zip(self._shelves, self._names, strict=True)}
        assert {path: tree[path] for path in own} == own
        assert tree[f"{SHARED}.py"] == self._bytes(self._shelves[-1], SHARED), "the newest version is not the last one"
        versions = {entry.id: entry.version for entry in Index.from_text(tree["index.json"].decode(), "").entries}
        newest = f"{number}.{PUBLISHERS - 1}"
        assert versions == {SHARED: newest, **dict.fromkeys(self._names, f"{number}.0")}

    def _bytes(self, shelf, name: str) -> bytes:
        return (shelf.catalog / f"{name}.py").read_bytes()

    def _commits(self) -> int:
        return len(self._client.list_repo_commits(REPO, repo_type="dataset"))


def raced(race: Race, rounds: int) -> str:
    ran = [race.round(number) for number in range(1, rounds + 1)]
    assert all(one.commits >= PUBLISHERS for one in ran), "a publisher of a changed script made no commit"
    again, commits = sum(one.again for one in ran), sum(one.commits for one in ran)
    return (
        f"publish: {PUBLISHERS} at once, {rounds} rounds, {commits} commits, 0 changes lost "
        f"({again} times one gave up after 5 tries, and was run again)"
    )


@pytest.mark.heavy
@pytest.mark.jobs
def test_six_publishers_race(make_shelf, client, hub_environment, record_property: Callable[[str, object], None]):
    record_property("figure", raced(Race(make_shelf, client, hub_environment), 2))


@pytest.mark.sweep
@pytest.mark.timeout(1800)
def test_six_publishers_race_for_twenty_rounds(
    make_shelf, client, hub_environment, record_property: Callable[[str, object], None]
):
    record_property("figure", raced(Race(make_shelf, client, hub_environment), 20))
