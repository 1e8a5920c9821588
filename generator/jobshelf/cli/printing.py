"""What several verbs print."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from jobshelf.errors import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

INTERRUPTED = 130


def say(text: object = "", *, file: TextIO | None = None, end: str = "\n", flush: bool = False) -> None:
    """Print text that may come from others, with its control characters as escapes; line breaks and tabs stay."""
    lines = ("\t".join(map(printable, line.split("\t"))) for line in str(text).split("\n"))
    print("\n".join(lines), file=file, end=end, flush=flush)


def say_json(data: object) -> None:
    """Print data as JSON, in ASCII."""
    print(json.dumps(data, indent=2))


def print_rows(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table."""
    table = [titles, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
    for row in table:
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def say_same_as(*words: str) -> None:
    """Print the command that does the same without this tool."""
    say(f"same as: {shlex.join(words)}", file=sys.stderr)


def follow_job(job: JobInfo, client: HfApi) -> int:
    """Print the log of a Job until it ends; return its exit code."""
    from jobshelf.jobs.follow import exit_code, follow, how_it_ended

    where = f"{job.owner.name}/{job.id}"
    try:
        over = follow(job, client)
    except KeyboardInterrupt:
        say(
            f"the Job keeps running: hf jobs logs --follow {where}; to cancel it: hf jobs cancel {where}",
            file=sys.stderr,
        )
        return INTERRUPTED
    say(how_it_ended(over), file=sys.stderr)
    return exit_code(over)
