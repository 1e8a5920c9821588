"""The steps of a rehearsal: each proves one property of the script, with real runs on the embedded Hub.

A step takes the stage and returns its figures. It raises Failed when the script does not have the property, NotApplicable
when the property means nothing for this script. The first line of its docstring says what it proves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jobshelf.hub import Request
from jobshelf.record import Figures
from jobshelf.rehearse.canary import READER, has_token
from jobshelf.rehearse.process import Ended
from jobshelf.rehearse.recovery import push_as_told, told_to_run_again
from jobshelf.rehearse.result import CARD, card_problems, carried_over, same_output
from jobshelf.rehearse.rows import Table
from jobshelf.rehearse.stage import FirstRun, Stage
from jobshelf.rehearse.subject import MISSING, OTHER_COLUMNS
from jobshelf.rehearse.trouble import HOLD_SECONDS, KillPoint, Trouble, kill_points, troubles
from jobshelf.rehearse.verdict import Failed, NotApplicable
from jobshelf.rehearse.world import World, wait_until

_UNKNOWN_OPTION = "--no-script-has-this-option"
_LIMITS = ("--max-samples", "--limit", "--num-samples")
_SHARDS = 2
_AFTER_SILENCE_SECONDS = 30.0
_SHOWN = 3


def help_(stage: Stage) -> Figures:
    """--help prints the usage and exits with 0, without a token."""
    ended, requests = stage.helped
    _expect_code(ended, 0)
    _expect_no_writes(requests)
    if not ended.stdout.strip():
        raise Failed("exit code 0, but nothing on standard output")
    return {"lines": len(ended.stdout.splitlines()), "seconds": round(ended.seconds, 2)}


def bad_arguments(stage: Stage) -> Figures:
    """An unknown option is a usage error: exit code 2, nothing done."""
    words = (*stage.subject.words(), _UNKNOWN_OPTION)
    return _refused(stage, "bad-arguments", words, 2)


def no_token(stage: Stage) -> Figures:
    """Without a token it exits with 3 before anything is written."""
    words = stage.words()
    if stage.subject.access == "none":
        raise NotApplicable("the rehearsal needs no token")
    return _refused(stage, "no-token", words, 3, token=None)


def read_only_token(stage: Stage) -> Figures:
    """With a token that may only read it exits with 3 before anything is written."""
    words = stage.words()
    if stage.subject.access != "write":
        raise NotApplicable("the rehearsal needs no token that writes")
    return _refused(stage, "read-only-token", words, 3, token=READER)


def missing_input(stage: Stage) -> Figures:
    """An input that does not exist is an input error: exit code 4, nothing written."""
    stage.words()
    if not stage.subject.inputs:
        raise NotApplicable("the rehearsal names no input")
    return _refused(stage, "missing-input", stage.subject.words(source=MISSING), 4)


def missing_column(stage: Stage) -> Figures:
    """An input without the needed columns is an input error: exit code 4, nothing written."""
    stage.words()
    if not stage.subject.names_columns:
        raise NotApplicable("the rehearsal does not say that it needs certain columns ({input:NAME} does)")
    return _refused(stage, "missing-column", stage.subject.words(source=OTHER_COLUMNS), 4)


def dry_run(stage: Stage) -> Figures:
    """--dry-run exits with 0 and writes nothing, neither on the Hub nor on this machine."""
    words = stage.words()
    if "--dry-run" not in stage.helped[0].stdout:
        raise NotApplicable("it has no --dry-run")
    with stage.open("dry-run") as world:
        ended = world.run([*words, "--dry-run"], seconds=stage.seconds)
        _expect_code(ended, 0)
        _expect_no_writes(world.requests())
        left = sorted(path.name for path in world.work.iterdir())
        requests = len(world.requests())
    if left:
        raise Failed(f"it left {', '.join(left[:_SHOWN])} in the working folder")
    return {"requests": requests, "seconds": round(ended.seconds, 2)}


def run(stage: Stage) -> Figures:
    """A run persists the right rows and the right card, twice the same."""
    stage.words()
    first = stage.first
    _expect_code(first.ended, 0)
    tables = _tables(stage, first)
    problems = list(_run_problems(stage, first, tables))
    figures = {
        "rows": sum(len(table.rows) for table in tables),
        "files": len(list(first.result.files())),
        "requests": len(first.requests),
        "writes": sum(request.wrote for request in first.requests),
        "seconds": round(first.ended.seconds, 2),
        "peak_memory_mib": round(first.ended.peak_bytes / 2**20),
    }
    if problems:
        raise Failed("; ".join(problems[:_SHOWN]), figures)
    return figures


def second_run(stage: Stage) -> Figures:
    """Run again on the same output, it changes nothing: no commit, the same files."""
    first = stage.done()
    before = len(first.world.requests())
    ended = first.world.run(stage.words(), seconds=stage.seconds)
    _expect_code(ended, 0)
    _expect_no_writes(first.world.requests(before))
    after = first.world.result(ended)
    if after.repos != first.result.repos:
        raise Failed("the output is not what it was before the second run")
    if not first.repos and not same_output(ended.stdout, first.ended.stdout):
        raise Failed("it printed something else than the first time")
    return {"requests": len(first.world.requests()) - before, "seconds": round(ended.seconds, 2)}


def kill(stage: Stage) -> Figures:
    """Killed at any moment and run again, it leaves what an uninterrupted run leaves: nothing lost, nothing twice."""
    first = stage.persisted()
    reference = stage.reference
    points = kill_points(first.requests, stage.kills)

    def scenario(point: KillPoint) -> tuple[bool, list[str]]:
        with stage.open(f"kill-{point.number}-{point.moment}") as world:
            killed = _kill_at(world, stage, point)
            again = world.run(stage.words(), seconds=stage.seconds)
            if again.code != 0:
                return killed, [f"the second attempt ended with {again.outcome}"]
            return killed, reference.differences(world.result(again, first.repos), stage.reader)

    found = stage.each(scenario, points)
    wrong = [f"killed {point}: {texts[0]}" for point, (_, texts) in zip(points, found, strict=True) if texts]
    figures = {"points": len(points), "killed": sum(killed for killed, _ in found), "wrong": len(wrong)}
    if wrong:
        raise Failed(_listed(wrong), figures)
    return figures


def faults(stage: Stage) -> Figures:
    """When a request fails, it survives; else a write exits with 6 and the data saved, which the printed command pushes.

    A read whose answer breaks off may also exit with 5; run again, it does the work.
    """
    first = stage.persisted()
    _ = stage.reference
    planned = troubles(first.requests, stage.faults)
    found = stage.each(lambda item: _troubled(stage, first, *item), enumerate(planned))
    wrong = [f"{trouble}: {text}" for trouble, (_, text) in zip(planned, found, strict=True) if text]
    codes = [code for code, _ in found]
    figures = {"faults": len(planned), "survived": codes.count(0), "saved": codes.count(6), "wrong": len(wrong)}
    if wrong:
        raise Failed(_listed(wrong), figures)
    return figures


def shards(stage: Stage) -> Figures:
    """Two shards at once make what one run makes."""
    first = stage.persisted()
    if not stage.subject.is_shardable:
        raise NotApplicable("it is not shardable")
    reference = stage.reference
    with stage.open("shards") as world:
        started = [world.start([*stage.words(), "--shard", f"{n}/{_SHARDS}"]) for n in range(1, _SHARDS + 1)]
        ended = [process.wait(stage.seconds) for process in started]
        for one in ended:
            _expect_code(one, 0)
        problems = reference.differences(world.result(ended[0], first.repos), stage.reader)
        writes = sum(request.wrote for request in world.requests())
    if problems:
        raise Failed("; ".join(problems[:_SHOWN]))
    return {"shards": _SHARDS, "writes": writes}


def token(stage: Stage) -> Figures:
    """The token turns up nowhere: output, logs, files, cards, rows, addresses, command lines."""
    places = []
    if stage.subject.arguments is not None:
        first = stage.first
        rows = [row for table in _tables(stage, first) for row in table.rows]
        places += ["the rows that it wrote"] if has_token(json.dumps(rows).encode()) else []
        places += [f"the command line {argv.split()[0]} ..." for argv in first.ended.argvs if has_token(argv.encode())]
    stage.close()
    stage.worlds.search_shared()
    places += stage.worlds.leaks
    figures = {"files_searched": stage.worlds.searched, "places": len(places)}
    if places:
        raise Failed(f"it is in {_listed(places)}", figures)
    return figures


def _refused(stage: Stage, name: str, words: Iterable[str], code: int, **options: str | None) -> Figures:
    """Run what must be refused; a script that made us no promise may choose its exit code."""
    with stage.open(name) as world:
        ended = world.run(words, seconds=stage.seconds, **options)
        if stage.subject.is_ours:
            _expect_code(ended, code)
        elif not ended.code:
            raise Failed(f"{ended.outcome}, expected a refusal")
        _expect_no_writes(world.requests())
    if not ended.stderr.strip():
        raise Failed(f"exit code {ended.code}, but no word of explanation on stderr")
    return {"exit_code": ended.code or code, "seconds": round(ended.seconds, 2)}


def _expect_code(ended: Ended, code: int) -> None:
    if ended.code != code:
        raise Failed(f"{ended.outcome}, expected exit code {code}")


def _expect_no_writes(requests: Iterable[Request]) -> None:
    writes = [request for request in requests if request.wrote]
    if writes:
        one = writes[0]
        raise Failed(f"it wrote to the Hub: {len(writes)} requests, the first {one.method} {one.path}")


def _tables(stage: Stage, first: FirstRun) -> list[Table]:
    try:
        return list(stage.reader.tables(first.result.tables).values())
    except ValueError as error:
        raise Failed(str(error)) from error


def _run_problems(stage: Stage, first: FirstRun, tables: list[Table]) -> Iterable[str]:
    twin = stage.reference.twin
    if first.repos:
        if not any(path.rpartition("/")[2] not in {CARD, ".gitattributes"} for path, _ in first.result.files()):
            yield "the output holds nothing but a card"
        yield from (f"not twice the same: {text}" for text in stage.reference.differences(twin, stage.reader))
        yield from _not_carried_over(stage, tables)
        yield from card_problems(first.result, stage.worlds.sources) if stage.subject.is_ours else ()
    else:
        if stage.subject.access == "write":
            yield "it exits with 0 and has written nothing to the Hub"
        if not first.ended.stdout.strip():
            yield "it prints nothing"
        if not same_output(first.ended.stdout, twin.stdout):
            yield "not twice the same: it prints something else in a second, equal world"
    wrong = stage.check(first.result, tables) if stage.check else None
    yield from [wrong] if wrong else []


def _not_carried_over(stage: Stage, tables: list[Table]) -> Iterable[str]:
    limited = any(word.partition("=")[0] in _LIMITS for word in stage.words())
    for fixture in stage.subject.inputs:
        given = stage.reader.tables(fixture.make())
        rows = {_names(table.columns): table.rows for table in given.values()}
        for table in tables:
            wrong = carried_over(rows, table.rows, all_of_them=not limited)
            yield from [wrong] if wrong else []


def _names(columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(column.partition(":")[0] for column in columns)


def _kill_at(world: World, stage: Stage, point: KillPoint) -> bool:
    """Run until the point and kill; whether the run came that far."""
    before = point.moment == "before"
    fault = world.hub.fail(path="", kind="delay" if before else "lost", seconds=HOLD_SECONDS, nth=point.number)
    process = world.start(stage.words())
    reached = wait_until(lambda: (fault.struck if before else fault.done) > 0, process, stage.seconds)
    process.kill()
    process.wait(stage.seconds)
    world.hub.clear_faults()
    return reached


def _troubled(stage: Stage, first: FirstRun, number: int, trouble: Trouble) -> tuple[int | None, str]:
    """Return the exit code under this trouble, and what was wrong, if anything."""
    with stage.open(f"fault-{number}") as world:
        trouble.plan(world.hub)
        world.variables.update(trouble.variables)
        patience = 5 * first.ended.seconds + _AFTER_SILENCE_SECONDS if trouble.variables else stage.seconds
        ended = world.run(stage.words(), seconds=min(patience, stage.seconds))
        world.hub.clear_faults()
        if ended.code == 6 and told_to_run_again(ended):
            again = world.run(stage.words(), seconds=stage.seconds)
            if again.code != 0:
                return 6, f"run again, as it said to: {again.outcome}"
        elif ended.code == 6:
            wrong = push_as_told(world, ended, seconds=stage.seconds)
            if wrong:
                return 6, wrong
        elif ended.code != 0:
            excused = trouble.at_read and ended.code == 5
            if (stage.subject.is_ours and not excused) or ended.code is None:
                return ended.code, f"{ended.outcome}, expected exit code 0 or 6"
            ended = world.run(stage.words(), seconds=stage.seconds)
        differs = stage.reference.differences(world.result(ended, first.repos), stage.reader)
        return ended.code, f"exit code {ended.code}, but {differs[0]}" if differs else ""


def _listed(texts: list[str]) -> str:
    more = f" (and {len(texts) - _SHOWN} more)" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A named step; `proves` is one line that says what it proves."""

    name: str
    prove: Callable[[Stage], Figures]

    @property
    def proves(self) -> str:
        """The first line of its docstring."""
        return (self.prove.__doc__ or "").partition("\n")[0]


STEPS = tuple(
    Step(name=prove.__name__.strip("_").replace("_", "-"), prove=prove)
    for prove in (
        help_,
        bad_arguments,
        no_token,
        read_only_token,
        missing_input,
        missing_column,
        dry_run,
        run,
        second_run,
        kill,
        faults,
        shards,
        token,
    )
)
