"""Look after Jobs: list, inspect, logs, cancel, wait."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from jobshelf.cli.options import open_account
from jobshelf.cli.parser import Verbs, count
from jobshelf.cli.printing import follow_job, print_rows, say, say_json, say_same_as
from jobshelf.errors import UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from jobshelf.jobs.monitor import JobId


def add_to(verbs: Verbs) -> None:
    """Add the verb of this module."""
    jobs = verbs.add("jobs", _jobs_list, "list, follow, cancel or wait for Jobs", example="jobshelf jobs list")
    actions = Verbs(jobs, "action")
    list_ = actions.add("list", _jobs_list, "list Jobs, newest first", example="jobshelf jobs list --all")
    list_.add_argument("--all", action="store_true", help="include finished Jobs")
    list_.add_argument("--status", metavar="STAGE", action="append", default=[], help="RUNNING, COMPLETED, ERROR ...")
    inspect = actions.add("inspect", _jobs_inspect, "print Jobs as JSON", example="jobshelf jobs inspect ID")
    logs = actions.add("logs", _jobs_logs, "print the log of a Job", example="jobshelf jobs logs --follow ID")
    logs.add_argument("ids", metavar="ID", nargs=1, help="id, namespace/id or URL")
    which = logs.add_mutually_exclusive_group()
    which.add_argument("--follow", "-f", action="store_true", help="until the Job ends; exit as it did")
    which.add_argument("--tail", metavar="N", type=count, help="only the last N lines")
    cancel = actions.add("cancel", _jobs_cancel, "cancel Jobs", example="jobshelf jobs cancel ID")
    wait = actions.add("wait", _jobs_wait, "wait for Jobs; exit as the worst of them", example="jobshelf jobs wait ID")
    for parser in (cancel, wait):
        parser.add_argument("ids", metavar="ID", nargs="*", help="id, namespace/id or URL")
    inspect.add_argument("ids", metavar="ID", nargs="+", help="id, namespace/id or URL")
    for parser in (list_, cancel, wait):
        parser.add_argument("--label", metavar="K=V", action="append", default=[], help="only Jobs with this label")
    for parser in (list_, inspect, logs, cancel, wait):
        parser.add_argument("--namespace", help="user or organization (default: you)")


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
    from jobshelf.client import explained
    from jobshelf.jobs.monitor import LIVE, STAGES, list_jobs, row
    from jobshelf.launch import parse_labels

    stages = tuple(stage.upper() for stage in arguments.status)
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise UsageError(f"there is no status {unknown[0]}", fix=f"name one of {', '.join(STAGES)}")
    client, own = open_account(arguments)
    labels = parse_labels(arguments.label)
    found = list_jobs(client, own, stages=stages or (() if arguments.all else LIVE), labels=labels)
    with explained(client):
        print_rows(("ID", "STATUS", "MACHINE", "RAN", "NAME"), map(row, found))
    filters = [word for label in arguments.label for word in ("--label", label)]
    filters += [word for stage in stages for word in ("--status", stage)]
    say_same_as("hf", "jobs", "ps", *(["--all"] if arguments.all else []), *filters)
    return 0


def _jobs_inspect(arguments: argparse.Namespace) -> int:

    from jobshelf.client import explained
    from jobshelf.jobs.monitor import details, inspect

    client, own = open_account(arguments)
    chosen = _chosen(arguments, client, own, ())
    with explained(client):
        say_json([details(inspect(client, job_id)) for job_id in chosen])
    say_same_as("hf", "jobs", "inspect", *map(str, chosen))
    return 0


def _jobs_logs(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.follow import log_text
    from jobshelf.jobs.monitor import inspect, read_log

    client, own = open_account(arguments)
    (job_id,) = _chosen(arguments, client, own, ())
    if arguments.follow:
        say_same_as("hf", "jobs", "logs", "--follow", str(job_id))
        return follow_job(inspect(client, job_id), client)
    tail = ["--tail", str(arguments.tail)] if arguments.tail else []
    say("".join(f"{log_text(line)}\n" for line in read_log(client, job_id, tail=arguments.tail)), end="", flush=True)
    say_same_as("hf", "jobs", "logs", *tail, str(job_id))
    return 0


def _jobs_cancel(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.monitor import LIVE, cancel

    client, own = open_account(arguments)
    chosen = _chosen(arguments, client, own, LIVE)
    for job_id in chosen:
        cancel(client, job_id)
        say(f"canceled {job_id}")
        say_same_as("hf", "jobs", "cancel", str(job_id))
    if not chosen:
        say("no Job with that label is running", file=sys.stderr)
    return 0


def _jobs_wait(arguments: argparse.Namespace) -> int:
    from jobshelf.jobs.follow import exit_code
    from jobshelf.jobs.monitor import STAGES, wait

    client, own = open_account(arguments)
    chosen = _chosen(arguments, client, own, STAGES)
    say_same_as("hf", "jobs", "wait", *map(str, chosen))
    worst = 0
    for ended in wait(client, chosen):
        why = f" ({ended.job.status.message})" if ended.job and ended.job.status.message else ""
        say(f"{ended.id}  {ended.stage}{why}", flush=True)
        worst = max(worst, exit_code(ended.job) if ended.job else 1)
    return worst
