"""Read a Job's log as it comes, through whatever the network does meanwhile."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobshelf.client import explained
from jobshelf.errors import BadAnswer, EnvironmentFault, printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

COMPLETED = "COMPLETED"
OVER = frozenset({COMPLETED, "ERROR", "CANCELED", "DELETED"})
PATIENCE_SECONDS = 900.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXIT_CODE = re.compile(r"exit code:? (\d+)")
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# the stream may end a moment before the stage is final
_STAGE_LAG_SECONDS = 0.2


class Patience:
    """Waits longer after every failure in a row, and not longer than `most` seconds for all of them."""

    def __init__(self, most: float = PATIENCE_SECONDS) -> None:
        self._most = most
        self.succeeded()

    def succeeded(self) -> None:
        """Forget the failures so far."""
        self._pause, self._since = _FIRST_PAUSE_SECONDS, time.monotonic()

    def wait(self, error: EnvironmentFault) -> None:
        """Say what failed and wait before the next try. Raises `error` itself when waiting does not help, or no longer."""
        if isinstance(error, BadAnswer) or time.monotonic() - self._since + self._pause > self._most:
            raise error
        print(f"note: {error.message}; trying again in {self._pause:g} s", file=sys.stderr, flush=True)
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)


def log_lines(job_id: str, namespace: str, client: HfApi, *, patience: Patience | None = None) -> Iterator[str]:
    """Yield the Job's log lines as they come, each once, until the Job is over.

    A connection that is lost is made again until `patience` ends. Raises EnvironmentFault after that, and what
    `explained` raises for an answer that will not change.
    """
    patience, seen = patience or Patience(), 0
    while True:
        try:
            with explained(client):
                log = client.fetch_job_logs(job_id=job_id, namespace=namespace, follow=True)
                for number, line in enumerate(log, start=1):
                    if number > seen:
                        seen = number
                        patience.succeeded()
                        yield line
                if str(client.inspect_job(job_id=job_id, namespace=namespace).status.stage) in OVER:
                    return
        except EnvironmentFault as error:
            patience.wait(error)
        else:
            time.sleep(_STAGE_LAG_SECONDS)


def log_text(line: str) -> str:
    """Return a line of a log as a terminal ends up showing it, without colours; other control characters as escapes."""
    shown = _COLOUR.sub("", line.rstrip("\r\n")).rpartition("\r")[2]
    return "\t".join(map(printable, shown.split("\t")))


def follow(job: JobInfo, client: HfApi, *, patience: Patience | None = None) -> JobInfo:
    """Print the Job's log as it comes; return the Job when it is over. Raises what `log_lines` raises."""
    for line in log_lines(job.id, job.owner.name, client, patience=patience):
        print(log_text(line), flush=True)
    with explained(client):
        return client.inspect_job(job_id=job.id, namespace=job.owner.name)


def exit_code(job: JobInfo) -> int:
    """Return 0 for a Job that completed, the script's own exit code where the Hub tells it, else 1."""
    if str(job.status.stage) == COMPLETED:
        return 0
    told = _EXIT_CODE.search(job.status.message or "")
    code = int(told[1]) if told else 1
    return code if 0 < code < 126 else 1


def how_it_ended(job: JobInfo) -> str:
    """Return one line: the Job's id, its stage and why."""
    why = f" ({job.status.message})" if job.status.message else ""
    return f"{job.id}  {job.status.stage}{why}"
