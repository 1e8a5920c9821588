"""The command line: parse, call one library function, print. The only place where an error becomes an exit code."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jobshelf.errors import EnvironmentFault, JobshelfError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobshelf.index import Entry
    from jobshelf.jobs import Target
    from jobshelf.rehearse import Verdict
    from jobshelf.vet import Report

Command = Callable[[argparse.Namespace], int]
INTERRUPTED = 130
QUESTIONS = {
    "name": "file name, and so the URL",
    "title": "what the page and the documentation call it",
    "kind": "dataset, inference, training, artifact or utility",
    "persistence": "none, hub-dataset, hub-model, hub-file, bucket, s3, gcs or http",
    "token": "none, read or write",
    "flavor": "hardware of the Job",
    "timeout": "of the Job, such as 90m",
    "trigger": "none, schedule or webhook",
    "extras": "test, ci, or both with a comma",
    "base": "address of the folder that it is published in",
}
FORMATS = ("text", "json", "github", "sarif", "markdown")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or that of the error (see `jobshelf.errors`)."""
    words = list(sys.argv[1:] if argv is None else argv)
    # Both ways to be stopped leave through the same doors, so that no process or folder of ours stays behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        arguments = _parse(words)
        return arguments.command(arguments)
    except JobshelfError as error:
        print(f"jobshelf: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("jobshelf: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has what it wanted; point stdout at nothing so that the interpreter's flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fault = EnvironmentFault(
            f"{error.strerror or error}{where}", fix="check the path, its permissions and the disk"
        )
        print(f"jobshelf: {fault}", file=sys.stderr)
        return fault.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)


class _Parser(argparse.ArgumentParser):
    """Errors as one line that ends with the command to type."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=f"{self.prog} --help")


def _parse(words: list[str]) -> argparse.Namespace:
    """Everything after the first `--` belongs to the script, not to us."""
    split = words.index("--") if "--" in words else len(words)
    arguments = build_parser().parse_args(words[:split])
    arguments.script_arguments = words[split + 1 :]
    if arguments.script_arguments and not arguments.takes_script_arguments:
        raise UsageError(f"'{arguments.verb}' takes no arguments after --", fix=f"jobshelf {arguments.verb} --help")
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; every verb's function is its default `command`."""
    parser = _Parser(prog="jobshelf", description="A shelf of vetted single-file UV scripts for Hugging Face Jobs.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    _add_browsing(verbs)
    _add_making(verbs)
    _add_checking(verbs)
    _add_starting(verbs)
    _add_keeping(verbs)
    return parser


class _Version(argparse.Action):
    """Read the version only when asked for: it costs as much as the rest of the start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"jobshelf {version('jobshelf')}")
        parser.exit()


def _repo_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not owner/name")
    return text


def _verb(
    verbs: argparse._SubParsersAction[_Parser],
    name: str,
    command: Command,
    help_: str,
    *,
    script_arguments: bool = False,
) -> _Parser:
    epilog = "Everything after -- goes to the script." if script_arguments else None
    parser = verbs.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".", epilog=epilog)
    parser.set_defaults(command=command, takes_script_arguments=script_arguments)
    return parser


def _add_browsing(verbs: argparse._SubParsersAction[_Parser]) -> None:
    _verb(verbs, "list", _list, "list the scripts on the shelf")
    show = _verb(verbs, "show", _show, "show what a script does, needs and how it is started")
    show.add_argument("name", metavar="NAME", help="a script of the shelf")
    search = _verb(verbs, "search", _search, "list the scripts that hold every word")
    search.add_argument("words", metavar="WORD", nargs="+", help="part of a name, tag or description")


def _add_making(verbs: argparse._SubParsersAction[_Parser]) -> None:
    new = _verb(verbs, "new", _new, "make a script from the templates")
    new.add_argument("folder", metavar="DST", nargs="?", type=Path, default=Path(), help="where to put it (.)")
    new.add_argument("--catalog", action="store_true", help="put it on this shelf, with its test and its index entry")
    new.add_argument("--defaults", action="store_true", help="ask nothing: the defaults for what is not given here")
    for question, help_ in QUESTIONS.items():
        new.add_argument(f"--{question}", metavar=question.upper(), help=help_)
    _verb(verbs, "blocks", _blocks, "list the blocks that scripts embed, and what each promises")


def _add_checking(verbs: argparse._SubParsersAction[_Parser]) -> None:
    vet = _verb(verbs, "vet", _vet, "hold UV scripts against the rules")
    vet.add_argument("targets", metavar="PATH|URL", nargs="*", default=["."], help="scripts, folders, addresses (.)")
    profile = vet.add_mutually_exclusive_group()
    profile.add_argument("--new", action="store_true", help="ask what a new entry of the shelf must satisfy")
    profile.add_argument("--strict", action="store_true", help="fail on warnings too, leave hints out")
    vet.add_argument(
        "--select", metavar="CODES", action="append", default=[], help="ask these rules only (UVS2,UVS401)"
    )
    vet.add_argument("--ignore", metavar="CODES", action="append", default=[], help="leave these rules out")
    vet.add_argument("--changed", metavar="BASE", nargs="?", const="HEAD", help="only what differs from BASE (HEAD)")
    vet.add_argument("--no-stub", action="store_true", help="do not run the scripts with their imports stubbed")
    vet.add_argument("--online", action="store_true", help="also resolve the dependencies, from the package index")
    vet.add_argument("--fix", action="store_true", help="mend what can be mended without changing what a script means")
    vet.add_argument("--unsafe-fixes", action="store_true", help="with --fix or --diff: mend also what may change it")
    vet.add_argument("--diff", action="store_true", help="print what --fix would change, write nothing")
    vet.add_argument("--output-format", choices=FORMATS, default="text", help="default: text")
    vet.add_argument("--statistics", action="store_true", help="count findings by rule instead of listing them")
    explain = _verb(verbs, "explain", _explain, "print the page of a rule")
    explain.add_argument("code", metavar="CODE", help="UVS202, or a rule's name")
    rules = _verb(verbs, "rules", _rules, "list the rules")
    rules.add_argument("--json", action="store_true", help="with their documentation, for programs")

    rehearse = _verb(
        verbs,
        "rehearse",
        _rehearse,
        "run scripts for real on embedded Hubs: bad input, kills, faults, leaks",
        script_arguments=True,
    )
    rehearse.add_argument("targets", metavar="PATH|URL|NAME", nargs="+", help="scripts")
    rehearse.add_argument("--record", action="store_true", help="write what was shown to catalog/records/")
    rehearse.add_argument("--step", metavar="NAME", action="append", help="only this step (may be repeated)")
    rehearse.add_argument("--keep", action="store_true", help="keep the folders of the runs, and say where they are")
    rehearse.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _add_starting(verbs: argparse._SubParsersAction[_Parser]) -> None:
    target = "a script of the shelf, a URL, or a file"
    form = _verb(verbs, "command", _command, "print the commands that start a script", script_arguments=True)
    form.add_argument("name", metavar="NAME", help=target)
    form.add_argument("--form", choices=("local", "jobs", "python", "mcp"), help="print this form only")
    run = _verb(verbs, "run", _run, "run a script on this machine", script_arguments=True)
    run.add_argument("name", metavar="NAME", help=target)
    submit = _verb(verbs, "submit", _submit, "run a script as a Hugging Face Job", script_arguments=True)
    submit.add_argument("name", metavar="NAME", help="a script of the shelf, or a URL")
    submit.add_argument("--follow", action="store_true", help="print the log until the Job ends")
    submit.add_argument("--dry-run", action="store_true", help="print the call instead of making it")


def _add_keeping(verbs: argparse._SubParsersAction[_Parser]) -> None:
    index = _verb(verbs, "index", _index, "rebuild index.json from the catalogue")
    index.add_argument("--check", action="store_true", help="write nothing; fail when the committed file is stale")
    publish = _verb(verbs, "publish", _publish, "mirror the shelf to its Hub dataset")
    publish.add_argument(
        "--repo", metavar="OWNER/NAME", type=_repo_id, help="publish there instead of to the shelf's own dataset"
    )
    publish.add_argument("--release", action="store_true", help="tag the result v<version>; refuse a tag that exists")
    publish.add_argument("--dry-run", action="store_true", help="print what would change, write nothing")
    hub = _verb(verbs, "hub", _hub, "serve the embedded Hub on 127.0.0.1 until interrupted")
    hub.add_argument("--root", metavar="DIR", type=Path, required=True, help="where its state is kept")
    hub.add_argument("--port", metavar="P", type=int, default=8600, help="port to listen on (default 8600)")
    demo = _verb(verbs, "demo", _demo, "publish the shelf to an embedded Hub and run scripts from their URLs")
    demo.add_argument("--keep", action="store_true", help="leave the Hub up at the end, until interrupted")


def _list(_: argparse.Namespace) -> int:
    from jobshelf.index import load_index
    from jobshelf.shelf import find_shelf

    _print_entries(load_index(find_shelf()).entries)
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index
    from jobshelf.shelf import find_shelf

    found = load_index(find_shelf()).search(arguments.words)
    if not found:
        print(
            f"no script holds all of: {' '.join(arguments.words)}. Try fewer words, or: jobshelf list", file=sys.stderr
        )
        return 1
    _print_entries(found)
    return 0


def _print_entries(entries: Iterable[Entry]) -> None:
    rows = [(entry.id, entry.version, entry.launch.get("flavor", "cpu-basic"), entry.summary) for entry in entries]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]))


def _show(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index
    from jobshelf.jobs import command, find_target
    from jobshelf.shelf import find_shelf

    shelf = find_shelf()
    index = load_index(shelf)
    entry = index.find(arguments.name)
    start = command(find_target(entry.id, shelf, index), ())
    facts = {
        "version": f"{entry.version} ({entry.status}), {entry.license}",
        "reads": ", ".join(entry.inputs) or "nothing",
        "writes": ", ".join(entry.outputs) or "nothing",
        "token": entry.token,
        "machine": f"{entry.launch.get('flavor', 'cpu-basic')}, timeout {entry.launch.get('timeout', '30m')}",
        "python": f"{entry.requires_python}, {', '.join(entry.dependencies) or 'no dependencies'}",
        "sha256": entry.sha256,
    }
    print(f"{entry.id}: {entry.summary}\n\n{entry.description}\n")
    print("\n".join(f"{key:<8} {value}" for key, value in facts.items()))
    texts = start.to_json()
    print(f"\non Jobs  {texts['jobs']['text']}\nhere     {texts['local']['text']}")
    return 0


def _new(arguments: argparse.Namespace) -> int:
    from jobshelf.scaffold import new, new_in_catalog

    given = {name: value for name in QUESTIONS if (value := getattr(arguments, name)) is not None}
    if "extras" in given:
        given["extras"] = [word for word in given["extras"].split(",") if word]
    ask = sys.stdin.isatty() and not arguments.defaults
    if arguments.catalog:
        made = new_in_catalog(given, ask=ask)
        print("\n".join(["index.json", *map(str, made.files)]))
        return 0
    made = new(arguments.folder, given, ask=ask, quiet=not sys.stderr.isatty())
    print("\n".join(str(made.folder / file) for file in made.files))
    return 0


def _blocks(_: argparse.Namespace) -> int:
    from jobshelf.blocks import list_blocks

    for name, block in list_blocks().items():
        promise = " ".join(block.promise.partition("\n\n")[0].split())
        print(f"{name:<16} {block.version}  {promise}")
    return 0


def _vet(arguments: argparse.Namespace) -> int:
    from jobshelf.vet import Profile, collect, load_config, vet_targets
    from jobshelf.vet.fixes import mend, write

    if arguments.unsafe_fixes and not (arguments.fix or arguments.diff):
        raise UsageError("--unsafe-fixes does nothing by itself", fix="add --fix, or --diff to see them first")
    config = load_config(
        profile=Profile.NEW if arguments.new else Profile.STRICT if arguments.strict else Profile.DEFAULT,
        select=arguments.select,
        ignore=arguments.ignore,
        stub=not arguments.no_stub,
        online=arguments.online,
    )
    targets = collect(arguments.targets, since=arguments.changed)
    if not (arguments.fix or arguments.diff):
        return _print_report(vet_targets(targets, config), arguments)
    mended = mend(targets, config, unsafe=arguments.unsafe_fixes)
    if arguments.diff:
        print("".join(change.diff() for change in mended.changes), end="")
        return 1 if mended.changes else mended.report.exit_code
    write(mended.changes)
    for change in mended.changes:
        print(f"fixed {change.path}: {', '.join(one.code for one in change.applied)}", file=sys.stderr)
    return _print_report(mended.report, arguments)


def _print_report(report: Report, arguments: argparse.Namespace) -> int:
    from jobshelf.vet.report import render, statistics

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    text = statistics(report) if arguments.statistics else render(report, arguments.output_format, colour=colour)
    sys.stdout.write(text)
    return report.exit_code


def _explain(arguments: argparse.Namespace) -> int:
    from jobshelf.vet.docs import explain

    print(explain(arguments.code), end="")
    return 0


def _rules(arguments: argparse.Namespace) -> int:
    from jobshelf.vet.docs import rules_json, rules_text

    print(rules_json() if arguments.json else rules_text(), end="")
    return 0


def _rehearse(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from jobshelf.rehearse import make_record, rehearse, summary, to_json, verdict_text, write_record
    from jobshelf.shelf import find_shelf

    def show(verdict: Verdict) -> None:
        print(verdict_text(verdict, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ), flush=True)

    shown = []
    for target in arguments.targets:
        if not arguments.json:
            print(target)
        done = rehearse(
            target,
            arguments=arguments.script_arguments or None,
            steps=arguments.step,
            keep=arguments.keep,
            watch=None if arguments.json else show,
        )
        shown.append(done)
        if not arguments.json:
            print(summary(done))
        if arguments.record:
            write_record(make_record(done, day=datetime.now(UTC).date()), find_shelf())
    if arguments.json:
        print(to_json(shown), end="")
    return 0 if all(done.passed for done in shown) else 1


def _command(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs import command

    texts = {
        name: form["text"] for name, form in command(_target(arguments), arguments.script_arguments).to_json().items()
    }
    if arguments.form:
        print(texts[arguments.form])
    else:
        print("\n\n".join(f"# {name}\n{text}" for name, text in texts.items()))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs import run

    return run(_target(arguments), arguments.script_arguments)


def _target(arguments: argparse.Namespace) -> Target:
    from jobshelf.index import load_index
    from jobshelf.jobs import find_target
    from jobshelf.shelf import find_shelf

    shelf = find_shelf()
    return find_target(arguments.name, shelf, load_index(shelf))


def _submit(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.jobs import command, follow, submit

    target = _target(arguments)
    if arguments.dry_run:
        print(command(target, arguments.script_arguments).to_json()["python"]["text"])
        return 0
    client = open_client()
    job = submit(target, arguments.script_arguments, client)
    print(f"{job.id}  {job.url}\nfollow: hf jobs logs --follow {job.id}\ncancel: hf jobs cancel {job.id}")
    if not arguments.follow:
        return 0
    stage = follow(job, client)
    print(f"{job.id}  {stage}", file=sys.stderr)
    return 0 if stage == "COMPLETED" else 1


def _index(arguments: argparse.Namespace) -> int:
    from jobshelf.index import build_index, check_index
    from jobshelf.shelf import find_shelf

    shelf = find_shelf()
    if arguments.check:
        print(f"{shelf.index_file.name} is what the catalogue says ({len(check_index(shelf).entries)} scripts)")
        return 0
    index = build_index(shelf)
    shelf.index_file.write_text(index.to_text(), encoding="utf-8")
    print(f"wrote {shelf.index_file.name}: {len(index.entries)} scripts")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from jobshelf.client import explained, open_client
    from jobshelf.publish import index_for, plan, publish
    from jobshelf.shelf import find_shelf

    shelf, client = find_shelf(), open_client()
    if arguments.dry_run:
        with explained(client):
            step = plan(shelf, index_for(shelf, arguments.repo), client)
        print(
            "\n".join(f"write {path} ({len(data):,} bytes)" for path, data in sorted(step.writes.items()))
            or "unchanged"
        )
        _print_kept(step.kept)
        return 0
    done = publish(shelf, client, repo=arguments.repo, release=arguments.release)
    where = f"{client.endpoint}/datasets/{done.repo}"
    what = f"published {len(done.written)} files to" if done.written else "unchanged:"
    print(f"{what} {where} at {done.commit[:12]}" + (f", tagged {done.tag}" if done.tag else ""))
    _print_kept(done.kept)
    return 0


def _print_kept(kept: dict[str, str]) -> None:
    for name, reason in sorted(kept.items()):
        print(f"kept {name} as it is there: {reason}")


def _hub(arguments: argparse.Namespace) -> int:
    from jobshelf.host import host
    from jobshelf.shelf import find_shelf

    host(arguments.root, port=arguments.port, organisation=find_shelf().dataset.partition("/")[0])
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from jobshelf.demo import demo

    demo(keep=arguments.keep)
    return 0
