"""A script of each kind, its function written, is rehearsed whole: kills, faults, a second run, the search for the token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from jobshelf.testing import rehearse
from templates.written import FUNCTIONS, replaced, written

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1200)]

# The rows of a rehearsal have no column `text`.
PROCESS = '''
def process(row: dict[str, Any]) -> dict[str, Any]:
    """Return the number of characters in all columns."""
    return {"characters": sum(len(str(value)) for value in row.values())}
'''
LOOK_INTO = '''
def look_into(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the number of characters."""
    return {"characters": sum(len(str(value)) for row in rows for value in row.values())}
'''


@pytest.fixture
def rehearsed(render, record_property):
    """`rehearsed("dataset", persistence="bucket")`: the verdicts of its steps by name, all of them passed."""

    def run(kind: str, *, faults: int | None = None, **answers: str) -> Mapping[str, Mapping[str, object]]:
        path = render(kind=kind, extras=[], **answers) / "my-script.py"
        text = written(path.read_text(encoding="utf-8"), kind)
        script = Path(path.with_name("count-things.py"))
        script.write_text(replaced(text, {"dataset": PROCESS, "utility": LOOK_INTO}.get(kind, FUNCTIONS[kind])))
        shown = rehearse(script, faults=faults)
        steps = {verdict.step: verdict.figures for verdict in shown.verdicts if verdict.outcome.value == "passed"}
        record_property(
            "figure", f"rehearsal of {kind} {answers}: kill {steps.get('kill')}, faults {steps.get('faults')}"
        )
        return steps

    return run


def assert_whole(steps: Mapping[str, Mapping[str, object]]) -> None:
    assert {"run", "second-run", "kill", "faults", "token"} <= steps.keys()
    assert (steps["kill"]["points"], steps["kill"]["killed"], steps["kill"]["wrong"]) == (10, 10, 0)
    faults = steps["faults"]
    assert faults["survived"] + faults["saved"] == faults["faults"] and faults["saved"] >= 1


@pytest.mark.data
def test_utility(rehearsed):
    assert {"run", "second-run", "token"} <= rehearsed("utility").keys()


@pytest.mark.data
@pytest.mark.parametrize(
    ("kind", "persistence"),
    [("artifact", "hub-model"), ("artifact", "hub-file")],
)
def test_rows_and_files(rehearsed, kind, persistence):
    assert_whole(rehearsed(kind, persistence=persistence))


@pytest.mark.data
def test_rows(rehearsed):
    # a commit a part gives 136 faults, of which every third is enough here
    assert_whole(rehearsed("dataset", faults=45))


@pytest.mark.training
def test_training(rehearsed, cpu_builds, monkeypatch):
    for name, value in cpu_builds.items():
        monkeypatch.setenv(name, value)
    assert_whole(rehearsed("training", faults=12))
