"""Check scripts: vet, explain, rules, rehearse."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobshelf.cli.parser import Verbs
from jobshelf.cli.printing import say
from jobshelf.errors import UsageError

if TYPE_CHECKING:
    from jobshelf.rehearse import Verdict
    from jobshelf.vet import Config, Report, Target
    from jobshelf.vet.progress import Progress

FORMATS = ("text", "json", "github", "sarif", "markdown")


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    _add_vet(verbs)
    explain = verbs.add("explain", _explain, "explain a rule", example="jobshelf explain UVS202")
    explain.add_argument("code", metavar="CODE", help="code or name of a rule")
    rules = verbs.add("rules", _rules, "list the rules", example="jobshelf rules")
    rules.add_argument("--json", action="store_true", help="print the rules and their documentation as JSON")
    rehearse = verbs.add(
        "rehearse",
        _rehearse,
        "run scripts for real on an embedded Hub, with kills and faults",
        example="jobshelf rehearse my_script.py --step run",
        script_arguments=True,
    )
    rehearse.add_argument("targets", metavar="PATH|URL|NAME", nargs="+", help="scripts")
    rehearse.add_argument("--record", action="store_true", help="save the results to catalog/records/")
    rehearse.add_argument("--step", metavar="NAME", action="append", help="run only this step (can be repeated)")
    rehearse.add_argument("--keep", action="store_true", help="keep the folders of the runs and print where they are")
    rehearse.add_argument("--json", action="store_true", help="print the results as JSON")


def _add_vet(verbs: Verbs) -> None:
    vet = verbs.add("vet", _vet, "lint scripts", example="jobshelf vet my_script.py")
    vet.add_argument(
        "targets", metavar="PATH|URL", nargs="*", default=["."], help="files, folders, URLs (default: this folder)"
    )
    profile = vet.add_mutually_exclusive_group()
    profile.add_argument("--new", action="store_true", help="apply the rules required of new catalogue entries")
    profile.add_argument("--strict", action="store_true", help="apply all rules of a shelf; warnings fail too")
    vet.add_argument("--select", metavar="CODES", action="append", default=[], help="only these rules (UVS2,UVS401)")
    vet.add_argument("--ignore", metavar="CODES", action="append", default=[], help="skip these rules")
    vet.add_argument(
        "--changed", metavar="BASE", nargs="?", const="HEAD", help="only files that differ from BASE (HEAD)"
    )
    vet.add_argument("--no-stub", action="store_true", help="do not run the scripts with stubbed imports")
    vet.add_argument("--unfenced", action="store_true", help="run scripts from URLs even without a sandbox")
    vet.add_argument("--online", action="store_true", help="also resolve the dependencies from the package index")
    vet.add_argument(
        "--allow-build", action="store_true", help="with --online: build packages without wheels, which runs their code"
    )
    vet.add_argument("--fix", action="store_true", help="apply safe fixes")
    vet.add_argument(
        "--unsafe-fixes", action="store_true", help="with --fix or --diff: include fixes that may change behavior"
    )
    vet.add_argument("--diff", action="store_true", help="print what --fix would change, write nothing")
    vet.add_argument("--output-format", choices=FORMATS, default="text", help="default: text")
    vet.add_argument("--statistics", action="store_true", help="count findings by rule")


def _vet(arguments: argparse.Namespace) -> int:
    from jobshelf.vet import Profile, collect, load_config, vet_targets
    from jobshelf.vet.progress import Progress

    if arguments.unsafe_fixes and not (arguments.fix or arguments.diff):
        raise UsageError("--unsafe-fixes does nothing by itself", fix="add --fix, or --diff to see them first")
    if arguments.allow_build and not arguments.online:
        raise UsageError("--allow-build does nothing by itself", fix="add --online")
    config = load_config(
        profile=Profile.NEW if arguments.new else Profile.STRICT if arguments.strict else Profile.DEFAULT,
        select=arguments.select,
        ignore=arguments.ignore,
        stub=not arguments.no_stub,
        online=arguments.online,
        unfenced=arguments.unfenced,
        builds=arguments.allow_build,
    )
    progress = Progress(sys.stderr)
    try:
        targets = collect(arguments.targets, since=arguments.changed, tell=progress)
        if arguments.fix or arguments.diff:
            return _fix(targets, config, arguments, progress)
        report = vet_targets(targets, config, tell=progress)
    finally:
        progress.clear()
    return _print_report(report, arguments)


def _fix(targets: Sequence[Target], config: Config, arguments: argparse.Namespace, progress: Progress) -> int:
    from jobshelf.vet.fixes import mend, why_no_diff, write
    from jobshelf.vet.report import render

    mended = mend(targets, config, unsafe=arguments.unsafe_fixes, tell=progress)
    progress.clear()
    if arguments.diff:
        say("".join(change.diff() for change in mended.changes), end="")
        if mended.changes:
            return 1
        say(f"{why_no_diff(mended)}\n{render(mended.report, 'text')}", end="", file=sys.stderr)
        return mended.report.exit_code
    write(mended.changes)
    for change in mended.changes:
        say(f"fixed {change.path}: {', '.join(one.code for one in change.applied)}", file=sys.stderr)
    return _print_report(mended.report, arguments)


def _print_report(report: Report, arguments: argparse.Namespace) -> int:
    from jobshelf.vet.report import render, statistics

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    text = statistics(report) if arguments.statistics else render(report, arguments.output_format, colour=colour)
    sys.stdout.write(text)
    return report.exit_code


def _explain(arguments: argparse.Namespace) -> int:
    from jobshelf.vet.docs import explain

    say(explain(arguments.code), end="")
    return 0


def _rules(arguments: argparse.Namespace) -> int:
    from jobshelf.vet.docs import rules_json, rules_text

    say(rules_json() if arguments.json else rules_text(), end="")
    return 0


def _rehearse(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from jobshelf.rehearse import make_record, rehearse, summary, to_json, verdict_text, write_record
    from jobshelf.shelf import own_shelf

    shelf = own_shelf() if arguments.record else None

    def show(verdict: Verdict) -> None:
        print(verdict_text(verdict, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ), flush=True)

    shown = []
    for target in arguments.targets:
        if not arguments.json:
            say(target)
        done = rehearse(
            target,
            arguments=arguments.script_arguments or None,
            steps=arguments.step,
            keep=arguments.keep,
            watch=None if arguments.json else show,
        )
        shown.append(done)
        if not arguments.json:
            say(summary(done))
        if shelf is not None:
            write_record(make_record(done, day=datetime.now(UTC).date()), shelf)
    if arguments.json:
        say(to_json(shown), end="")
    return 0 if all(done.passed for done in shown) else 1
