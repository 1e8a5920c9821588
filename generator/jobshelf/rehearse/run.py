"""Rehearse one script from beginning to end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import UsageError
from jobshelf.record import Outcome, Verdict, Versions
from jobshelf.rehearse.environment import synced
from jobshelf.rehearse.rows import row_reader
from jobshelf.rehearse.stage import Check, Stage
from jobshelf.rehearse.steps import STEPS, Step
from jobshelf.rehearse.subject import find_subject
from jobshelf.rehearse.verdict import Failed, NotApplicable
from jobshelf.rehearse.world import Worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a rehearsal showed.

    `arguments` are those of the script, with their placeholders. `folder` is where everything lies that the runs left,
    None unless it was to be kept. `seconds` is the whole rehearsal, without the building of the environment.
    """

    name: str
    sha256: str
    arguments: tuple[str, ...] | None
    verdicts: tuple[Verdict, ...]
    versions: Versions
    seconds: float
    folder: Path | None

    @property
    def passed(self) -> bool:
        """Whether no step failed."""
        return all(verdict.outcome is not Outcome.FAILED for verdict in self.verdicts)

    @property
    def is_whole(self) -> bool:
        """Whether every step was taken."""
        return [verdict.step for verdict in self.verdicts] == [step.name for step in STEPS]

    def verdict(self, step: str) -> Verdict:
        """Return the verdict of the step called `step`. Raises KeyError when it was not taken."""
        return {verdict.step: verdict for verdict in self.verdicts}[step]


def rehearse(
    target: str | Path,
    *,
    arguments: Sequence[str] | None = None,
    steps: Sequence[str] | None = None,
    keep: bool = False,
    kills: int = 10,
    faults: int | None = None,
    seconds: float = 300.0,
    check: Check | None = None,
    watch: Callable[[Verdict], None] | None = None,
) -> Rehearsal:
    """Rehearse the script at a path, a URL, or of a name on the shelf, on embedded Hubs of its own.

    `arguments` replace those that the header declares; their placeholders are described in `jobshelf.rehearse.fixtures`.
    `steps` are the names of the steps to take (default: all). `kills` is the number of points at which the run is killed,
    `faults` the number of failing requests that are tried (default: every fault at every write; an expensive script may
    be content with fewer), `seconds` the most that one run may take. `check` says why the result of the run is wrong, or None; `watch` is called
    with each verdict. With `keep`, what the runs left is not deleted.

    Raises UsageError for an unknown step or placeholder, InputError or ScriptError for what is no script,
    EnvironmentFault when its environment cannot be built.
    """
    chosen = choose_steps(steps)
    subject = find_subject(target, arguments)
    with _folder(keep=keep) as folder, row_reader() as reader:
        script = folder / "script" / subject.file
        script.parent.mkdir()
        script.write_bytes(subject.script.data)
        environment = synced(script, subject.header)
        began = time.monotonic()
        worlds = Worlds(folder, script=script, environment=environment, subject=subject, keep=keep)
        stage = Stage(subject, worlds, reader, seconds=seconds, kills=kills, faults=faults, check=check)
        with closing(worlds), closing(stage):
            verdicts = tuple(_watched(_take(step, stage), watch) for step in chosen)
        return Rehearsal(
            name=subject.script.name,
            sha256=subject.script.sha256,
            arguments=subject.arguments,
            verdicts=verdicts,
            versions=environment.versions(),
            seconds=time.monotonic() - began,
            folder=folder if keep else None,
        )


def choose_steps(names: Sequence[str] | None) -> tuple[Step, ...]:
    """Return the steps of these names in the order of the rehearsal. Raises UsageError for a name that no step has."""
    known = [step.name for step in STEPS]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UsageError(f"no step is called '{unknown[0]}'", fix=f"name one of: {', '.join(known)}")
    return tuple(step for step in STEPS if names is None or step.name in names)


def _take(step: Step, stage: Stage) -> Verdict:
    began = time.monotonic()
    outcome, reason = Outcome.PASSED, ""
    try:
        figures = step.prove(stage)
    except Failed as failed:
        outcome, reason, figures = Outcome.FAILED, str(failed), failed.figures
    except NotApplicable as error:
        outcome, reason, figures = Outcome.NOT_APPLICABLE, str(error), {}
    taken = time.monotonic() - began
    return Verdict(step=step.name, outcome=outcome, reason=reason, seconds=taken, figures=figures)


def _watched(verdict: Verdict, watch: Callable[[Verdict], None] | None) -> Verdict:
    if watch is not None:
        watch(verdict)
    return verdict


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    # resolved, so that a script which prints where it is prints what it was given
    folder = Path(tempfile.mkdtemp(prefix="jobshelf-rehearsal-")).resolve()
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
