"""Publish a shelf to the Hub, hold what is there against its index, and take a publish back.

::

    done = publish(find_shelf(), open_client())
    assert not verify(open_client(), done.repo).findings
"""

from __future__ import annotations

from jobshelf.publish.changes import Change, changes_of, to_text
from jobshelf.publish.lineage import merge
from jobshelf.publish.mirror import Options, Outcome, Plan, index_for, plan, preview, publish
from jobshelf.publish.reversal import Reversal, rollback
from jobshelf.publish.space import PageOutcome, PagePlan, page_files, preview_page, publish_page
from jobshelf.publish.verification import Finding, Verification, verify

__all__ = [
    "Change",
    "Finding",
    "Options",
    "Outcome",
    "PageOutcome",
    "PagePlan",
    "Plan",
    "Reversal",
    "Verification",
    "changes_of",
    "index_for",
    "merge",
    "page_files",
    "plan",
    "preview",
    "preview_page",
    "publish",
    "publish_page",
    "rollback",
    "to_text",
    "verify",
]
