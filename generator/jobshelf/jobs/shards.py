"""One script as N Jobs, each with its shard of the input: a thin loop over the Jobs API.

The Jobs share one output, in parts, and the last one to end writes the card. Which shards are done is read from the Jobs
of the same command on the Hub, never from a state of ours. So the same command run again starts only what is missing,
and one that is run beside it, or after its coordinator died, adopts the Jobs that still run.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jobshelf.client import explained
from jobshelf.errors import EnvironmentFault, NoCredit, NotPersisted, UsageError
from jobshelf.jobs.follow import OVER, Patience, exit_code
from jobshelf.jobs.local import uv_program
from jobshelf.jobs.monitor import LIVE, list_jobs
from jobshelf.jobs.order import Parcel
from jobshelf.jobs.output import Progress, has_begun, read_progress
from jobshelf.jobs.prices import Cost
from jobshelf.jobs.submit import post

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

RUN_LABEL = "jobshelf-run"
SHARD_LABEL = "jobshelf-shard"
CONCURRENCY = 16
ATTEMPTS = 3
MOST_SHARDS = 99_999
# exit codes that every other shard would end with too: the command line and the token are the same for all
_ALIKE = {2: "its command line", 3: "its token"}
_INPUT = 4
_READER = Path(__file__).with_name("read_parts.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the Hub is asked, in seconds: the first pause after something happened, and the longest."""

    shortest: float = 1.0
    longest: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a run is: numbers of shards, and US dollars for the Jobs that are over."""

    count: int
    done: int
    running: int
    failed: int
    waiting: int
    spent: float

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"shards: {self.done} of {self.count} done, {self.running} running, {self.waiting} waiting{failed}"
            f", ${self.spent:.2f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. `failed` is shard -> why; `left` are shards that were not started, and `stopped` says why not."""

    progress: Progress
    started: int
    spent: float
    failed: Mapping[int, str] = field(default_factory=dict)
    left: tuple[int, ...] = ()
    stopped: str | None = None


def run_key(parcel: Parcel, count: int) -> str:
    """Return the label of a run: the same for the same script, arguments and number of shards."""
    return hashlib.sha256(json.dumps([*parcel.order.command, count]).encode()).hexdigest()[:12]


class ShardRun:
    """The run of one parcel as `count` Jobs that write parts to the dataset `output`."""

    def __init__(
        self,
        parcel: Parcel,
        output: str,
        count: int,
        cost: Cost,
        client: HfApi,
        *,
        concurrency: int = CONCURRENCY,
        attempts: int = ATTEMPTS,
        max_cost: float | None = None,
        watch: Callable[[Tally], None] = lambda _: None,
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not 1 <= count <= MOST_SHARDS:
            raise UsageError(f"--shards {count} is not between 1 and {MOST_SHARDS}", fix="write --shards 8")
        if max_cost is not None and cost.of(cost.timeout_seconds) > max_cost:
            message = f"one shard may cost ${cost.of(cost.timeout_seconds):.2f}, more than --max-cost {max_cost:g}"
            raise UsageError(message, fix="a shorter --timeout, a cheaper --flavor, or a higher --max-cost")
        self.key = run_key(parcel, count)
        self._parcel, self._output, self._count, self._cost, self._client = parcel, output, count, cost, client
        self._concurrency, self._attempts, self._max_cost = concurrency, attempts, max_cost
        self._watch, self._pace, self._patience = watch, pace or Pace(), patience or Patience()
        self._waiting: deque[int] = deque()
        self._running: dict[str, int] = {}
        self._done: set[int] = set()
        self._failed: dict[int, str] = {}
        self._tries: Counter[int] = Counter()
        self._spent = 0.0
        self._stopped: str | None = None
        self._begun = False
        # ids of Jobs that are taken account of, and whether one may have been started that we were not told of
        self._known: set[str] = set()
        self._unsure = False
        self._shown: Tally | None = None

    def run(self) -> Outcome:
        """Start what is missing, retry what fails, and return what became of it. Ends when no Job of the run is left.

        The first shard goes alone until it has begun to write: what stops it there would stop all the others too.
        """
        progress = self._first_look()
        ended_at_once = progress.is_complete and not self._running
        pause = self._pace.shortest
        while not ended_at_once:
            before = (len(self._running), len(self._waiting), len(self._failed))
            try:
                self._look()
                self._start_more()
            except NoCredit as error:
                self._stop(error.message)
            except EnvironmentFault as error:
                self._unsure = True
                self._patience.wait(error)
                continue
            self._unsure = False
            self._patience.succeeded()
            self._show()
            if not self._running and (not self._waiting or self._stopped):
                progress = read_progress(self._output, self._client)
                break
            changed = before != (len(self._running), len(self._waiting), len(self._failed))
            pause = self._pace.shortest if changed else min(1.5 * pause, self._pace.longest)
            time.sleep(pause)
        return self._outcome(progress)

    def _first_look(self) -> Progress:
        progress = read_progress(self._output, self._client)
        earlier = list_jobs(self._client, self._parcel.namespace, labels={RUN_LABEL: self.key})
        self._begun = progress.has_begun
        self._done = self._done_before(progress, earlier)
        self._waiting = deque(shard for shard in range(1, self._count + 1) if shard not in self._done)
        self._adopt([job for job in earlier if str(job.status.stage) not in OVER])
        self._known.update(job.id for job in earlier)
        self._look()
        self._show()
        return progress

    def _done_before(self, progress: Progress, earlier: list[JobInfo]) -> set[int]:
        """Return the shards that have nothing left to do; none when all say so and the output is not complete."""
        every = set(range(1, self._count + 1))
        if progress.is_complete:
            return every
        ended_well = [job for job in earlier if str(job.status.stage) in OVER and exit_code(job) == 0]
        done = {int((job.labels or {}).get(SHARD_LABEL, "0")) for job in ended_well} & every
        return done if progress.has_begun and done != every else set()

    def _start_more(self) -> None:
        room = self._concurrency if self._begun else 1
        while self._waiting and len(self._running) < room and not self._stopped:
            if not self._affordable():
                if not self._running:
                    self._stop(f"the next shard could go beyond --max-cost {self._max_cost:g}")
                return
            shard = self._waiting[0]
            job = post(self._shard_parcel(shard), self._client)
            self._waiting.popleft()
            self._take(job.id, shard)

    def _take(self, job_id: str, shard: int) -> None:
        self._known.add(job_id)
        self._running[job_id] = shard
        self._tries[shard] += 1

    def _affordable(self) -> bool:
        """Whether another Job fits under the cap when every one that runs uses up its timeout."""
        if self._max_cost is None:
            return True
        return self._spent + self._cost.of(self._cost.timeout_seconds) * (len(self._running) + 1) <= self._max_cost

    def _shard_parcel(self, shard: int) -> Parcel:
        order = self._parcel.order
        words = ("--shard", f"{shard}/{self._count}")
        labels = {**order.labels, RUN_LABEL: self.key, SHARD_LABEL: str(shard)}
        return replace(
            self._parcel, order=replace(order, command=(*order.command, *words), labels=labels, attempts=None)
        )

    def _look(self) -> None:
        """Find the Jobs that are over: one list of those that live, and one question for each that left it."""
        stages = () if self._unsure else LIVE
        listed = list_jobs(self._client, self._parcel.namespace, stages=stages, labels={RUN_LABEL: self.key})
        self._adopt(listed)
        live = [job for job in listed if str(job.status.stage) not in OVER]
        for job_id in self._running.keys() - {job.id for job in live}:
            with explained(self._client):
                job = self._client.inspect_job(job_id=job_id, namespace=self._parcel.namespace)
            if str(job.status.stage) in OVER:
                self._settle(self._running.pop(job_id), job)
        if not self._begun and self._running:
            self._begun = has_begun(self._output, self._client)

    def _adopt(self, jobs: list[JobInfo]) -> None:
        """Take over Jobs of this run that somebody else started, or whose start was not answered."""
        for job in jobs:
            shard = int((job.labels or {}).get(SHARD_LABEL, "0"))
            if job.id not in self._known and shard in self._waiting:
                self._waiting.remove(shard)
                self._take(job.id, shard)

    def _settle(self, shard: int, job: JobInfo) -> None:
        seconds = job.durations.running_secs if job.durations else None
        self._spent += self._cost.of(seconds or 0)
        code = exit_code(job)
        if code == 0:
            self._done.add(shard)
            self._begun = True
            return
        why = f"{job.status.message or job.status.stage} (hf jobs logs {job.owner.name}/{job.id})"
        begun = self._begun or has_begun(self._output, self._client)
        once = code in {*_ALIKE, _INPUT} or job.status.stage == "CANCELED"
        if not once and self._tries[shard] < self._attempts:
            self._waiting.append(shard)
            return
        self._failed[shard] = why
        if code in _ALIKE or not begun:
            reason = f"for {_ALIKE[code]}" if code in _ALIKE else "before it wrote anything"
            self._stop(f"shard {shard} failed {reason}, and the others would too")

    def _stop(self, why: str) -> None:
        self._stopped = self._stopped or why

    def _show(self) -> None:
        tally = Tally(
            count=self._count,
            done=len(self._done),
            running=len(self._running),
            failed=len(self._failed),
            waiting=len(self._waiting),
            spent=self._spent,
        )
        if tally != self._shown:
            self._shown = tally
            self._watch(tally)

    def _outcome(self, progress: Progress) -> Outcome:
        return Outcome(
            progress=progress,
            started=self._tries.total(),
            spent=self._spent,
            failed=dict(sorted(self._failed.items())),
            left=tuple(sorted(self._waiting)),
            stopped=self._stopped,
        )


def require_whole(outcome: Outcome, output: str) -> None:
    """Raise NotPersisted that names what failed and what was not started, unless the whole result is there."""
    if outcome.progress.is_complete and not outcome.failed:
        return
    failed = "; ".join(f"shard {shard}: {why}" for shard, why in list(outcome.failed.items())[:5])
    more = f" and {len(outcome.failed) - 5} more" if len(outcome.failed) > 5 else ""
    left = f"{len(outcome.left)} shards were not started: {outcome.stopped}" if outcome.left else outcome.stopped or ""
    what = ". ".join(part for part in (failed + more, left) if part) or "the card of the result is missing"
    raise NotPersisted(
        f"{output} is not complete. {what}", fix="run the same command again: it does only what is missing"
    )


def check_loads(output: str, client: HfApi) -> Mapping[str, int]:
    """Read every part of the merged result where it is; return the numbers of parts and rows.

    Done by a script of its own, which brings the parquet reader that this tool does without. Raises NotPersisted when
    a part cannot be read or has other columns than the rest.
    """
    environment = {**os.environ, "HF_ENDPOINT": client.endpoint, "HF_TOKEN": str(client.token)}
    argv = [uv_program(), "run", "--quiet", "--no-project", str(_READER), output]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise NotPersisted(f"{output} cannot be read back: {said}", fix=f"look at {client.endpoint}/datasets/{output}")
    return json.loads(done.stdout)
