"""What a plan would change, for a person to read before it is done."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobshelf.publish.mirror import Plan
from jobshelf.publish.remote import Remote
from jobshelf.publish.space import PagePlan

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file: its bytes there now (None: it is new), and as planned (None: it goes)."""

    path: str
    before: bytes | None
    after: bytes | None

    def line(self) -> str:
        """Return what happens to the file, with its sizes."""
        if self.before is None:
            return f"add {self.path} ({len(self.after or b''):,} bytes)"
        if self.after is None:
            return f"remove {self.path} ({len(self.before):,} bytes)"
        return f"change {self.path} ({len(self.before):,} -> {len(self.after):,} bytes)"

    def diff(self) -> str:
        """Return the unified diff of a text that changes; nothing for what is new, goes, or is no text."""
        if self.before is None or self.after is None:
            return ""
        try:
            before, after = (data.decode().splitlines(keepends=True) for data in (self.before, self.after))
        except UnicodeDecodeError:
            return ""
        lines = difflib.unified_diff(before, after, f"there/{self.path}", f"here/{self.path}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ no newline at the end\n" for line in lines)


def changes_of(step: Plan | PagePlan, client: HfApi) -> list[Change]:
    """Return the plan's changes, ordered by path; what stands there now is read from the Hub."""
    paths = sorted({*step.writes, *step.removes})
    old = (
        dict(Remote(client=client, repo=step.repo, kind=step.kind).read_all(step.parent, paths)) if step.parent else {}
    )
    return [Change(path=path, before=old.get(path), after=step.writes.get(path)) for path in paths]


def to_text(changes: Iterable[Change]) -> str:
    """Return one line a change, then the diffs."""
    listed = list(changes)
    return "".join([*(f"{change.line()}\n" for change in listed), *(change.diff() for change in listed)])
