"""What happens to repos, for those who want to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jobshelf.hub.discussions import Discussion, Event
from jobshelf.hub.repos import Repo


@dataclass(frozen=True, slots=True, kw_only=True)
class RefChange:
    """A ref that points elsewhere than before; None where there is no before, or no after."""

    ref: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened to a repo; `scope` says to what of it (`repo`, `repo.content`, `discussion.comment`)."""

    repo: Repo
    action: Literal["create", "update", "delete", "move"]
    scope: str
    refs: Sequence[RefChange] = ()
    discussion: Discussion | None = None
    comment: Event | None = None


class Happenings:
    """Passes on what happens."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Happening], None]] = []

    def listen(self, listener: Callable[[Happening], None]) -> None:
        """Call `listener` with everything that happens from now on. It must return at once."""
        self._listeners.append(listener)

    def tell(self, happening: Happening) -> None:
        """Something happened, and is on disk."""
        for listener in self._listeners:
            listener(happening)
