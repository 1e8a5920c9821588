"""Full disks, as the operating system and SQLite report them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from jobshelf.hub.refusal import Refusal, from_disk_error


def test_a_full_disk_is_507():
    with pytest.raises(OSError, match="No space left on device") as error, Path("/dev/full").open("wb") as stream:
        stream.write(b"x")
    refusal = from_disk_error(error.value)
    assert refusal is not None
    assert refusal.status == 507


def test_a_full_database_is_507():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as error:
        connection.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    refusal = from_disk_error(error.value)
    assert refusal is not None
    assert refusal.status == 507


def test_other_errors_are_not_taken_for_a_full_disk():
    assert from_disk_error(FileNotFoundError(2, "gone")) is None
    assert from_disk_error(sqlite3.OperationalError("locked")) is None


def test_a_message_becomes_one_clean_header_line():
    response = Refusal(400, "two\nlines, é and \x00").response(as_json=True)
    assert response.headers["X-Error-Message"] == "two lines, ? and ?"
