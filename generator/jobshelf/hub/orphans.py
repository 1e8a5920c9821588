"""Processes that a killed Hub left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path

_MARK = b"JOB_ID="


def end_orphans(job_ids: Collection[str]) -> None:
    """Kill every process that runs as one of these Jobs: its environment says so, and its children have inherited that.

    Only where there is a `/proc` (Linux).
    """
    marks = {_MARK + job_id.encode() for job_id in job_ids}
    for folder in Path("/proc").glob("[0-9]*") if marks else ():
        try:
            if marks & set((folder / "environ").read_bytes().split(b"\x00")):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            # it ended meanwhile, or is another user's
            continue
