"""The clock that starts scheduled Jobs."""

from __future__ import annotations

import threading

from jobshelf.hub.core import Core
from jobshelf.hub.jobs import Job
from jobshelf.hub.launch import OnBehalf, launch, record_failure
from jobshelf.hub.refusal import Refusal
from jobshelf.hub.schedules import Schedule, next_moment

_LOOK_SECONDS = 1.0


class Scheduler:
    """Starts what is due, looking once a second. Of the moments that passed while the Hub was down, one is made up for."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._closing = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Start nothing any more; returns when that is certain."""
        self._closing.set()
        self._thread.join()

    def look(self) -> None:
        """Start what is due now."""
        with self._looking:
            for schedule in self._core.schedules.due(self._core.time.now()):
                self._core.schedules.set_next(schedule, next_moment(schedule.expression, self._core.time.now()))
                if schedule.concurrent or not self._is_running(schedule):
                    self._start(schedule)

    def _run(self) -> None:
        while not self._closing.wait(timeout=_LOOK_SECONDS):
            self.look()

    def _start(self, schedule: Schedule) -> None:
        try:
            start_scheduled(self._core, schedule)
        except Refusal as refusal:
            # nobody is there to be told: the list of Jobs tells
            failed = record_failure(self._core, schedule, refusal.message)
            self._core.schedules.set_last(schedule, failed.id)

    def _is_running(self, schedule: Schedule) -> bool:
        last = self._core.jobs.find(schedule.namespace, schedule.last_job) if schedule.last_job else None
        return last is not None and not last.is_over


def start_scheduled(core: Core, schedule: Schedule) -> Job:
    """Start a schedule's Job in the name of who made it. Raises Refusal when they may not do that any more."""
    job = launch(
        OnBehalf(core=core, caller=core.accounts.by_name(schedule.initiator)),
        schedule.namespace,
        schedule.spec,
        labels=schedule.labels,
        secret_table=core.vault.of(schedule.id, schedule.spec.secret_names),
        origin=schedule.origin,
    )
    core.schedules.set_last(schedule, job.id)
    return job
