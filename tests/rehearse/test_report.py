"""Reports and fixtures."""

from __future__ import annotations

import ast
import json

import pytest

from jobshelf.record import Versions
from jobshelf.rehearse import STEPS, Outcome, Rehearsal, Verdict, to_json, to_text
from jobshelf.rehearse.fixtures import FIXTURES, choose_fixture, find_fixture
from jobshelf.rehearse.rows import row_reader

SHOWN = Rehearsal(
    name="words",
    sha256="ab" * 32,
    arguments=("{input}", "a b"),
    verdicts=(
        Verdict(step="help", outcome=Outcome.PASSED, seconds=0.24, figures={"lines": 3}),
        Verdict(
            step="kill", outcome=Outcome.FAILED, seconds=61.0, reason="rows lost", figures={"points": 10, "wrong": 1}
        ),
        Verdict(step="shards", outcome=Outcome.NOT_APPLICABLE, seconds=0.0, reason="it is not shardable"),
    ),
    versions=Versions(jobshelf="0.1.0", python="3.11.7", uv="0.13.8", packages={}),
    seconds=61.3,
    folder=None,
)


def test_a_report_reads_like_a_test_run() -> None:
    assert to_text(SHOWN) == (
        "words (abababababab): '{input}' 'a b'\n"
        "  help             passed             0.2 s  lines 3\n"
        "  kill             failed            61.0 s  points 10, wrong 1\n"
        "      expected: Killed at any moment and run again, it leaves what an uninterrupted run leaves: nothing lost, nothing twice.\n"
        "      found: rows lost\n"
        "  shards           not applicable          it is not shardable\n"
        "1 passed, 1 failed, 1 not applicable in 61.3 s\n"
    )
    assert "\x1b[31mfailed\x1b[0m" in to_text(SHOWN, colour=True)
    assert not SHOWN.passed


def test_the_same_for_programs() -> None:
    (data,) = json.loads(to_json([SHOWN]))["rehearsals"]
    assert (data["name"], data["passed"], data["arguments"]) == ("words", False, ["{input}", "a b"])
    assert data["steps"][1] == {
        "name": "kill",
        "verdict": "failed",
        "reason": "rows lost",
        "seconds": 61.0,
        "figures": {"points": 10, "wrong": 1},
    }


def test_steps_are_named_once_and_say_what_they_prove() -> None:
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names) == 13
    assert names[0] == "help"
    assert all(step.proves.endswith(".") for step in STEPS)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("COLUMNS = ('dump', 'token_count', 'fw_edu_scores')", "finepdfs"),
        ("parser.add_argument('--messages-column', default='messages')", "conversations"),
        ("row['question'] + row['answer']", "questions"),
        ("pass", "questions"),
    ],
)
def test_the_fixture_is_the_one_whose_columns_the_script_mentions(source: str, name: str) -> None:
    assert choose_fixture(ast.parse(source)).name == name


@pytest.mark.parametrize("name", list(FIXTURES))
def test_a_fixture_has_its_columns_and_is_the_same_every_time(name: str) -> None:
    fixture = find_fixture(name)
    files = fixture.make()
    assert files == fixture.make()
    with row_reader() as reader:
        (table,) = reader.tables(files).values()
    assert set(fixture.columns) <= set(table.rows[0])
    assert len(table.rows) >= 40
