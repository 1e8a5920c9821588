"""Run scripts here or as Jobs: run, submit, command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobshelf.cli.options import TARGET, add_job_options, asked_launch, client_if_any, find_named, image_of
from jobshelf.cli.parser import Verbs, count, dollars
from jobshelf.cli.printing import INTERRUPTED, follow_job, say
from jobshelf.errors import UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from jobshelf.jobs.shards import Tally
    from jobshelf.jobs.start import Prepared

FORMS = ("local", "jobs", "python", "mcp")


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    run = verbs.add(
        "run",
        _run,
        "run a script on this machine",
        example="jobshelf run dataset-inspector -- rows.jsonl",
        script_arguments=True,
    )
    run.add_argument("name", metavar="NAME", help=TARGET)
    run.add_argument(
        "--with", metavar="PACKAGE", dest="dependencies", action="append", default=[], help="add a dependency"
    )
    run.add_argument("--python", metavar="VERSION", help="Python to run it with")
    run.add_argument("--env", metavar="K=V", action="append", default=[], help="set a variable")
    _add_submit(verbs)
    form = verbs.add(
        "command",
        _command,
        "print the commands that run a script",
        example="jobshelf command train-sft --form jobs",
        script_arguments=True,
    )
    form.add_argument("name", metavar="NAME", nargs="?", help=f"{TARGET}; none with --image for a Docker Job")
    form.add_argument("--form", choices=FORMS, help="print only this form")
    form.add_argument("--copy", action="store_true", help="copy it to the clipboard (default: the form jobs)")
    form.add_argument("--pin", action="store_true", help="use the URL of the current commit, which never changes")
    add_job_options(form)


def _add_submit(verbs: Verbs) -> None:
    submit = verbs.add(
        "submit",
        _submit,
        "run a script as a Hugging Face Job",
        example="jobshelf submit train-sft --follow -- trl-lib/Capybara me/model --model Qwen/Qwen3-0.6B",
        script_arguments=True,
    )
    submit.add_argument("name", metavar="NAME", nargs="?", help=f"{TARGET}; none with --image for a Docker Job")
    ending = submit.add_mutually_exclusive_group()
    ending.add_argument("--follow", action="store_true", help="print the log until the Job ends; exit as it did")
    ending.add_argument("--detach", action="store_true", help="return when the Job has started (default)")
    submit.add_argument("--dry-run", action="store_true", help="check and print the Job, start nothing")
    submit.add_argument("--no-estimate", action="store_true", help="skip the estimate and the check of the rows")
    submit.add_argument("--max-cost", metavar="USD", type=dollars, help="do not start a Job that could cost more")
    submit.add_argument(
        "--shards", metavar="N", type=count, help="split the work over N Jobs and wait; rerun to start missing ones"
    )
    submit.add_argument(
        "--concurrency", metavar="K", type=count, default=16, help="shards that run at the same time (default: 16)"
    )
    add_job_options(submit)


def _run(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs import read_target, run
    from jobshelf.launch import Launch, parse_env

    target = find_named(arguments)
    if target.local is None and target.url is not None:
        target = read_target(target, client_if_any())
    asked = Launch(env=parse_env(arguments.env), dependencies=tuple(arguments.dependencies), python=arguments.python)
    return run(target, arguments.script_arguments, asked)


def _submit(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.jobs.start import prepare
    from jobshelf.jobs.submit import receipt, submit

    client = client_if_any() if arguments.dry_run else open_client()
    target = find_named(arguments) if arguments.name else None
    cap = None if arguments.shards else arguments.max_cost
    if arguments.shards and arguments.detach:
        message = "--shards stays until every shard is done: it starts, retries and checks them"
        raise UsageError(
            message, fix="leave --detach out; Ctrl-C leaves the Jobs running, and the same command goes on"
        )
    helpers = {} if arguments.no_estimate or arguments.shards else _estimators()
    words, asked = arguments.script_arguments, asked_launch(arguments)
    prepared = prepare(target, words, asked, client, max_cost=cap, helpers=helpers)
    for note in prepared.notes:
        say(f"note: {note}", file=sys.stderr)
    outlook = prepared.foreseen.outlook
    if arguments.dry_run or client is None or prepared.checked is None:
        expected = [f"expected  {outlook}"] if outlook else []
        say("\n".join([str(prepared.order), f"machine   {prepared.cost}", *expected]))
        return 0
    if arguments.shards is not None:
        return _submit_shards(arguments, prepared, client)
    job = submit(prepared.order, prepared.checked, client)
    say(receipt(job, prepared.checked, outlook), flush=True)
    return follow_job(job, client) if arguments.follow else 0


def _estimators() -> dict[str, Path]:
    """The scripts that say what to expect of a Job."""
    from jobshelf.index import shelf_with

    names = ("estimate-cost", "dataset-inspector")
    shelf, index = shelf_with(*names)
    return {name: shelf.catalog / index.find(name).file for name in names}


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
    say(f"{prepared.checked.cost} a shard\nlist     hf jobs ps --all --label {label}", file=sys.stderr)
    try:
        outcome = run.run()
    except KeyboardInterrupt:
        say("\nthe Jobs keep running. Run the same command again to resume, or cancel them:", file=sys.stderr)
        say(f"  jobshelf jobs cancel --label {label}", file=sys.stderr)
        return INTERRUPTED
    require_whole(outcome, output)
    whole = check_loads(output, client)
    say(f"{output}: {whole['rows']:,} rows in {whole['parts']:,} parts; {outcome.started} Jobs, ${outcome.spent:.2f}")
    return 0


def _show_tally(tally: Tally) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{tally}", end="" if tally.running or tally.waiting else "\n", file=sys.stderr, flush=True)
    else:
        say(tally, file=sys.stderr, flush=True)


def _command(arguments: argparse.Namespace) -> int:
    from jobshelf.forms import docker_forms
    from jobshelf.jobs import command, pinned, read_local, read_target
    from jobshelf.jobs.arguments import check_arguments
    from jobshelf.jobs.clipboard import copy
    from jobshelf.launch import refuse_tokens

    asked, words = asked_launch(arguments), arguments.script_arguments
    refuse_tokens(words)
    if arguments.name is None:
        if arguments.pin:
            raise UsageError("--pin is for a script that the Hub serves", fix="name the image by its digest")
        made = docker_forms(image_of(arguments), words, asked)
    else:
        target = find_named(arguments)
        # an address is read for its launch table; the shelf's own stand in the index
        if "://" in arguments.name or arguments.pin:
            target = read_target(target, client_if_any())
        if arguments.pin:
            target = pinned(target)
        elif target.commit_url:
            say(f"note: these very bytes stay at {target.commit_url} (--pin)", file=sys.stderr)
        if words and (script := read_local(target).script):
            check_arguments(script, words, named=target.called)
        made = command(target, words, asked)
    texts = {name: form["text"] for name, form in made.to_json().items()}
    for form, note in made.notes:
        if arguments.form in {None, form}:
            say(f"note: {form}: {note}", file=sys.stderr)
    if arguments.form:
        say(texts[arguments.form])
    else:
        say("\n\n".join(f"# {name}\n{text}" for name, text in texts.items() if text))
    if arguments.copy:
        chosen = arguments.form or "jobs"
        say(f"copied the form {chosen} ({copy(texts[chosen])})", file=sys.stderr)
    return 0
