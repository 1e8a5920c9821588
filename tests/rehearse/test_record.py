"""Records: what is written is what is read, and what is broken is named."""

from __future__ import annotations

import json
from datetime import date

import pytest

from conftest import ShelfMaker
from jobshelf.errors import InputError, UsageError
from jobshelf.rehearse import Record, Rehearsal, is_stale, load_record, make_record, rehearse, write_record
from jobshelf.script import read_script
from jobshelf.shelf import Shelf

DAY = date(2026, 11, 21)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return ShelfMaker(tmp_path_factory.mktemp("shelf"))({"hello": "1.0.0"})


@pytest.fixture(scope="module")
def shown(shelf: Shelf) -> Rehearsal:
    """The rehearsal of a script that says hello whatever it is told: it takes unknown options, and has no other fault."""
    return rehearse(shelf.catalog / "hello.py")


def test_a_record_is_read_as_it_was_written(shelf: Shelf, shown: Rehearsal) -> None:
    record = make_record(shown, day=DAY)
    path = write_record(record, shelf)
    assert path == shelf.catalog / "records" / "hello.json"
    read = load_record(shelf, "hello")
    assert read is not None
    assert read.to_text() == path.read_text(encoding="utf-8")
    assert (read.date, read.passed, read.versions) == (DAY, False, shown.versions)
    assert [verdict.outcome for verdict in read.verdicts] == [verdict.outcome for verdict in shown.verdicts]


def test_the_text_is_what_others_read(shown: Rehearsal) -> None:
    text = make_record(shown, day=DAY).to_text()
    data = json.loads(text)
    assert text == json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert data["sha256"] == shown.sha256
    assert (data["schema_version"], data["date"], data["arguments"]) == (1, "2026-11-21", [])
    assert {step["name"]: step["verdict"] for step in data["steps"]}["bad-arguments"] == "failed"
    assert set(data["versions"]) == {"jobshelf", "packages", "python", "uv"}


def test_a_changed_script_makes_its_record_stale(shelf: Shelf, shown: Rehearsal, make_shelf: ShelfMaker) -> None:
    record = make_record(shown, day=DAY)
    assert not is_stale(record, read_script(shelf.catalog / "hello.py"))
    other = make_shelf({"hello": "1.0.1"})
    (other.catalog / "records/hello.json").unlink()
    assert is_stale(record, read_script(other.catalog / "hello.py"))
    with pytest.raises(UsageError, match=r"this was not hello\.py as it is there"):
        write_record(record, other)
    assert load_record(other, "hello") is None


def test_a_part_of_a_rehearsal_is_not_recorded(shelf: Shelf) -> None:
    part = rehearse(shelf.catalog / "hello.py", steps=["help", "token"])
    with pytest.raises(UsageError, match="this rehearsal took: help, token"):
        make_record(part, day=DAY)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("sha256"), "has no sha256"),
        (lambda data: data.update(schema_version=2), "has schema_version 2, expected 1"),
        (lambda data: data.update(seconds="long"), "has seconds = 'long', expected float"),
        (lambda data: data.update(peak_memory_mib=True), "has peak_memory_mib = True, expected int"),
        (lambda data: data.update(date="yesterday"), "has date = 'yesterday', expected a day"),
        (lambda data: data.update(arguments=[1]), "has arguments = \\[1\\], expected a list of strings"),
        (lambda data: data["versions"].pop("uv"), "has no versions.uv"),
        (lambda data: data["steps"].insert(1, 7), "has steps\\[1\\] = 7, expected an object"),
        (lambda data: data["steps"][0].update(verdict="ok"), "has steps\\[0\\].verdict = 'ok', expected one of passed"),
    ],
)
def test_a_broken_record_is_named(shown: Rehearsal, change: object, said: str) -> None:
    data = json.loads(make_record(shown, day=DAY).to_text())
    change(data)  # type: ignore[operator]
    with pytest.raises(InputError, match=f"^hello.json {said}"):
        Record.from_text(json.dumps(data), "hello.json")


def test_no_json_is_named(shelf: Shelf) -> None:
    with pytest.raises(InputError, match=r"x.json is not JSON: .*rehearse NAME --record"):
        Record.from_text("{", "x.json")
