"""What the steps share: the worlds, the arguments, and the uninterrupted run that all others are held against."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from jobshelf.hub import Request
from jobshelf.rehearse.process import Ended
from jobshelf.rehearse.repo_files import RepoName
from jobshelf.rehearse.result import Reference, Result
from jobshelf.rehearse.rows import RowReader, Table
from jobshelf.rehearse.subject import Subject
from jobshelf.rehearse.verdict import NotApplicable
from jobshelf.rehearse.world import World, Worlds

Check = Callable[[Result, Sequence[Table]], str | None]
# Most of a scenario is waiting: for the Hub to close, for Retry-After, for a request that is held back.
_AT_ONCE_A_CORE = 4
_MOST_AT_ONCE = 8
_MARGIN = 2
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRun:
    """The uninterrupted run: how it ended, what it asked, what it left, in a world that is still there."""

    world: World
    ended: Ended
    requests: tuple[Request, ...]
    result: Result

    @property
    def repos(self) -> tuple[RepoName, ...]:
        """The repos that it wrote to."""
        return tuple(self.result.repos)


class Stage:
    """One rehearsal in progress. Its values are those of `jobshelf.rehearse.run.rehearse`."""

    def __init__(
        self,
        subject: Subject,
        worlds: Worlds,
        reader: RowReader,
        *,
        seconds: float,
        kills: int,
        faults: int | None,
        check: Check | None,
    ) -> None:
        self.subject = subject
        self.worlds = worlds
        self.reader = reader
        self.seconds = seconds
        self.kills = kills
        self.faults = faults
        self.check = check
        self._stack = ExitStack()

    def open(self, name: str) -> AbstractContextManager[World]:
        """A world of its own for the scenario `name`."""
        return self.worlds.open(name)

    def each(self, work: Callable[[_Item], _Found], items: Iterable[_Item]) -> list[_Found]:
        """Do independent work side by side; the answers come in the order of the items."""
        with ThreadPoolExecutor(self._at_once()) as pool:
            try:
                return list(pool.map(work, items))
            except BaseException:
                # interrupted, or one of them failed: the others have nothing more to find out
                pool.shutdown(wait=False, cancel_futures=True)
                self.worlds.stop()
                raise

    def words(self) -> tuple[str, ...]:
        """Return the arguments of the rehearsal. Raises NotApplicable when nobody said how to run the script."""
        if self.subject.arguments is None:
            raise NotApplicable("nobody said how to run it: give arguments after --, such as {input} {output}")
        return self.subject.words()

    @cached_property
    def helped(self) -> tuple[Ended, tuple[Request, ...]]:
        """How `--help` ended, and what it asked the Hub."""
        with self.open("help") as world:
            return world.run(["--help"], seconds=self.seconds, token=None), world.requests()

    @cached_property
    def first(self) -> FirstRun:
        """The uninterrupted run, whatever its exit code."""
        words = self.words()
        world = self._stack.enter_context(self.open("first-run"))
        ended = world.run(words, seconds=self.seconds, watched=True)
        requests = world.requests()
        return FirstRun(world=world, ended=ended, requests=requests, result=world.result(ended))

    @cached_property
    def reference(self) -> Reference:
        """The uninterrupted run and a twin of it in another world."""
        first = self.done()
        with self.open("twin-run") as world:
            ended = world.run(self.words(), seconds=self.seconds)
            return Reference(result=first.result, twin=world.result(ended, first.repos))

    def done(self) -> FirstRun:
        """Return the uninterrupted run. Raises NotApplicable when it failed: there is nothing to compare with."""
        if self.first.ended.code != 0:
            raise NotApplicable(f"the run itself fails: {self.first.ended.outcome}")
        return self.first

    def persisted(self) -> FirstRun:
        """Return the uninterrupted run. Raises NotApplicable when it wrote nothing to the Hub."""
        if not self.done().repos:
            raise NotApplicable("it writes nothing to the Hub")
        return self.first

    def _at_once(self) -> int:
        """How many scenarios run side by side: what the memory holds, and one alone where there is one accelerator."""
        wants_one = not str(self.subject.header.tool("hf-jobs").get("flavor", "cpu")).startswith("cpu")
        if wants_one and shutil.which("nvidia-smi"):
            return 1
        fits = _free_bytes() // (_MARGIN * max(self.first.ended.peak_bytes, 1))
        return max(1, min(_MOST_AT_ONCE, _AT_ONCE_A_CORE * (os.cpu_count() or 1), fits))

    def close(self) -> None:
        """End the worlds that are still open."""
        self._stack.close()


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
