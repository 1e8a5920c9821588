"""Rehearse a script: prove on an embedded Hub, with real runs, that it does what it promises, crash and fault included.

::

    shown = rehearse("catalog/finepdfs-stats.py")
    print(to_text(shown))
    assert shown.passed
"""

from __future__ import annotations

from jobshelf.record import Outcome, Record, Verdict, is_stale, load_record, write_record
from jobshelf.rehearse.record import make_record
from jobshelf.rehearse.report import summary, title, to_json, to_text, verdict_text
from jobshelf.rehearse.result import Result
from jobshelf.rehearse.rows import Table
from jobshelf.rehearse.run import Rehearsal, rehearse
from jobshelf.rehearse.steps import STEPS, Step

__all__ = [
    "STEPS",
    "Outcome",
    "Record",
    "Rehearsal",
    "Result",
    "Step",
    "Table",
    "Verdict",
    "is_stale",
    "load_record",
    "make_record",
    "rehearse",
    "summary",
    "title",
    "to_json",
    "to_text",
    "verdict_text",
    "write_record",
]
