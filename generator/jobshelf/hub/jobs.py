"""Jobs: what was asked for, what became of it, what it printed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jobshelf.hub import clock
from jobshelf.hub.database import Database
from jobshelf.hub.orphans import end_orphans
from jobshelf.hub.private import private_folder, private_opener

Stage = Literal["RUNNING", "COMPLETED", "ERROR", "CANCELED"]
DEFAULT_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A bucket or repo that a Job sees as a folder at `mount_path`; `path` narrows it to a folder in there."""

    kind: str
    source: str
    mount_path: str
    path: str = ""
    revision: str = "main"
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What a Job runs. `image` (or the Space in place of one) is recorded and not used. It holds the names of secrets only."""

    command: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: dict[str, str]
    flavor: str
    timeout_seconds: int
    attempts: int
    volumes: tuple[Volume, ...]
    image: str | None
    space: str | None
    secret_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Job and its state; times are ISO 8601. `origin` is `user`, `scheduled-job:ID` or `webhook:ID`."""

    id: str
    namespace: str
    initiator: str
    origin: str
    spec: JobSpec
    labels: dict[str, str]
    stage: Stage
    message: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None

    @property
    def is_over(self) -> bool:
        """Whether the stage is final."""
        return self.stage != "RUNNING"


class Jobs:
    """The Jobs of one Hub: state in the database, logs in one file each."""

    def __init__(self, folder: Path, *, database: Database) -> None:
        self._folder = private_folder(folder)
        self._database = database
        end_orphans([row["id"] for row in database.rows("SELECT id FROM jobs WHERE stage = 'RUNNING'")])
        database.execute(
            "UPDATE jobs SET stage = 'ERROR', message = 'The Hub stopped while this Job ran', finished_at = ?"
            " WHERE stage = 'RUNNING'",
            clock.now(),
        )

    def add(self, job: Job) -> None:
        """Record a new Job."""
        self._database.execute(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(job.id, job.namespace, job.initiator, job.origin, dump_spec(job.spec), json.dumps(job.labels)),
            *(job.stage, job.message, job.created_at, job.started_at, job.finished_at),
        )

    def find(self, namespace: str, job_id: str) -> Job | None:
        """The Job of that id, if there is one."""
        row = self._database.row("SELECT * FROM jobs WHERE namespace = ? AND id = ?", namespace, job_id)
        return None if row is None else _job(row)

    def of(self, namespace: str) -> list[Job]:
        """All Jobs in a namespace, newest first."""
        rows = self._database.rows(
            "SELECT * FROM jobs WHERE namespace = ? ORDER BY created_at DESC, rowid DESC", namespace
        )
        return [_job(row) for row in rows]

    def latest(self, count: int) -> list[Job]:
        """The newest Jobs of all namespaces, newest first."""
        return [
            _job(row)
            for row in self._database.rows("SELECT * FROM jobs ORDER BY created_at DESC, rowid DESC LIMIT ?", count)
        ]

    def finish(self, job_id: str, stage: Stage, message: str | None) -> None:
        """Set the final stage."""
        self._database.execute(
            "UPDATE jobs SET stage = ?, message = ?, finished_at = ? WHERE id = ?", stage, message, clock.now(), job_id
        )

    def set_labels(self, job: Job, labels: dict[str, str]) -> None:
        """Replace a Job's labels."""
        self._database.execute("UPDATE jobs SET labels = ? WHERE id = ?", json.dumps(labels), job.id)

    def log(self, job_id: str, line: str) -> None:
        """Append a line to a Job's log."""
        entry = json.dumps({"data": line, "timestamp": clock.now()})
        with open(self._log_file(job_id), "a", encoding="utf-8", opener=private_opener) as stream:
            stream.write(entry + "\n")

    def logged(self, job_id: str, start: int = 0) -> tuple[list[str], int]:
        """The log's entries (JSON with `data` and `timestamp`) from byte `start` on, and the byte after the last."""
        try:
            with self._log_file(job_id).open("rb") as stream:
                stream.seek(start)
                content = stream.read()
        except FileNotFoundError:
            return [], start
        whole = content[: content.rfind(b"\n") + 1]
        return whole.decode().splitlines(), start + len(whole)

    def _log_file(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.jsonl"


def matching(jobs: Sequence[Job], *, stages: Sequence[str], labels: Sequence[str]) -> list[Job]:
    """The Jobs in one of `stages` (any, when empty) that carry all `labels` (`key=value`)."""
    return [
        job
        for job in jobs
        if (not stages or job.stage in stages)
        and {tuple(label.split("=", 1)) for label in labels} <= set(job.labels.items())
    ]


def dump_spec(spec: JobSpec) -> str:
    """A spec as JSON."""
    volumes = [{name: getattr(volume, name) for name in Volume.__slots__} for volume in spec.volumes]
    return json.dumps({**{name: getattr(spec, name) for name in JobSpec.__slots__}, "volumes": volumes})


def load_spec(text: str) -> JobSpec:
    """The spec that `dump_spec` wrote."""
    stored: dict[str, Any] = json.loads(text)
    return JobSpec(
        **{
            **stored,
            "command": tuple(stored["command"]),
            "arguments": tuple(stored["arguments"]),
            "secret_names": tuple(stored["secret_names"]),
            "volumes": tuple(Volume(**volume) for volume in stored["volumes"]),
        }
    )


def _job(row: sqlite3.Row) -> Job:
    return Job(**{**row, "spec": load_spec(row["spec"]), "labels": json.loads(row["labels"])})
