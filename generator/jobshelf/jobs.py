"""Start a script: here through `uv run`, or as a Job with everything that its launch table asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobshelf.client import LOG_IN, endpoint, explained
from jobshelf.errors import EnvironmentFault, InputError, TokenError
from jobshelf.forms import Forms, forms, script_url
from jobshelf.index import Entry, Index
from jobshelf.script import read_script
from jobshelf.shelf import Shelf

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A script that can be started: on this machine, at a URL, or both; and the launch table that goes with it."""

    name: str
    url: str | None
    local: Path | None
    launch: Mapping[str, Any]
    example: tuple[str, ...]


def find_target(name: str, shelf: Shelf, index: Index) -> Target:
    """Return what `name` stands for: a script of the shelf, a file, or a URL (whose launch table is not read).

    Raises UsageError for an unknown name, InputError or ScriptError for a file that is no script.
    """
    if "://" in name:
        return Target(name=name.rpartition("/")[2], url=name, local=None, launch={}, example=())
    if "/" in name or (name.endswith(".py") and Path(name).is_file()):
        script = read_script(Path(name))
        launch = script.require().tool("hf-jobs")
        return Target(name=script.name, url=None, local=Path(name), launch=launch, example=())
    return _from_shelf(index.find(name), shelf)


def command(target: Target, arguments: Sequence[str]) -> Forms:
    """Return the forms that start `target`; without `arguments`, those of the script's own example."""
    return forms(target.url or str(target.local), target.launch, tuple(arguments) or target.example)


def run(target: Target, arguments: Sequence[str]) -> int:
    """Run the script here with `uv run`, with the environment that its launch table names; return its exit code.

    Raises EnvironmentFault when uv is not there.
    """
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise EnvironmentFault("uv is not installed", fix="pip install uv")
    source = str(target.local or target.url)
    environment = {**target.launch.get("env", {}), **os.environ}
    return subprocess.run([uv, "run", source, *arguments], env=environment, check=False).returncode


def submit(target: Target, arguments: Sequence[str], client: HfApi) -> JobInfo:
    """Start the script as a Job and return it. Secrets are taken by name from the login and the environment.

    Raises TokenError when a secret is not set here, and what `explained` raises.
    """
    if target.url is None:
        message = f"{target.local} is a file of this machine, which a Job cannot see"
        raise InputError(message, fix=f"hf jobs uv run {target.local} uploads it")
    launch = dict(target.launch)
    secrets = {name: _secret(name, client) for name in launch.pop("secrets", ())}
    known = {key: launch[key] for key in ("image", "env", "flavor", "python", "timeout", "labels") if key in launch}
    with explained(client):
        return client.run_uv_job(target.url, script_args=list(arguments), secrets=secrets or None, **known)


def follow(job: JobInfo, client: HfApi) -> str:
    """Print the Job's log lines as they come; return the stage it ends in (`COMPLETED`, `ERROR`, `CANCELED`)."""
    with explained(client):
        for line in client.fetch_job_logs(job_id=job.id, namespace=job.owner.name, follow=True):
            print(line, flush=True)
        return str(client.inspect_job(job_id=job.id, namespace=job.owner.name).status.stage)


def _from_shelf(entry: Entry, shelf: Shelf) -> Target:
    return Target(
        name=entry.id,
        url=script_url(shelf.dataset, entry.file, endpoint=endpoint()),
        local=shelf.catalog / entry.file,
        launch=entry.launch,
        example=entry.arguments,
    )


def _secret(name: str, client: HfApi) -> str:
    value = client.token if name == "HF_TOKEN" else os.environ.get(name)
    if not value:
        fix = LOG_IN if name == "HF_TOKEN" else f"export {name}=..."
        raise TokenError(f"the script needs the secret {name}, which is not set here", fix=fix)
    return str(value)
