"""Run a script on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from jobshelf.errors import EnvironmentFault
from jobshelf.jobs.target import Target
from jobshelf.launch import Launch


def run(target: Target, arguments: Sequence[str], asked: Launch | None = None) -> int:
    """Run the script here with `uv run`, with the environment that its launch table names; return its exit code.

    What is set in this environment already wins over the table, and what was `asked` for over both. Raises
    EnvironmentFault when uv is not there.
    """
    launch = asked or Launch()
    environment = {**target.launch.get("env", {}), **os.environ, **launch.env}
    flags = [word for dependency in launch.dependencies for word in ("--with", dependency)]
    flags += ["--python", launch.python] if launch.python else []
    carried = target.data if target.local is None and target.url is None else None
    source = "-" if carried is not None else str(target.local or target.url)
    words = [uv_program(), "run", *flags, source, *arguments]
    return subprocess.run(words, env=environment, input=carried, check=False).returncode


def uv_program() -> str:
    """Return the uv that started this process, else the one on the PATH. Raises EnvironmentFault when there is none."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise EnvironmentFault("uv is not installed", fix="pip install uv")
    return uv
