"""Discussions and pull requests: the talk, and the branch that a pull request is."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jobshelf.hub import clock
from jobshelf.hub.database import Database
from jobshelf.hub.refusal import Refusal, bad_request, conflict
from jobshelf.hub.repos import DEFAULT_BRANCH, PULLS, Change, Commit, Repo, Repos

EventType = Literal["comment", "status-change", "title-change", "commit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discussion:
    """A discussion; a pull request when it has a `base`, the commit from which its branch began."""

    num: int
    title: str
    author: str
    status: str
    base: str | None
    merged_as: str | None
    created_at: str

    @property
    def is_pull(self) -> bool:
        """Whether this is a pull request."""
        return self.base is not None

    @property
    def ref(self) -> str:
        """The full ref of a pull request's branch."""
        return f"{PULLS}{self.num}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a discussion; `data` depends on the type, as the Hub's JSON does."""

    id: str
    type: EventType
    author: str
    created_at: str
    data: Mapping[str, Any]


class Discussions:
    """The discussions of one Hub."""

    def __init__(self, database: Database, repos: Repos) -> None:
        self._database = database
        self._repos = repos

    def open(self, repo: Repo, *, title: str, text: str, author: str, base: Commit | None) -> Discussion:
        """Begin a discussion; with a `base` a pull request (a draft) whose branch begins there."""
        with self._database.transaction():
            last = self._database.row("SELECT MAX(num) AS num FROM discussions WHERE repo = ?", repo.id)
            num = 1 + (last["num"] or 0 if last else 0)
            self._database.execute(
                "INSERT INTO discussions VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                *(repo.id, num, title, author, "open" if base is None else "draft", base and base.oid, clock.now()),
            )
            if base is not None:
                self._repos.create_pull(repo, num, base)
            self.comment(repo, num, author=author, text=text)
            return self.get(repo, num)

    def propose(self, repo: Repo, change: Change, base: Commit) -> tuple[Discussion, Commit]:
        """Open a pull request that holds one commit, in one transaction."""
        with self._database.transaction():
            opened = self.open(repo, title=change.title, text=change.message, author=change.author, base=base)
            self._set(repo, opened.num, "status", "open")
            commit = self._repos.commit(repo, opened.ref, change)
            self.note_commit(repo, opened.num, commit)
            return self.get(repo, opened.num), commit

    def get(self, repo: Repo, num: int) -> Discussion:
        """Raises Refusal (404) when there is none of that number."""
        row = self._database.row("SELECT * FROM discussions WHERE repo = ? AND num = ?", repo.id, num)
        if row is None:
            raise Refusal(404, f"No discussion {num} in {repo.full_name}")
        return _discussion(row)

    def of(self, repo: Repo) -> list[Discussion]:
        """All discussions of a repo, newest first."""
        rows = self._database.rows("SELECT * FROM discussions WHERE repo = ? ORDER BY num DESC", repo.id)
        return [_discussion(row) for row in rows]

    def events(self, repo: Repo, num: int) -> list[Event]:
        """What happened in a discussion, in order."""
        rows = self._database.rows("SELECT * FROM events WHERE repo = ? AND num = ? ORDER BY rowid", repo.id, num)
        return [_event(row) for row in rows]

    def comment(self, repo: Repo, num: int, *, author: str, text: str) -> Event:
        """Add a comment."""
        data = {"edited": False, "hidden": False, "latest": {"raw": text, "html": ""}, "numEdits": 0, "history": []}
        return self._add(repo, num, "comment", author, data)

    def rename(self, repo: Repo, found: Discussion, *, author: str, title: str) -> Event:
        """Change the title."""
        with self._database.transaction():
            self._set(repo, found.num, "title", title)
            return self._add(repo, found.num, "title-change", author, {"from": found.title, "to": title})

    def set_status(self, repo: Repo, found: Discussion, *, author: str, status: str) -> Event:
        """Open or close. Raises Refusal (400) for another status, or when it is merged."""
        if status not in {"open", "closed"} or found.status == "merged":
            raise bad_request(f"A discussion that is {found.status} cannot become '{status[:40]}'")
        with self._database.transaction():
            self._set(repo, found.num, "status", status)
            return self._add(repo, found.num, "status-change", author, {"status": status})

    def note_commit(self, repo: Repo, num: int, commit: Commit) -> None:
        """Record that a pull request got a commit."""
        self._add(repo, num, "commit", commit.author, {"subject": commit.title, "oid": commit.oid})

    def conflicts(self, repo: Repo, found: Discussion) -> list[str]:
        """The paths that a pull request and `main` both changed, each in its way."""
        if found.base is None or found.status == "merged":
            return []
        base, head, main = (self._repos.resolve(repo, name) for name in (found.base, found.ref, DEFAULT_BRANCH))
        ours, theirs = ({change.path: change for change in self._repos.changes(base, side)} for side in (main, head))
        return sorted(path for path in ours.keys() & theirs.keys() if ours[path] != theirs[path])

    def merge(self, repo: Repo, found: Discussion, *, author: str) -> Commit:
        """Put what a pull request changed on top of `main` as one commit.

        Raises Refusal: 400 when it is not an open pull request, 409 when `main` changed the same files.
        """
        if found.base is None or found.status not in {"open", "draft"}:
            raise bad_request(f"Discussion {found.num} is not an open pull request")
        with self._database.transaction():
            clashes = self.conflicts(repo, found)
            if clashes:
                raise conflict(f"The pull request conflicts with {DEFAULT_BRANCH}: {', '.join(clashes)[:500]}")
            base, head, main = (self._repos.resolve(repo, name) for name in (found.base, found.ref, DEFAULT_BRANCH))
            done = self._repos.changes(base, main)
            change = Change(
                operations=[change for change in self._repos.changes(base, head) if change not in done],
                title=f"{found.title} (#{found.num})",
                message="",
                author=author,
            )
            commit = self._repos.commit(repo, DEFAULT_BRANCH, change)
            self._set(repo, found.num, "status", "merged")
            self._set(repo, found.num, "merged_as", commit.oid)
            self._add(repo, found.num, "status-change", author, {"status": "merged"})
        return commit

    def _add(self, repo: Repo, num: int, kind: EventType, author: str, data: Mapping[str, Any]) -> Event:
        event = Event(id=secrets.token_hex(12), type=kind, author=author, created_at=clock.now(), data=data)
        self._database.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(event.id, repo.id, num, kind, author, event.created_at, json.dumps(data)),
        )
        return event

    def _set(self, repo: Repo, num: int, column: Literal["status", "title", "merged_as"], value: str) -> None:
        sql = f"UPDATE discussions SET {column} = ? WHERE repo = ? AND num = ?"  # noqa: S608 one of three words
        self._database.execute(sql, value, repo.id, num)


def _discussion(row: sqlite3.Row) -> Discussion:
    return Discussion(**{key: row[key] for key in Discussion.__slots__})


def _event(row: sqlite3.Row) -> Event:
    return Event(**{**{key: row[key] for key in Event.__slots__}, "data": json.loads(row["data"])})
