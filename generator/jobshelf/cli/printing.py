"""What several verbs print."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

INTERRUPTED = 130


def plain(text: str) -> str:
    """Return a script's text without terminal control characters."""
    from jobshelf.render import printable

    return "\n".join(printable(line) for line in text.split("\n"))


def print_rows(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table."""
    table = [titles, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
    for row in table:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def say_same_as(*words: str) -> None:
    """Print the command that does the same without this tool."""
    print(f"same as: {shlex.join(words)}", file=sys.stderr)


def follow_job(job: JobInfo, client: HfApi) -> int:
    """Print the log of a Job until it ends; return its exit code."""
    from jobshelf.jobs.follow import exit_code, follow, how_it_ended

    where = f"{job.owner.name}/{job.id}"
    try:
        over = follow(job, client)
    except KeyboardInterrupt:
        print(
            f"the Job keeps running: hf jobs logs --follow {where}; to cancel it: hf jobs cancel {where}",
            file=sys.stderr,
        )
        return INTERRUPTED
    print(how_it_ended(over), file=sys.stderr)
    return exit_code(over)
