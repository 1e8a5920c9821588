"""Buckets: folders of files without history."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from jobshelf.hub import clock
from jobshelf.hub.database import Database
from jobshelf.hub.refusal import conflict
from jobshelf.hub.xet import Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket, with the number and total size of its files."""

    id: int
    namespace: str
    name: str
    private: bool
    created_at: str
    total_files: int
    size: int

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFile:
    """A file in a bucket; times are ISO 8601."""

    path: str
    content: Content
    mtime: str
    uploaded_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Write a file."""

    path: str
    content: Content
    mtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove a file; one that is not there is no error."""

    path: str


_SELECT = (
    "SELECT buckets.*, COUNT(bucket_files.path) AS total_files, COALESCE(SUM(xet.size), 0) AS size FROM buckets"
    " LEFT JOIN bucket_files ON bucket_files.bucket = buckets.id LEFT JOIN xet ON xet.hash = bucket_files.xet_hash"
    " WHERE {} GROUP BY buckets.id ORDER BY buckets.name"
)


class Buckets:
    """The buckets of one Hub."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, namespace: str, name: str, *, private: bool) -> None:
        """Raises Refusal (409) when the bucket exists."""
        try:
            self._database.execute(
                "INSERT INTO buckets (namespace, name, private, created_at) VALUES (?, ?, ?, ?)",
                *(namespace, name, private, clock.now()),
            )
        except sqlite3.IntegrityError as error:
            raise conflict(f"Bucket {namespace}/{name} already exists") from error

    def find(self, namespace: str, name: str) -> Bucket | None:
        """The bucket of that name, if there is one."""
        found = self._database.rows(_SELECT.format("buckets.namespace = ? AND buckets.name = ?"), namespace, name)
        return _bucket(found[0]) if found else None

    def of(self, namespace: str) -> list[Bucket]:
        """All buckets in a namespace, by name."""
        return [_bucket(row) for row in self._database.rows(_SELECT.format("buckets.namespace = ?"), namespace)]

    def delete(self, bucket: Bucket) -> None:
        """Remove a bucket and its files."""
        self._database.execute("DELETE FROM buckets WHERE id = ?", bucket.id)

    def set_private(self, bucket: Bucket, *, private: bool) -> None:
        """Make a bucket private or public."""
        self._database.execute("UPDATE buckets SET private = ? WHERE id = ?", private, bucket.id)

    def files(self, bucket: Bucket, prefix: str = "") -> list[BucketFile]:
        """The files whose path begins with `prefix` (by letters, not by folders), in the order of their paths."""
        rows = self._database.rows(
            "SELECT * FROM bucket_files JOIN xet ON xet.hash = bucket_files.xet_hash"
            " WHERE bucket = ? AND substr(path, 1, ?) = ? ORDER BY path",
            *(bucket.id, len(prefix), prefix),
        )
        return [_file(row) for row in rows]

    def apply(self, bucket: Bucket, operations: Sequence[Add | Remove]) -> None:
        """Do all operations, in order, in one transaction."""
        with self._database.transaction():
            for operation in operations:
                if isinstance(operation, Remove):
                    self._database.execute(
                        "DELETE FROM bucket_files WHERE bucket = ? AND path = ?", bucket.id, operation.path
                    )
                else:
                    self._database.execute(
                        "INSERT OR REPLACE INTO bucket_files VALUES (?, ?, ?, ?, ?)",
                        *(bucket.id, operation.path, operation.content.hash, operation.mtime, clock.now()),
                    )


def _bucket(row: sqlite3.Row) -> Bucket:
    return Bucket(**{**row, "private": bool(row["private"])})


def _file(row: sqlite3.Row) -> BucketFile:
    return BucketFile(
        path=row["path"],
        content=Content(hash=row["hash"], sha256=row["sha256"], size=row["size"]),
        mtime=row["mtime"],
        uploaded_at=row["uploaded_at"],
    )
