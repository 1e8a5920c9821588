"""Run scripts when a repository changes."""

from __future__ import annotations

import argparse
import sys

from jobshelf.cli.options import add_job_options, asked_launch, find_named, open_account
from jobshelf.cli.parser import Verbs
from jobshelf.cli.printing import print_rows, say, say_same_as

ACTIONS = ("add", "list", "delete")


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module."""
    example = "jobshelf webhook dataset-inspector --on me/data -- me/data"
    webhook = verbs.add("webhook", _webhook_add, "run a script when a repository changes", example=example)
    actions = Verbs(webhook, "action")
    add = actions.add(
        "add", _webhook_add, "watch a repository and run a script on changes", example=example, script_arguments=True
    )
    add.add_argument("name", metavar="NAME", nargs="?", help="script of the shelf, URL or file")
    add.add_argument("--on", metavar="WHAT", required=True, help="user/dataset, models/user/name, user/ or org/")
    add.add_argument("--domains", default="repo", help="repo, discussion, or both separated by a comma (default: repo)")
    add.add_argument("--secret-from", metavar="ENV", help="variable that holds the secret to sign events with")
    add_job_options(add)
    actions.add("list", _webhook_list, "list your webhooks", example="jobshelf webhook list")
    delete = actions.add(
        "delete",
        _webhook_delete,
        "delete webhooks; Jobs already started keep running",
        example="jobshelf webhook delete ID",
    )
    delete.add_argument("ids", metavar="ID", nargs="+", help="id of a webhook")


def _webhook_add(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.jobs.start import prepare
    from jobshelf.jobs.webhooks import create, find_trigger, row

    client = open_client()
    trigger = find_trigger(arguments.on, arguments.domains, client)
    target = find_named(arguments) if arguments.name else None
    prepared = prepare(target, arguments.script_arguments, asked_launch(arguments), client)
    for note in prepared.notes:
        say(f"note: {note}", file=sys.stderr)
    outputs = prepared.roles.outputs
    made = create(prepared.order, trigger, prepared.checked, client, outputs=outputs, secret_from=arguments.secret_from)
    say(
        "\n".join(
            f"{key:<8} {value}" for key, value in zip(("webhook", "on", "events", "starts"), row(made), strict=True)
        )
    )
    say(f"machine  {prepared.checked.cost}, each time\ndelete   jobshelf webhook delete {made.id}")
    return 0


def _webhook_list(arguments: argparse.Namespace) -> int:
    from jobshelf.client import explained
    from jobshelf.jobs.webhooks import list_all, row

    client, _ = open_account(arguments)
    with explained(client):
        print_rows(("ID", "WATCHES", "EVENTS", "STARTS"), map(row, list_all(client)))
    say_same_as("hf", "webhooks", "ls")
    return 0


def _webhook_delete(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.webhooks import delete

    client, _ = open_account(arguments)
    for webhook_id in arguments.ids:
        delete(client, webhook_id)
        say(f"deleted {webhook_id}")
        say_same_as("hf", "webhooks", "delete", webhook_id)
    return 0
