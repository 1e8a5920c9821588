"""Run scripts on a schedule."""

from __future__ import annotations

import argparse
import sys

from jobshelf.cli.options import (
    add_job_options,
    asked_launch,
    client_if_any,
    find_named,
    image_of,
    open_account,
)
from jobshelf.cli.parser import Verbs
from jobshelf.cli.printing import print_rows, say, say_json, say_same_as
from jobshelf.errors import UsageError

ACTIONS = ("add", "list", "inspect", "suspend", "resume", "delete")


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module."""
    example = 'jobshelf schedule finepdfs-stats "@daily" -- --limit 10000 --output-repo me/stats'
    schedule = verbs.add("schedule", _schedule_add, "run a script on a schedule", example=example)
    actions = Verbs(schedule, "action")
    add = actions.add(
        "add", _schedule_add, "schedule a script, or with --image a command", example=example, script_arguments=True
    )
    add.add_argument(
        "words", metavar="NAME WHEN", nargs="+", help='script, and "@daily", "@hourly" or a cron expression'
    )
    add.add_argument("--suspend", action="store_true", help="create it suspended")
    add.add_argument("--concurrent", action="store_true", help="start even while the previous Job is running")
    add.add_argument("--dry-run", action="store_true", help="print the commands and the next start, create nothing")
    add_job_options(add)
    list_ = actions.add("list", _schedule_list, "list schedules", example="jobshelf schedule list")
    list_.add_argument("--namespace", help="user or organization (default: you)")
    for name, command, summary in (
        ("inspect", _schedule_inspect, "print schedules as JSON"),
        ("suspend", _schedule_change, "suspend schedules"),
        ("resume", _schedule_change, "resume suspended schedules"),
        ("delete", _schedule_change, "delete schedules; Jobs already started keep running"),
    ):
        parser = actions.add(name, command, summary, example=f"jobshelf schedule {name} ID")
        parser.add_argument("ids", metavar="ID", nargs="+", help="id of a schedule")
        parser.add_argument("--namespace", help="user or organization (default: you)")


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
    asked, words = asked_launch(arguments), arguments.script_arguments
    client = client_if_any() if arguments.dry_run else open_client()
    prepared = prepare(find_named(arguments) if named else None, words, asked, client)
    for note in prepared.notes:
        say(f"note: {note}", file=sys.stderr)
    if arguments.dry_run or client is None or prepared.checked is None:
        plain = (
            command(prepared.target, words, asked)
            if prepared.target
            else docker_forms(image_of(arguments), words, asked)
        )
        texts = {name: form["text"] for name, form in scheduled(plain, when).to_json().items() if name != "local"}
        say("\n\n".join(f"# {name}\n{text}" for name, text in texts.items()))
        say(f"\nnext start {following}")
        return 0
    made = create(
        prepared.order, when, prepared.checked, client, suspend=arguments.suspend, concurrent=arguments.concurrent
    )
    where = f"{made.owner.name}/{made.id}"
    say(f"schedule {made.id}\nstarts   {'when it is resumed' if arguments.suspend else following}")
    say(f"machine  {prepared.checked.cost}, each time")
    say(f"status   hf jobs scheduled inspect {where}\ndelete   hf jobs scheduled delete {where}")
    return 0


def _schedule_list(arguments: argparse.Namespace) -> int:
    from jobshelf.client import explained
    from jobshelf.jobs.schedules import list_all, row

    client, own = open_account(arguments)
    with explained(client):
        print_rows(("ID", "SCHEDULE", "NEXT", "LAST JOB", "NAME"), map(row, list_all(client, own)))
    say_same_as("hf", "jobs", "scheduled", "ps", "--all")
    return 0


def _schedule_inspect(arguments: argparse.Namespace) -> int:
    from jobshelf.client import explained
    from jobshelf.jobs.schedules import details, inspect

    client, own = open_account(arguments)
    with explained(client):
        say_json([details(inspect(client, own, schedule_id)) for schedule_id in arguments.ids])
    say_same_as("hf", "jobs", "scheduled", "inspect", *arguments.ids)
    return 0


def _schedule_change(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs import schedules

    client, own = open_account(arguments)
    change = {"suspend": schedules.suspend, "resume": schedules.resume, "delete": schedules.delete}[arguments.action]
    done = {"suspend": "suspended", "resume": "resumed", "delete": "deleted"}[arguments.action]
    for schedule_id in arguments.ids:
        change(client, own, schedule_id)
        say(f"{done} {schedule_id}")
        say_same_as("hf", "jobs", "scheduled", arguments.action, schedule_id)
    return 0
