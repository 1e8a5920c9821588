"""The options of a Job, which several verbs take, and what a command line names."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jobshelf.cli.parser import count
from jobshelf.errors import UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from jobshelf.jobs import Target
    from jobshelf.launch import Launch

TARGET = "script of the shelf, URL, file, or - for standard input"


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that override the script's own [tool.hf-jobs] table."""
    group = parser.add_argument_group("options of the Job (override the script's [tool.hf-jobs] table)")
    group.add_argument("--flavor", help="machine; `jobshelf hardware` lists them")
    group.add_argument("--timeout", help="stop the Job after this time: 300, 90m, 2h, 1.5h, 1d")
    group.add_argument("--image", help="Docker image, or hf.co/spaces/owner/name")
    group.add_argument("--python", metavar="VERSION", help="Python to run the script with")
    group.add_argument(
        "--with", metavar="PACKAGE", dest="dependencies", action="append", default=[], help="add a dependency"
    )
    group.add_argument("--env", metavar="K=V", action="append", default=[], help="set a variable (visible to everyone)")
    group.add_argument(
        "--secrets", metavar="NAME", action="append", default=[], help="pass a variable of this shell as a secret"
    )
    group.add_argument(
        "--volume", metavar="SPEC", action="append", default=[], help="mount hf://... or a folder: SOURCE:/MOUNT[:ro]"
    )
    group.add_argument("--label", metavar="K=V", action="append", default=[], help="label the Job")
    group.add_argument("--name", metavar="TEXT", dest="job_name", help="name the Job")
    group.add_argument("--namespace", help="user or organization that pays")
    group.add_argument("--attempts", metavar="N", type=count, help="try up to N times (default: 1; 3 for each shard)")


def asked_launch(arguments: argparse.Namespace) -> Launch:
    """Return what the options ask of the Job. Raises UsageError for a value that is not valid."""
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


def find_named(arguments: argparse.Namespace) -> Target:
    """Return the script that the command line names. Raises what `find_target` raises."""
    from jobshelf.index import load_index
    from jobshelf.jobs import find_target
    from jobshelf.shelf import find_shelf

    shelf = find_shelf()
    return find_target(arguments.name, shelf, load_index(shelf))


def image_of(arguments: argparse.Namespace) -> str:
    """Return the image of a Docker Job. Raises UsageError when there is neither script nor image."""
    if arguments.image is None:
        raise UsageError("no script or image given", fix="name a script, or give --image IMG -- COMMAND")
    return arguments.image


def client_if_any() -> HfApi | None:
    """Return a client with the user's token, None when not logged in."""
    from jobshelf.client import open_client
    from jobshelf.errors import TokenError

    try:
        return open_client()
    except TokenError:
        return None


def open_account(arguments: argparse.Namespace) -> tuple[HfApi, str]:
    """Return a client, and the namespace that --namespace names, by default the user's own."""
    from jobshelf.client import explained, open_client

    client = open_client()
    if getattr(arguments, "namespace", None):
        return client, arguments.namespace
    with explained(client):
        name = client.whoami(cache=True)["name"]
        if not isinstance(name, str):
            raise TypeError(f"the user's name is {name!r}")
    return client, name
