"""Schedules: Jobs that start by the clock."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from jobshelf.hub import clock
from jobshelf.hub.database import Database
from jobshelf.hub.jobs import JobSpec, dump_spec, load_spec
from jobshelf.hub.refusal import bad_request

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A Job to be started by `expression`, in the name of `initiator`.

    `next_at` is in seconds since 1970; `concurrent` allows a start while the last Job still runs; `last_job` is its id.
    """

    id: str
    namespace: str
    initiator: str
    spec: JobSpec
    labels: dict[str, str]
    expression: str
    suspended: bool
    concurrent: bool
    created_at: str
    next_at: float
    last_job: str | None = None
    last_at: str | None = None

    @property
    def origin(self) -> str:
        """What its Jobs say they were started by."""
        return f"scheduled-job:{self.id}"


class Schedules:
    """The schedules of one Hub."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, schedule: Schedule) -> None:
        """Record a new schedule."""
        self._database.execute(
            "INSERT INTO schedules VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(schedule.id, schedule.namespace, schedule.initiator, dump_spec(schedule.spec)),
            *(json.dumps(schedule.labels), schedule.expression, schedule.suspended, schedule.concurrent),
            *(schedule.created_at, schedule.next_at, schedule.last_job, schedule.last_at),
        )

    def find(self, namespace: str, schedule_id: str) -> Schedule | None:
        """The schedule of that id, if there is one."""
        row = self._database.row("SELECT * FROM schedules WHERE namespace = ? AND id = ?", namespace, schedule_id)
        return None if row is None else _schedule(row)

    def of(self, namespace: str) -> list[Schedule]:
        """All schedules in a namespace, newest first."""
        rows = self._database.rows(
            "SELECT * FROM schedules WHERE namespace = ? ORDER BY created_at DESC, rowid DESC", namespace
        )
        return [_schedule(row) for row in rows]

    def due(self, now: float) -> list[Schedule]:
        """Those that are to start by now."""
        rows = self._database.rows("SELECT * FROM schedules WHERE NOT suspended AND next_at <= ? ORDER BY next_at", now)
        return [_schedule(row) for row in rows]

    def delete(self, schedule: Schedule) -> None:
        """Remove a schedule; Jobs that it started stay."""
        self._database.execute("DELETE FROM schedules WHERE id = ?", schedule.id)

    def set_suspended(self, schedule: Schedule, *, suspended: bool, next_at: float) -> None:
        """Stop starting Jobs, or begin again with the next moment."""
        self._database.execute(
            "UPDATE schedules SET suspended = ?, next_at = ? WHERE id = ?", suspended, next_at, schedule.id
        )

    def set_expression(self, schedule: Schedule, expression: str, *, next_at: float) -> None:
        """Change when it starts."""
        self._database.execute(
            "UPDATE schedules SET schedule = ?, next_at = ? WHERE id = ?", expression, next_at, schedule.id
        )

    def set_labels(self, schedule: Schedule, labels: dict[str, str]) -> None:
        """Replace the labels of the Jobs to come."""
        self._database.execute("UPDATE schedules SET labels = ? WHERE id = ?", json.dumps(labels), schedule.id)

    def set_next(self, schedule: Schedule, next_at: float) -> None:
        """Record when it starts again."""
        self._database.execute("UPDATE schedules SET next_at = ? WHERE id = ?", next_at, schedule.id)

    def set_last(self, schedule: Schedule, job_id: str) -> None:
        """Record the Job that it started."""
        self._database.execute(
            "UPDATE schedules SET last_job = ?, last_at = ? WHERE id = ?", job_id, clock.now(), schedule.id
        )


def next_moment(expression: str, after: float) -> float:
    """The first moment later than `after` (seconds since 1970) that `expression` names, in UTC.

    `expression` is a cron expression of five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`,
    `@annually`. Raises Refusal (400) for another one, and for one that never comes.
    """
    try:
        found = next(CronSim(_ALIASES.get(expression, expression), datetime.fromtimestamp(after, UTC)))
    except (CronSimError, StopIteration) as error:
        raise bad_request(
            f"Invalid schedule '{expression[:80]}' ({error or 'it never comes'}): expected a cron expression such as"
            f" '0 9 * * 1', or one of {', '.join(_ALIASES)}"
        ) from error
    return found.timestamp()


def _schedule(row: sqlite3.Row) -> Schedule:
    return Schedule(
        id=row["id"],
        namespace=row["namespace"],
        initiator=row["initiator"],
        spec=load_spec(row["spec"]),
        labels=json.loads(row["labels"]),
        expression=row["schedule"],
        suspended=bool(row["suspended"]),
        concurrent=bool(row["concurrent"]),
        created_at=row["created_at"],
        next_at=row["next_at"],
        last_job=row["last_job"],
        last_at=row["last_at"],
    )
