"""The SQLite file: everything that is not file content."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobshelf.errors import EnvironmentFault
from jobshelf.hub.private import private_opener

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS repos (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    private INTEGER NOT NULL, sdk TEXT, creator TEXT NOT NULL, gated TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL,
    UNIQUE (kind, namespace, name));
CREATE TABLE IF NOT EXISTS access_requests (
    id TEXT PRIMARY KEY, repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, user TEXT NOT NULL,
    status TEXT NOT NULL, asked_at TEXT NOT NULL, UNIQUE (repo, user));
CREATE TABLE IF NOT EXISTS discussions (
    repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, num INTEGER NOT NULL, title TEXT NOT NULL,
    author TEXT NOT NULL, status TEXT NOT NULL, base TEXT, merged_as TEXT, created_at TEXT NOT NULL,
    PRIMARY KEY (repo, num));
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, repo INTEGER NOT NULL, num INTEGER NOT NULL, type TEXT NOT NULL, author TEXT NOT NULL,
    created_at TEXT NOT NULL, data TEXT NOT NULL,
    FOREIGN KEY (repo, num) REFERENCES discussions ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS refs (
    repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, name TEXT NOT NULL, target TEXT NOT NULL,
    PRIMARY KEY (repo, name));
CREATE TABLE IF NOT EXISTS commits (
    repo INTEGER NOT NULL REFERENCES repos ON DELETE CASCADE, oid TEXT NOT NULL, parent TEXT, tree TEXT NOT NULL,
    title TEXT NOT NULL, message TEXT NOT NULL, author TEXT NOT NULL, date TEXT NOT NULL, PRIMARY KEY (repo, oid));
CREATE TABLE IF NOT EXISTS trees (oid TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    oid TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL, lfs INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS xet (hash TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS buckets (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, private INTEGER NOT NULL,
    created_at TEXT NOT NULL, UNIQUE (namespace, name));
CREATE TABLE IF NOT EXISTS bucket_files (
    bucket INTEGER NOT NULL REFERENCES buckets ON DELETE CASCADE, path TEXT NOT NULL, xet_hash TEXT NOT NULL,
    mtime TEXT NOT NULL, uploaded_at TEXT NOT NULL, PRIMARY KEY (bucket, path));
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, initiator TEXT NOT NULL, origin TEXT NOT NULL, spec TEXT NOT NULL,
    labels TEXT NOT NULL, stage TEXT NOT NULL, message TEXT, created_at TEXT NOT NULL, started_at TEXT, finished_at TEXT);
CREATE TABLE IF NOT EXISTS schedules (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, initiator TEXT NOT NULL, spec TEXT NOT NULL, labels TEXT NOT NULL,
    schedule TEXT NOT NULL, suspended INTEGER NOT NULL, concurrent INTEGER NOT NULL, created_at TEXT NOT NULL,
    next_at REAL NOT NULL, last_job TEXT, last_at TEXT);
CREATE TABLE IF NOT EXISTS webhooks (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, watched TEXT NOT NULL, domains TEXT NOT NULL, url TEXT, spec TEXT,
    labels TEXT NOT NULL, namespace TEXT NOT NULL, secret TEXT, disabled INTEGER NOT NULL, created_at TEXT NOT NULL);
"""
_SCHEMA_VERSION = 2


class Database:
    """One SQLite connection, used by one thread at a time.

    Write-ahead log with `synchronous=FULL`: what a finished transaction wrote survives a kill of the process and of
    the machine.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        # the log and the shared memory beside it get the same mode
        os.close(private_opener(str(path), os.O_CREAT | os.O_RDWR))
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._require_version(path)
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Write everything back into the one file and let go of it."""
        with self._lock:
            self._connection.close()

    def _require_version(self, path: Path) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        is_new = self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        if not is_new and version != _SCHEMA_VERSION:
            self._connection.close()
            raise EnvironmentFault(
                f"{path} was written by another version of the embedded Hub", fix="choose another --root"
            )
        self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside take effect together when the block ends, or not at all when it raises.

        A transaction inside another one is part of it.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # a full disk makes SQLite roll back by itself
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def execute(self, sql: str, *values: object) -> int:
        """Run one statement and return the number of rows it changed."""
        with self._lock:
            return self._connection.execute(sql, values).rowcount

    def execute_many(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run one statement for each row of values."""
        with self._lock:
            self._connection.executemany(sql, rows)

    def insert(self, sql: str, *values: object) -> int:
        """Run one INSERT and return the new row's id."""
        with self._lock:
            return int(self._connection.execute(sql, values).lastrowid or 0)

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchone()

    def secret(self, name: str) -> bytes:
        """A random key of 32 bytes, made on first use and the same after a restart."""
        with self.transaction():
            self.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", name, secrets.token_bytes(32))
            found = self.row("SELECT value FROM meta WHERE key = ?", name)
        return bytes(found["value"]) if found else b""
