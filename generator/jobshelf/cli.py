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

    from huggingface_hub import HfApi, JobInfo

    from jobshelf.hardware import Hardware
    from jobshelf.index import Entry
    from jobshelf.jobs import Target
    from jobshelf.jobs.monitor import JobId
    from jobshelf.jobs.shards import Tally
    from jobshelf.jobs.start import Prepared
    from jobshelf.launch import Launch
    from jobshelf.rehearse import Verdict
    from jobshelf.shelf import Shelf
    from jobshelf.vet import Report

Command = Callable[[argparse.Namespace], int]
INTERRUPTED = 130
QUESTIONS = {
    "kind": "dataset, inference, training, artifact or utility",
    "name": "file name, and so the URL",
    "title": "what the page and the documentation call it",
    "persistence": "none, hub-dataset, hub-model, hub-file, bucket, s3, gcs or http",
    "token": "none, read or write",
    "flavor": "hardware of the Job",
    "timeout": "of the Job, such as 90m",
    "trigger": "none, schedule or webhook",
    "extras": "test, ci, or both with a comma",
    "base": "address of the folder that it is published in",
}
SHELF_QUESTIONS = {
    "name": "name of the shelf (the folder's)",
    "repo": "Hub dataset that it is published to, as owner/name",
    "github": "its GitHub repository, as owner/name",
    "space": "Space for its page, as owner/name",
    "description": "what it is, in a few words",
}
FORMATS = ("text", "json", "github", "sarif", "markdown")
FORMS = ("local", "jobs", "python", "mcp")
# What a verb does when its first word is none of these: `schedule NAME "@daily"` is `schedule add NAME "@daily"`.
ACTIONS = {
    "schedule": ("add", "list", "inspect", "suspend", "resume", "delete"),
    "webhook": ("add", "list", "delete"),
}


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
    words = _with_action(words)
    if words[:1] == ["estimate"]:
        words = ["estimate", "--", *words[1:]]
    split = words.index("--") if "--" in words else len(words)
    arguments = build_parser().parse_args(words[:split])
    arguments.script_arguments = words[split + 1 :]
    if arguments.script_arguments and not arguments.takes_script_arguments:
        raise UsageError(f"'{arguments.verb}' takes no arguments after --", fix=f"jobshelf {arguments.verb} --help")
    return arguments


def _with_action(words: list[str]) -> list[str]:
    actions = ACTIONS.get(words[0]) if words else None
    if actions is None or (len(words) > 1 and words[1] in {*actions, "-h", "--help"}):
        return words
    return [words[0], actions[0], *words[1:]]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; every verb's function is its default `command`."""
    parser = _Parser(prog="jobshelf", description="A shelf of vetted single-file UV scripts for Hugging Face Jobs.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    _add_browsing(verbs)
    _add_making(verbs)
    _add_checking(verbs)
    _add_starting(verbs)
    _add_jobs(verbs)
    _add_triggers(verbs)
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
    page = _verb(verbs, "page", _page, "make the page to browse the shelf with, one HTML file")
    page.add_argument("--output", metavar="FILE", type=Path, default=Path("shelf.html"), help="where (shelf.html)")
    page.add_argument("--open", choices=("yes", "no"), help="in the browser (yes on a terminal)")


def _add_making(verbs: argparse._SubParsersAction[_Parser]) -> None:
    init = _verb(verbs, "init", _init, "make a shelf: a folder for scripts of your own")
    init.add_argument("folder", metavar="DST", nargs="?", type=Path, default=Path(), help="where to put it (.)")
    new = _verb(verbs, "new", _new, "make a script from the templates, on the shelf around the working folder if any")
    new.add_argument("folder", metavar="DST", nargs="?", type=Path, help="put it there, off the shelf")
    new.add_argument("--catalog", action="store_true", help="put it on the shelf, and fail where there is none")
    for parser, questions in ((init, SHELF_QUESTIONS), (new, QUESTIONS)):
        parser.add_argument(
            "--defaults", action="store_true", help="ask nothing: the defaults for what is not given here"
        )
        for question, help_ in questions.items():
            parser.add_argument(f"--{question}", metavar=question.upper(), help=help_)
    blocks = _verb(verbs, "blocks", _blocks, "list the shared functions that scripts contain")
    blocks.add_argument("--write", action="store_true", help="refresh their copies in the scripts of this shelf")


def _add_checking(verbs: argparse._SubParsersAction[_Parser]) -> None:
    vet = _verb(verbs, "vet", _vet, "lint UV scripts")
    vet.add_argument("targets", metavar="PATH|URL", nargs="*", default=["."], help="scripts, folders, addresses (.)")
    profile = vet.add_mutually_exclusive_group()
    profile.add_argument("--new", action="store_true", help="apply the rules required of new catalogue entries")
    profile.add_argument(
        "--strict", action="store_true", help="apply the rules of a shelf to every script, and fail on warnings too"
    )
    vet.add_argument(
        "--select", metavar="CODES", action="append", default=[], help="apply these rules only (UVS2,UVS401)"
    )
    vet.add_argument("--ignore", metavar="CODES", action="append", default=[], help="leave these rules out")
    vet.add_argument("--changed", metavar="BASE", nargs="?", const="HEAD", help="only what differs from BASE (HEAD)")
    vet.add_argument("--no-stub", action="store_true", help="do not run the scripts with their imports stubbed")
    vet.add_argument(
        "--unfenced", action="store_true", help="also run scripts from URLs where the system cannot fence them"
    )
    vet.add_argument("--online", action="store_true", help="also resolve the dependencies, from the package index")
    vet.add_argument(
        "--allow-build",
        action="store_true",
        help="with --online: build packages that have no wheel, which runs their code",
    )
    vet.add_argument("--fix", action="store_true", help="apply safe fixes")
    vet.add_argument(
        "--unsafe-fixes",
        action="store_true",
        help="with --fix or --diff: also apply fixes that may change what a script does",
    )
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
    target = "a script of the shelf, a URL, a file, or - for standard input"
    form = _verb(verbs, "command", _command, "print the commands that start a script", script_arguments=True)
    form.add_argument("name", metavar="NAME", nargs="?", help=target)
    form.add_argument("--form", choices=FORMS, help="print this form only")
    form.add_argument(
        "--copy", action="store_true", help="also put it on the clipboard (the form jobs, if none is named)"
    )
    form.add_argument("--pin", action="store_true", help="name the commit that the Hub serves now, not what follows it")
    _add_launch(form)
    hardware = _verb(verbs, "hardware", _hardware, "list the machines of Jobs and what they cost")
    shown = hardware.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    shown.add_argument("--advice", action="store_true", help="say which machine for which model and work")
    shown.add_argument("--refresh", action="store_true", help="write the Hub's list into catalog/estimate_cost.py")
    hardware.add_argument("--ram", type=float, default=0, metavar="GB", help="only machines with so much RAM")
    hardware.add_argument("--vram", type=float, default=0, metavar="GB", help="only machines with so much GPU memory")
    _verb(verbs, "estimate", _estimate, "say what a Job costs and where it fits (estimate_cost)", script_arguments=True)
    run = _verb(verbs, "run", _run, "run a script on this machine", script_arguments=True)
    run.add_argument("name", metavar="NAME", help=target)
    run.add_argument(
        "--with", metavar="PACKAGE", dest="dependencies", action="append", default=[], help="add a package"
    )
    run.add_argument("--python", metavar="VERSION", help="run it with this Python")
    run.add_argument("--env", metavar="K=V", action="append", default=[], help="set a variable")
    submit = _verb(verbs, "submit", _submit, "run a script as a Hugging Face Job", script_arguments=True)
    submit.add_argument("name", metavar="NAME", nargs="?", help=f"{target}; none with --image for a Docker Job")
    ending = submit.add_mutually_exclusive_group()
    ending.add_argument("--follow", action="store_true", help="print the log until the Job ends, and exit as it did")
    ending.add_argument("--detach", action="store_true", help="leave when the Job has started (the default)")
    submit.add_argument("--dry-run", action="store_true", help="print the Job and what can be checked, start nothing")
    submit.add_argument(
        "--no-estimate", action="store_true", help="do not estimate time and cost, nor look at the rows"
    )
    submit.add_argument("--max-cost", metavar="USD", type=_usd, help="start nothing that could cost more")
    submit.add_argument(
        "--shards",
        metavar="N",
        type=int,
        help="run it as N Jobs, each its shard, until all are done; again: what is missing",
    )
    submit.add_argument("--concurrency", metavar="K", type=int, default=16, help="most shards at a time (16)")
    _add_launch(submit)


def _add_launch(parser: argparse.ArgumentParser) -> None:
    """Flags that win over the script's own launch table."""
    group = parser.add_argument_group("the Job (these win over the script's own table)")
    group.add_argument("--flavor", help="machine")
    group.add_argument("--timeout", help="most time that it may take: 300, 90m, 2h, 1.5h, 1d")
    group.add_argument("--image", help="Docker image, or hf.co/spaces/owner/name")
    group.add_argument("--python", metavar="VERSION", help="Python for the script")
    group.add_argument(
        "--with", metavar="PACKAGE", dest="dependencies", action="append", default=[], help="add a package"
    )
    group.add_argument("--env", metavar="K=V", action="append", default=[], help="set a variable that all may see")
    group.add_argument(
        "--secrets", metavar="NAME", action="append", default=[], help="pass a secret of this environment"
    )
    group.add_argument(
        "--volume", metavar="SPEC", action="append", default=[], help="hf://... or a folder, :/mount[:ro]"
    )
    group.add_argument("--label", metavar="K=V", action="append", default=[], help="label the Job")
    group.add_argument("--name", metavar="TEXT", dest="job_name", help="name the Job")
    group.add_argument("--namespace", help="the user or organisation that pays")
    group.add_argument("--attempts", metavar="N", type=int, help="most attempts in all (of each shard: 3)")


def _add_jobs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    jobs = _verb(verbs, "jobs", _jobs_list, "look after Jobs that were started")
    actions = jobs.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    list_ = _verb(
        actions, "list", _jobs_list, "list Jobs, newest first; those that are not over, unless told otherwise"
    )
    list_.add_argument("--all", action="store_true", help="those that are over too")
    list_.add_argument("--status", metavar="STAGE", action="append", default=[], help="RUNNING, COMPLETED, ERROR ...")
    inspect = _verb(actions, "inspect", _jobs_inspect, "print what is known of Jobs, as JSON")
    logs = _verb(actions, "logs", _jobs_logs, "print what a Job has printed")
    logs.add_argument("ids", metavar="ID", nargs=1, help="id, namespace/id or address")
    which = logs.add_mutually_exclusive_group()
    which.add_argument("--follow", "-f", action="store_true", help="until it ends, and exit as it did")
    which.add_argument("--tail", metavar="N", type=int, help="its last N lines")
    cancel = _verb(actions, "cancel", _jobs_cancel, "end Jobs")
    wait = _verb(actions, "wait", _jobs_wait, "wait for Jobs, and exit as the worst of them did")
    for parser in (cancel, wait):
        parser.add_argument("ids", metavar="ID", nargs="*", help="id, namespace/id or address")
    inspect.add_argument("ids", metavar="ID", nargs="+", help="id, namespace/id or address")
    for parser in (list_, cancel, wait):
        parser.add_argument("--label", metavar="K=V", action="append", default=[], help="those with this label")
    for parser in (list_, inspect, logs, cancel, wait):
        parser.add_argument("--namespace", help="whose Jobs (yours)")


def _add_triggers(verbs: argparse._SubParsersAction[_Parser]) -> None:
    schedule = _verb(
        verbs, "schedule", _schedule_add, 'start a script by the clock: schedule NAME "@daily" -- ARGUMENTS'
    )
    actions = schedule.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    add = _verb(actions, "add", _schedule_add, "schedule a script, or with --image a command", script_arguments=True)
    add.add_argument(
        "words", metavar="NAME WHEN", nargs="+", help='script, and "@daily", "@hourly" ... or a cron expression'
    )
    add.add_argument("--suspend", action="store_true", help="start nothing until it is resumed")
    add.add_argument("--concurrent", action="store_true", help="also start while the last Job still runs")
    add.add_argument("--dry-run", action="store_true", help="print the forms and the next start, schedule nothing")
    _add_launch(add)
    list_ = _verb(actions, "list", _schedule_list, "list schedules")
    list_.add_argument("--namespace", help="whose (yours)")
    for name, command, help_ in (
        ("inspect", _schedule_inspect, "print what is known of schedules, as JSON"),
        ("suspend", _schedule_change, "let schedules start nothing until they are resumed"),
        ("resume", _schedule_change, "let schedules start Jobs again"),
        ("delete", _schedule_change, "remove schedules; Jobs that they started stay"),
    ):
        parser = _verb(actions, name, command, help_)
        parser.add_argument("ids", metavar="ID", nargs="+", help="id of a schedule")
        parser.add_argument("--namespace", help="whose (yours)")
    webhook = _verb(
        verbs, "webhook", _webhook_add, "start a script when a repository changes: webhook NAME --on user/data"
    )
    actions = webhook.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    add = _verb(actions, "add", _webhook_add, "watch something, and start a script for it", script_arguments=True)
    add.add_argument("name", metavar="NAME", nargs="?", help="a script of the shelf, a URL or a file")
    add.add_argument("--on", metavar="WHAT", required=True, help="user/dataset, models/user/name, user/ or org/")
    add.add_argument("--domains", default="repo", help="repo, discussion, or both with a comma (repo)")
    add.add_argument("--secret-from", metavar="ENV", help="variable with the secret that proves who sent an event")
    _add_launch(add)
    _verb(actions, "list", _webhook_list, "list your webhooks")
    delete = _verb(actions, "delete", _webhook_delete, "remove webhooks; Jobs that they started stay")
    delete.add_argument("ids", metavar="ID", nargs="+", help="id of a webhook")


def _usd(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of US dollars such as 5 or 0.50")
    return float(text)


def _add_keeping(verbs: argparse._SubParsersAction[_Parser]) -> None:
    index = _verb(verbs, "index", _index, "rebuild index.json from the catalogue, and what is derived from it")
    index.add_argument("--check", action="store_true", help="write nothing; fail when the committed file is stale")
    publish = _verb(verbs, "publish", _publish, "mirror the shelf to its Hub dataset")
    publish.add_argument(
        "--repo", metavar="OWNER/NAME", type=_repo_id, help="publish there instead of to the shelf's own dataset"
    )
    publish.add_argument("--release", action="store_true", help="tag the result v<version>; refuse a tag that exists")
    publish.add_argument("--dry-run", action="store_true", help="print what would change and how, write nothing")
    publish.add_argument("--prune", action="store_true", help="remove what this shelf published and no longer has")
    publish.add_argument("--repair", action="store_true", help="compare with the files there, not with SHA256SUMS")
    publish.add_argument("--private", action="store_true", help="create the repository hidden from others")
    publish.add_argument("--create-pr", action="store_true", help="propose the commit as a pull request")
    publish.add_argument(
        "--space", metavar="OWNER/NAME", type=_repo_id, nargs="?", const=True, help="also publish the page, to a Space"
    )
    verify = _verb(verbs, "verify", _verify, "hold everything that a repository serves against its index")
    verify.add_argument("repo", metavar="OWNER/NAME", type=_repo_id, nargs="?", help="the shelf's own dataset, if none")
    rollback = _verb(verbs, "rollback", _rollback, "bring the published shelf back to the state of a tag")
    rollback.add_argument("tag", metavar="TAG", help="such as v1.2.0")
    rollback.add_argument(
        "--repo", metavar="OWNER/NAME", type=_repo_id, help="there instead of the shelf's own dataset"
    )
    hub = _verb(verbs, "hub", _hub, "serve the embedded Hub on 127.0.0.1 until interrupted")
    hub.add_argument("--root", metavar="DIR", type=Path, required=True, help="where its state is kept")
    hub.add_argument("--port", metavar="P", type=int, default=8600, help="port to listen on (default 8600)")
    hub.add_argument("--tls", action="store_true", help="serve clients that know https://huggingface.co only, too")
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
    """Print id, version, flavor, last rehearsal and summary, in columns."""
    rows = [(one.id, one.version, one.hardware["flavor"], one.rehearsed, _plain(one.summary)) for one in entries]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4]]))


def _page(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index
    from jobshelf.page import page, read_sources, write_page
    from jobshelf.shelf import own_shelf

    shelf = own_shelf()
    index = load_index(shelf)
    write_page(page(index, read_sources(index, shelf.catalog)), arguments.output)
    print(f"wrote {arguments.output}: {len(index.entries)} scripts")
    if arguments.open == "yes" or (arguments.open is None and sys.stdout.isatty()):
        import webbrowser

        webbrowser.open(arguments.output.resolve().as_uri())
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from jobshelf.index import load_index, words
    from jobshelf.jobs import command, find_target
    from jobshelf.shelf import find_shelf

    shelf = find_shelf()
    index = load_index(shelf)
    entry = index.find(arguments.name)
    start = command(find_target(entry.id, shelf, index), ())
    instead = f": use {entry.replaced_by} instead" if entry.replaced_by else ""
    facts = {
        "version": f"{entry.version} ({entry.status}{instead}), {entry.license}",
        "reads": ", ".join(entry.inputs) or "nothing",
        "writes": ", ".join(entry.outputs) or "nothing",
        "token": entry.token,
        "machine": words.machine(entry),
        "python": f"{entry.requires_python}, {', '.join(entry.dependencies) or 'no dependencies'}",
        "rules": words.vetting(entry),
        "tried": words.rehearsal(entry),
        "sha256": entry.sha256,
    }
    print(_plain(f"{entry.id}: {entry.summary}\n\n{entry.description}\n"))
    print(_plain("\n".join(f"{key:<8} {value}" for key, value in facts.items())))
    for line in words.commands(entry):
        rows = [words.argument(one) for one in line["arguments"] if not one.get("hidden")]
        width = min(max((len(named) for named, _ in rows), default=0), 40)
        print(_plain("\n".join(["", line["usage"], *(f"  {named:<{width}}  {help_}" for named, help_ in rows)])))
    texts = start.to_json()
    print(f"\non Jobs  {texts['jobs']['text']}\nhere     {texts['local']['text']}")
    return 0


def _plain(text: str) -> str:
    """Return text of a script without what steers a terminal."""
    from jobshelf.render import printable

    return "\n".join(printable(line) for line in text.split("\n"))


def _init(arguments: argparse.Namespace) -> int:
    from jobshelf.scaffold import init

    given = {name: value for name in SHELF_QUESTIONS if (value := getattr(arguments, name)) is not None}
    made = init(arguments.folder, given, ask=_asks(arguments))
    print("\n".join(str(made.folder / file) for file in made.files))
    _print_next(f"the shelf {made.shelf.name} is published to {made.shelf.dataset}; next:", made.next)
    return 0


def _new(arguments: argparse.Namespace) -> int:
    from jobshelf.scaffold import new, new_in_catalog
    from jobshelf.shelf import has_shelf

    given = {name: value for name in QUESTIONS if (value := getattr(arguments, name)) is not None}
    if "extras" in given:
        given["extras"] = [word for word in given["extras"].split(",") if word]
    if arguments.catalog and arguments.folder is not None:
        raise UsageError("--catalog puts the script on the shelf, and DST elsewhere", fix="give one of them")
    if arguments.catalog or (arguments.folder is None and has_shelf()):
        made = new_in_catalog(given, ask=_asks(arguments))
        print("\n".join(["index.json", *map(str, made.files)]))
    else:
        made = new(arguments.folder or Path(), given, ask=_asks(arguments))
        print("\n".join(str(made.folder / file) for file in made.files))
    _print_next("write the function at TODO(jobshelf), then:" if made.unwritten else "next:", made.next)
    return 0


def _asks(arguments: argparse.Namespace) -> bool:
    return sys.stdin.isatty() and not arguments.defaults


def _print_next(title: str, commands: Iterable[str]) -> None:
    """Say what to type next, beside the output that a program may read."""
    print("\n".join([title, *(f"  {command}" for command in commands)]), file=sys.stderr)


def _blocks(args: argparse.Namespace) -> int:
    from jobshelf.blocks import block_folder, list_blocks, refresh_catalog
    from jobshelf.shelf import own_shelf

    if args.write:
        print("\n".join(refresh_catalog(own_shelf())) or "every copy is up to date")
        return 0
    for name, block in sorted(list_blocks(block_folder()).items()):
        print(f"{name:<18} {block.promise}")
    return 0


def _vet(arguments: argparse.Namespace) -> int:
    from jobshelf.vet import Profile, collect, load_config, vet_targets
    from jobshelf.vet.fixes import mend, write

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
    from jobshelf.shelf import own_shelf

    shelf = own_shelf() if arguments.record else None

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
        if shelf is not None:
            write_record(make_record(done, day=datetime.now(UTC).date()), shelf)
    if arguments.json:
        print(to_json(shown), end="")
    return 0 if all(done.passed for done in shown) else 1


def _command(arguments: argparse.Namespace) -> int:
    from jobshelf.forms import docker_forms
    from jobshelf.jobs import command, pinned, read_target
    from jobshelf.jobs.clipboard import copy
    from jobshelf.launch import refuse_tokens

    asked, words = _asked(arguments), arguments.script_arguments
    refuse_tokens(words)
    if arguments.name is None:
        if arguments.pin:
            raise UsageError("--pin is for a script that the Hub serves", fix="name the image by its digest")
        made = docker_forms(_image(arguments), words, asked)
    else:
        target = _target(arguments)
        # an address is read for its launch table; the shelf's own stand in the index
        if "://" in arguments.name or arguments.pin:
            target = read_target(target, _client_if_any())
        if arguments.pin:
            target = pinned(target)
        elif target.commit_url:
            print(f"note: these very bytes stay at {target.commit_url} (--pin)", file=sys.stderr)
        made = command(target, words, asked)
    texts = {name: form["text"] for name, form in made.to_json().items()}
    for form, note in made.notes:
        if arguments.form in {None, form}:
            print(f"note: {form}: {note}", file=sys.stderr)
    if arguments.form:
        print(texts[arguments.form])
    else:
        print("\n\n".join(f"# {name}\n{text}" for name, text in texts.items() if text))
    if arguments.copy:
        chosen = arguments.form or "jobs"
        print(f"copied the form {chosen} ({copy(texts[chosen])})", file=sys.stderr)
    return 0


def _hardware(arguments: argparse.Namespace) -> int:
    from jobshelf.hardware import advice_text, find_hardware, hardware_json, hardware_text

    found = find_hardware()
    if arguments.refresh:
        return _refresh_hardware(found)
    found = found.with_at_least(ram_gb=arguments.ram, vram_gb=arguments.vram)
    say = hardware_json if arguments.json else advice_text if arguments.advice else hardware_text
    print(say(found), end="")
    return 0


def _refresh_hardware(hardware: Hardware) -> int:
    from datetime import UTC, datetime

    from jobshelf.hardware import SCRIPT, refreshed
    from jobshelf.shelf import own_shelf

    path = own_shelf().catalog / SCRIPT
    if not path.is_file():
        raise UsageError(f"there is no {path}", fix="run it in a checkout of the project")
    path.write_text(refreshed(path.read_text("utf-8"), hardware, datetime.now(UTC).date()), encoding="utf-8")
    print(f"wrote {len(hardware.flavors)} machines to {path}\nnext: jobshelf index")
    return 0


def _estimate(arguments: argparse.Namespace) -> int:
    from jobshelf.index import shelf_with
    from jobshelf.jobs import find_target, run

    return run(find_target("estimate-cost", *shelf_with("estimate-cost")), arguments.script_arguments)


def _run(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs import read_target, run
    from jobshelf.launch import Launch, parse_env

    target = _target(arguments)
    if target.local is None and target.url is not None:
        target = read_target(target, _client_if_any())
    asked = Launch(env=parse_env(arguments.env), dependencies=tuple(arguments.dependencies), python=arguments.python)
    return run(target, arguments.script_arguments, asked)


def _target(arguments: argparse.Namespace) -> Target:
    from jobshelf.index import load_index
    from jobshelf.jobs import find_target
    from jobshelf.shelf import find_shelf

    shelf = find_shelf()
    return find_target(arguments.name, shelf, load_index(shelf))


def _asked(arguments: argparse.Namespace) -> Launch:
    """What the flags say of the Job. Raises UsageError for a flag that cannot be meant so."""
    from jobshelf.launch import Launch, parse_env, parse_labels, parse_secret_names

    asked = Launch(
        **{key: getattr(arguments, key) for key in ("image", "flavor", "python", "timeout", "namespace", "attempts")},
        name=arguments.job_name,
        dependencies=tuple(arguments.dependencies),
        env=parse_env(arguments.env),
        secrets=parse_secret_names(arguments.secrets),
        labels=parse_labels(arguments.label),
        volumes=tuple(arguments.volume),
    )
    _ = asked.timeout_seconds
    return asked


def _image(arguments: argparse.Namespace) -> str:
    if arguments.image is None:
        raise UsageError("nothing to start is named", fix="name a script, or give --image IMG -- COMMAND")
    return arguments.image


def _client_if_any() -> HfApi | None:
    from jobshelf.client import open_client
    from jobshelf.errors import TokenError

    try:
        return open_client()
    except TokenError:
        return None


def _submit(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.jobs.start import prepare
    from jobshelf.jobs.submit import receipt, submit

    client = _client_if_any() if arguments.dry_run else open_client()
    target = _target(arguments) if arguments.name else None
    cap = None if arguments.shards else arguments.max_cost
    if arguments.shards and arguments.detach:
        message = "--shards stays until every shard is done: it starts, retries and checks them"
        raise UsageError(
            message, fix="leave --detach out; Ctrl-C leaves the Jobs running, and the same command goes on"
        )
    helpers = {} if arguments.no_estimate or arguments.shards else _estimators()
    words, asked = arguments.script_arguments, _asked(arguments)
    prepared = prepare(target, words, asked, client, max_cost=cap, helpers=helpers)
    for note in prepared.notes:
        print(f"note: {note}", file=sys.stderr)
    outlook = prepared.foreseen.outlook
    if arguments.dry_run or client is None or prepared.checked is None:
        cost = f"machine   {prepared.checked.cost}" if prepared.checked else ""
        expected = f"expected  {outlook}" if outlook else ""
        print("\n".join(line for line in (str(prepared.order), cost, expected) if line))
        return 0
    if arguments.shards is not None:
        return _submit_shards(arguments, prepared, client)
    job = submit(prepared.order, prepared.checked, client)
    print(receipt(job, prepared.checked, outlook), flush=True)
    return _follow(job, client) if arguments.follow else 0


def _estimators() -> dict[str, Path]:
    """The scripts that say what to expect of a Job."""
    from jobshelf.index import shelf_with

    names = ("estimate-cost", "dataset-inspector")
    shelf, index = shelf_with(*names)
    return {name: shelf.catalog / index.find(name).file for name in names}


def _follow(job: JobInfo, client: HfApi) -> int:
    from jobshelf.jobs.follow import exit_code, follow, how_it_ended

    where = f"{job.owner.name}/{job.id}"
    try:
        over = follow(job, client)
    except KeyboardInterrupt:
        print(f"the Job runs on: hf jobs logs --follow {where}; to end it: hf jobs cancel {where}", file=sys.stderr)
        return INTERRUPTED
    print(how_it_ended(over), file=sys.stderr)
    return exit_code(over)


def _submit_shards(arguments: argparse.Namespace, prepared: Prepared, client: HfApi) -> int:
    from jobshelf.jobs.order import send_files
    from jobshelf.jobs.shards import ATTEMPTS, RUN_LABEL, ShardRun, check_loads, require_whole
    from jobshelf.jobs.start import for_shards

    attempts = arguments.attempts or ATTEMPTS
    prepared, output = for_shards(prepared)
    run = ShardRun(
        send_files(prepared.order, client, prepared.checked.namespace),
        output,
        arguments.shards,
        prepared.checked.cost,
        client,
        concurrency=arguments.concurrency,
        attempts=attempts,
        max_cost=arguments.max_cost,
        watch=_show_tally,
    )
    label = f"{RUN_LABEL}={run.key}"
    print(f"{prepared.checked.cost} a shard\nlist     hf jobs ps --all --label {label}", file=sys.stderr)
    try:
        outcome = run.run()
    except KeyboardInterrupt:
        print("\nthe Jobs run on. Run the same command again to go on with them, or end them:", file=sys.stderr)
        print(f"  jobshelf jobs cancel --label {label}", file=sys.stderr)
        return INTERRUPTED
    require_whole(outcome, output)
    whole = check_loads(output, client)
    print(f"{output}: {whole['rows']:,} rows in {whole['parts']:,} parts; {outcome.started} Jobs, ${outcome.spent:.2f}")
    return 0


def _show_tally(tally: Tally) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{tally}", end="" if tally.running or tally.waiting else "\n", file=sys.stderr, flush=True)
    else:
        print(tally, file=sys.stderr, flush=True)


def _account(arguments: argparse.Namespace) -> tuple[HfApi, str]:
    """The client, and the namespace that is meant: the one that a flag names, else the user's own."""
    from jobshelf.client import explained, open_client

    client = open_client()
    if getattr(arguments, "namespace", None):
        return client, arguments.namespace
    with explained(client):
        return client, client.whoami(cache=True)["name"]


def _print_rows(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = [titles, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
    for row in table:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _same_as(*words: str) -> None:
    """Say what does the same without this tool."""
    import shlex

    print(f"same as: {shlex.join(words)}", file=sys.stderr)


def _chosen(arguments: argparse.Namespace, client: HfApi, own: str, stages: tuple[str, ...]) -> list[JobId]:
    """The Jobs that ids name, or those in one of `stages` with the labels given."""
    from jobshelf.jobs.monitor import JobId, list_jobs, parse_job_id
    from jobshelf.launch import parse_labels

    labels = parse_labels(getattr(arguments, "label", ()))
    if bool(arguments.ids) == bool(labels):
        raise UsageError("name Jobs by id or by --label", fix=f"jobshelf jobs {arguments.action} --help")
    if arguments.ids:
        return [parse_job_id(given, own) for given in arguments.ids]
    return [JobId(namespace=own, id=job.id) for job in list_jobs(client, own, stages=stages, labels=labels)]


def _jobs_list(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.monitor import LIVE, STAGES, list_jobs, row
    from jobshelf.launch import parse_labels

    stages = tuple(stage.upper() for stage in arguments.status)
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise UsageError(f"there is no status {unknown[0]}", fix=f"name one of {', '.join(STAGES)}")
    client, own = _account(arguments)
    labels = parse_labels(arguments.label)
    found = list_jobs(client, own, stages=stages or (() if arguments.all else LIVE), labels=labels)
    _print_rows(("ID", "STATUS", "MACHINE", "RAN", "NAME"), map(row, found))
    filters = [word for label in arguments.label for word in ("--label", label)]
    filters += [word for stage in stages for word in ("--status", stage)]
    _same_as("hf", "jobs", "ps", *(["--all"] if arguments.all else []), *filters)
    return 0


def _jobs_inspect(arguments: argparse.Namespace) -> int:
    import json

    from jobshelf.jobs.monitor import details, inspect

    client, own = _account(arguments)
    chosen = _chosen(arguments, client, own, ())
    print(json.dumps([details(inspect(client, job_id)) for job_id in chosen], indent=2, ensure_ascii=False))
    _same_as("hf", "jobs", "inspect", *map(str, chosen))
    return 0


def _jobs_logs(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.monitor import inspect, read_log

    client, own = _account(arguments)
    (job_id,) = _chosen(arguments, client, own, ())
    if arguments.follow:
        _same_as("hf", "jobs", "logs", "--follow", str(job_id))
        return _follow(inspect(client, job_id), client)
    tail = ["--tail", str(arguments.tail)] if arguments.tail else []
    print("".join(f"{line}\n" for line in read_log(client, job_id, tail=arguments.tail)), end="", flush=True)
    _same_as("hf", "jobs", "logs", *tail, str(job_id))
    return 0


def _jobs_cancel(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.monitor import LIVE, cancel

    client, own = _account(arguments)
    chosen = _chosen(arguments, client, own, LIVE)
    for job_id in chosen:
        cancel(client, job_id)
        print(f"canceled {job_id}")
        _same_as("hf", "jobs", "cancel", str(job_id))
    if not chosen:
        print("no Job with that label is running", file=sys.stderr)
    return 0


def _jobs_wait(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.follow import exit_code
    from jobshelf.jobs.monitor import STAGES, wait

    client, own = _account(arguments)
    chosen = _chosen(arguments, client, own, STAGES)
    _same_as("hf", "jobs", "wait", *map(str, chosen))
    worst = 0
    for ended in wait(client, chosen):
        why = f" ({ended.job.status.message})" if ended.job and ended.job.status.message else ""
        print(f"{ended.id}  {ended.stage}{why}", flush=True)
        worst = max(worst, exit_code(ended.job) if ended.job else 1)
    return worst


def _schedule_add(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.forms import docker_forms, scheduled
    from jobshelf.jobs import command
    from jobshelf.jobs.schedules import create, next_start
    from jobshelf.jobs.start import prepare

    *named, when = arguments.words
    if len(named) > 1 or (not named and arguments.image is None):
        raise UsageError("a schedule takes a script and a time", fix='jobshelf schedule NAME "@daily" -- ARGUMENTS')
    arguments.name = named[0] if named else None
    following = f"{next_start(when):%Y-%m-%d %H:%M} UTC"
    asked, words = _asked(arguments), arguments.script_arguments
    client = _client_if_any() if arguments.dry_run else open_client()
    prepared = prepare(_target(arguments) if named else None, words, asked, client)
    for note in prepared.notes:
        print(f"note: {note}", file=sys.stderr)
    if arguments.dry_run or client is None or prepared.checked is None:
        plain = (
            command(prepared.target, words, asked) if prepared.target else docker_forms(_image(arguments), words, asked)
        )
        texts = {name: form["text"] for name, form in scheduled(plain, when).to_json().items() if name != "local"}
        print("\n\n".join(f"# {name}\n{text}" for name, text in texts.items()))
        print(f"\nnext start {following}")
        return 0
    made = create(
        prepared.order, when, prepared.checked, client, suspend=arguments.suspend, concurrent=arguments.concurrent
    )
    where = f"{made.owner.name}/{made.id}"
    print(f"schedule {made.id}\nstarts   {'when it is resumed' if arguments.suspend else following}")
    print(f"machine  {prepared.checked.cost}, each time")
    print(f"status   hf jobs scheduled inspect {where}\ndelete   hf jobs scheduled delete {where}")
    return 0


def _schedule_list(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.schedules import list_all, row

    client, own = _account(arguments)
    _print_rows(("ID", "SCHEDULE", "NEXT", "LAST JOB", "NAME"), map(row, list_all(client, own)))
    _same_as("hf", "jobs", "scheduled", "ps", "--all")
    return 0


def _schedule_inspect(arguments: argparse.Namespace) -> int:
    import json

    from jobshelf.jobs.schedules import details, inspect

    client, own = _account(arguments)
    found = [details(inspect(client, own, schedule_id)) for schedule_id in arguments.ids]
    print(json.dumps(found, indent=2, ensure_ascii=False))
    _same_as("hf", "jobs", "scheduled", "inspect", *arguments.ids)
    return 0


def _schedule_change(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs import schedules

    client, own = _account(arguments)
    change = {"suspend": schedules.suspend, "resume": schedules.resume, "delete": schedules.delete}[arguments.action]
    done = {"suspend": "suspended", "resume": "resumed", "delete": "deleted"}[arguments.action]
    for schedule_id in arguments.ids:
        change(client, own, schedule_id)
        print(f"{done} {schedule_id}")
        _same_as("hf", "jobs", "scheduled", arguments.action, schedule_id)
    return 0


def _webhook_add(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.jobs.start import prepare
    from jobshelf.jobs.webhooks import create, find_trigger, row

    client = open_client()
    trigger = find_trigger(arguments.on, arguments.domains, client)
    target = _target(arguments) if arguments.name else None
    prepared = prepare(target, arguments.script_arguments, _asked(arguments), client)
    for note in prepared.notes:
        print(f"note: {note}", file=sys.stderr)
    outputs = prepared.roles.outputs
    made = create(prepared.order, trigger, prepared.checked, client, outputs=outputs, secret_from=arguments.secret_from)
    print(
        "\n".join(
            f"{key:<8} {value}" for key, value in zip(("webhook", "on", "events", "starts"), row(made), strict=True)
        )
    )
    print(f"machine  {prepared.checked.cost}, each time\ndelete   jobshelf webhook delete {made.id}")
    return 0


def _webhook_list(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.webhooks import list_all, row

    client, _ = _account(arguments)
    _print_rows(("ID", "WATCHES", "EVENTS", "STARTS"), map(row, list_all(client)))
    _same_as("hf", "webhooks", "ls")
    return 0


def _webhook_delete(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.webhooks import delete

    client, _ = _account(arguments)
    for webhook_id in arguments.ids:
        delete(client, webhook_id)
        print(f"deleted {webhook_id}")
        _same_as("hf", "webhooks", "delete", webhook_id)
    return 0


def _index(arguments: argparse.Namespace) -> int:
    from jobshelf.derive import check_derived, has_derived, write_derived
    from jobshelf.index import check_index, load_index, write_index
    from jobshelf.shelf import own_shelf

    shelf = own_shelf()
    if arguments.check:
        index = check_index(shelf)
        check_derived(shelf, index)
        print(f"{shelf.index_file.name} is what the catalogue says ({len(index.entries)} scripts)")
        return 0
    built = write_index(shelf)
    written = write_derived(shelf, load_index(shelf)) if has_derived(shelf) else ()
    print("\n".join([f"wrote {shelf.index_file.name}: {built.count} scripts", *built.notes]))
    print("".join(f"wrote {path.relative_to(shelf.root).as_posix()}\n" for path in written), end="")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.publish import changes_of, preview, preview_page, publish, publish_page, to_text
    from jobshelf.shelf import own_shelf

    shelf, client = own_shelf(), open_client()
    wish = {key: getattr(arguments, key) for key in ("repo", "release", "prune", "repair", "private", "create_pr")}
    space = _space(shelf) if arguments.space is True else arguments.space
    if arguments.dry_run:
        step = preview(shelf, client, **wish)
        print(to_text(changes_of(step, client)) or "unchanged\n", end="")
        _print_kept(step.kept)
        if space:
            page = to_text(changes_of(preview_page(client, step, space), client)) or "unchanged\n"
            print(f"{client.endpoint}/spaces/{space}:\n{page}", end="")
        return 0
    done = publish(shelf, client, **wish)
    where = done.pull_request or f"{client.endpoint}/datasets/{done.repo}"
    counts = f"published {len(done.written)} files to" + (
        f" and removed {len(done.removed)} from" if done.removed else ""
    )
    what = counts if done.written or done.removed else "unchanged:"
    print(f"{what} {where} at {done.commit[:12]}" + (f", tagged {done.tag}" if done.tag else ""))
    _print_kept(done.kept)
    if space:
        page = publish_page(client, done.repo, space, private=arguments.private)
        print(f"{f'published {len(page.written)} files to' if page.written else 'unchanged:'} {page.page}")
    return 0


def _space(shelf: Shelf) -> str:
    if shelf.space is None:
        message = f"{shelf.root / 'pyproject.toml'} names no Space in [tool.jobshelf.shelf]"
        raise UsageError(message, fix=f"jobshelf publish --space {shelf.dataset}")
    return shelf.space


def _verify(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.publish import verify
    from jobshelf.shelf import own_shelf

    repo = arguments.repo or own_shelf().dataset
    seen = verify(open_client(token_needed=False), repo)
    for finding in seen.findings:
        print(finding)
    for path in seen.foreign:
        print(f"foreign: {path} (no shelf published it; left alone)")
    verdict = f"{len(seen.findings)} findings" if seen.findings else "as the index says"
    counts = f"{seen.files} files, {seen.urls} URLs, {len(seen.tags)} tags"
    print(f"{seen.repo} at {seen.commit[:12]}: {counts}: {verdict}. Pinned: {seen.page}/resolve/{seen.commit}/")
    return 1 if seen.findings else 0


def _rollback(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.publish import rollback
    from jobshelf.shelf import own_shelf

    repo = arguments.repo or own_shelf().dataset
    client = open_client()
    done = rollback(client, repo, arguments.tag)
    where = f"{client.endpoint}/datasets/{done.repo} at {done.commit[:12]}"
    if not (done.written or done.removed):
        print(f"unchanged: {where} is as at {done.tag}")
        return 0
    print(f"rolled back {where} to {done.tag}")
    print(
        "".join([*(f"wrote {path}\n" for path in done.written), *(f"removed {path}\n" for path in done.removed)]),
        end="",
    )
    print("A catalogue that still holds later versions brings them back with its next publish: mend it there too.")
    return 0


def _print_kept(kept: dict[str, str]) -> None:
    for name, reason in sorted(kept.items()):
        print(f"kept {name} as it is there: {reason}")


def _hub(arguments: argparse.Namespace) -> int:
    from jobshelf.host import host
    from jobshelf.shelf import find_shelf

    organisation = find_shelf().dataset.partition("/")[0]
    host(arguments.root, port=arguments.port, organisation=organisation, tls=arguments.tls)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from jobshelf.demo import demo

    demo(keep=arguments.keep)
    return 0
