"""Webhooks: what is to happen elsewhere when something happens here."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace

from jobshelf.hub.database import Database
from jobshelf.hub.jobs import JobSpec, dump_spec, load_spec
from jobshelf.hub.repos import Repo


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Calls `url`, or starts the Job `spec` in `namespace`, for what happens in the `domains` of what is `watched`.

    `watched` are (type, name): `user` or `org` and all that is theirs, or one `model`, `dataset`, `space`. `secret` is sent
    along so that the receiver knows the sender.
    """

    id: str
    owner: str
    watched: tuple[tuple[str, str], ...]
    domains: tuple[str, ...]
    url: str | None
    spec: JobSpec | None
    labels: dict[str, str]
    namespace: str
    secret: str | None
    disabled: bool
    created_at: str

    @property
    def initiator(self) -> str:
        """In whose name its Jobs run."""
        return self.owner

    @property
    def origin(self) -> str:
        """What its Jobs say they were started by."""
        return f"webhook:{self.id}"

    def watches(self, repo: Repo, scope: str) -> bool:
        """Whether something of that scope (`repo.content`, `discussion.comment`) in a repo concerns it."""
        names = {("user", repo.namespace), ("org", repo.namespace), (repo.kind, repo.full_name)}
        return not self.disabled and scope.partition(".")[0] in self.domains and bool(names & set(self.watched))


class Webhooks:
    """The webhooks of one Hub."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, webhook: Webhook) -> None:
        """Record a webhook, in place of the one of that id if there is one."""
        self._database.execute(
            "INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(webhook.id, webhook.owner, json.dumps(webhook.watched), json.dumps(webhook.domains), webhook.url),
            *(None if webhook.spec is None else dump_spec(webhook.spec), json.dumps(webhook.labels)),
            *(webhook.namespace, webhook.secret, webhook.disabled, webhook.created_at),
        )

    def find(self, owner: str, webhook_id: str) -> Webhook | None:
        """The webhook of that id, if its owner has one."""
        row = self._database.row("SELECT * FROM webhooks WHERE owner = ? AND id = ?", owner, webhook_id)
        return None if row is None else _webhook(row)

    def of(self, owner: str) -> list[Webhook]:
        """All webhooks of a user, oldest first."""
        rows = self._database.rows("SELECT * FROM webhooks WHERE owner = ? ORDER BY created_at, rowid", owner)
        return [_webhook(row) for row in rows]

    def watching(self, repo: Repo, scope: str) -> list[Webhook]:
        """Those that something of that scope in a repo concerns."""
        rows = self._database.rows("SELECT * FROM webhooks ORDER BY created_at, rowid")
        return [webhook for webhook in map(_webhook, rows) if webhook.watches(repo, scope)]

    def set_disabled(self, webhook: Webhook, *, disabled: bool) -> Webhook:
        """Switch a webhook off or on."""
        changed = replace(webhook, disabled=disabled)
        self.put(changed)
        return changed

    def delete(self, webhook: Webhook) -> None:
        """Remove a webhook."""
        self._database.execute("DELETE FROM webhooks WHERE id = ?", webhook.id)


def _webhook(row: sqlite3.Row) -> Webhook:
    return Webhook(
        **{
            **{key: row[key] for key in Webhook.__slots__},
            "watched": tuple((kind, name) for kind, name in json.loads(row["watched"])),
            "domains": tuple(json.loads(row["domains"])),
            "spec": None if row["spec"] is None else load_spec(row["spec"]),
            "labels": json.loads(row["labels"]),
            "disabled": bool(row["disabled"]),
        }
    )
