"""Who may read the files of a gated repo: requests, and what became of them."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from typing import Literal, get_args

from jobshelf.hub import clock
from jobshelf.hub.database import Database
from jobshelf.hub.refusal import Refusal, bad_request
from jobshelf.hub.repos import Repo

AccessStatus = Literal["pending", "accepted", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """One user's request for one repo; the time is ISO 8601."""

    id: str
    user: str
    status: AccessStatus
    asked_at: str


class Access:
    """The access requests of one Hub."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, repo: Repo, user: str) -> AccessRequest:
        """Ask for access: given at once where the gate is `auto`, pending where it is `manual`."""
        with self._database.transaction():
            found = self.of(repo, user)
            return found or self._insert(repo, user, "accepted" if repo.gated == "auto" else "pending")

    def grant(self, repo: Repo, user: str) -> None:
        """Give access to a user who did not ask. Raises Refusal (400) when they have it."""
        with self._database.transaction():
            found = self.of(repo, user)
            if found is None:
                self._insert(repo, user, "accepted")
            elif found.status == "accepted":
                raise bad_request(f"{user} already has access to {repo.full_name}")
            else:
                self._set(found, "accepted")

    def handle(self, repo: Repo, request: AccessRequest | None, status: AccessStatus) -> None:
        """Answer a request. Raises Refusal: 404 when there is none, 400 when it has that status."""
        if request is None:
            raise Refusal(404, f"No such access request for {repo.full_name}")
        if request.status == status:
            raise bad_request(f"The access request of {request.user} is already {status}")
        self._set(request, status)

    def of(self, repo: Repo, user: str) -> AccessRequest | None:
        """The request of one user, if there is one."""
        row = self._database.row("SELECT * FROM access_requests WHERE repo = ? AND user = ?", repo.id, user)
        return None if row is None else _request(row)

    def by_id(self, repo: Repo, request_id: str) -> AccessRequest | None:
        """The request of that id, if there is one."""
        row = self._database.row("SELECT * FROM access_requests WHERE repo = ? AND id = ?", repo.id, request_id)
        return None if row is None else _request(row)

    def all(self, repo: Repo, status: AccessStatus) -> list[AccessRequest]:
        """The requests of one status, oldest first."""
        rows = self._database.rows(
            "SELECT * FROM access_requests WHERE repo = ? AND status = ? ORDER BY asked_at, id", repo.id, status
        )
        return [_request(row) for row in rows]

    def _insert(self, repo: Repo, user: str, status: AccessStatus) -> AccessRequest:
        made = AccessRequest(id=secrets.token_hex(12), user=user, status=status, asked_at=clock.now())
        self._database.execute(
            "INSERT INTO access_requests VALUES (?, ?, ?, ?, ?)", made.id, repo.id, user, status, made.asked_at
        )
        return made

    def _set(self, request: AccessRequest, status: AccessStatus) -> None:
        self._database.execute("UPDATE access_requests SET status = ? WHERE id = ?", status, request.id)


def access_status(text: str) -> AccessStatus:
    """The status of that name. Raises Refusal (400)."""
    statuses: tuple[AccessStatus, ...] = get_args(AccessStatus)
    for status in statuses:
        if status == text:
            return status
    raise bad_request(f"Unknown status '{text[:80]}': expected one of {', '.join(statuses)}")


def _request(row: sqlite3.Row) -> AccessRequest:
    return AccessRequest(**{key: row[key] for key in AccessRequest.__slots__})
