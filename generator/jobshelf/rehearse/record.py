"""Make the record of a rehearsal; what a record is, and how it is kept, is in `jobshelf.record`."""

from __future__ import annotations

from datetime import date

from jobshelf.errors import UsageError
from jobshelf.record import Record
from jobshelf.rehearse.run import Rehearsal


def make_record(shown: Rehearsal, *, day: date) -> Record:
    """Return the record of a rehearsal. Raises UsageError when not every step was taken, or the script was never run."""
    if not shown.is_whole:
        taken = ", ".join(verdict.step for verdict in shown.verdicts)
        message = f"a record holds every step, this rehearsal took: {taken}"
        raise UsageError(message, fix=f"jobshelf rehearse {shown.name} --record, without --step")
    if shown.arguments is None:
        message = f"the header of {shown.name} does not say how it is rehearsed"
        raise UsageError(message, fix='add rehearse = ["{input}", "{output}"] to its [tool.jobshelf]')
    return Record(
        name=shown.name,
        sha256=shown.sha256,
        date=day,
        arguments=shown.arguments,
        versions=shown.versions,
        seconds=round(shown.seconds, 1),
        peak_memory_mib=int(shown.verdict("run").figures.get("peak_memory_mib", 0)),
        verdicts=shown.verdicts,
    )
