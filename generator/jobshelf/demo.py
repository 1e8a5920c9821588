"""The whole idea in one command: a Hub on loopback, the shelf published to it, scripts run from their URLs, for real.

Every step is a command that a user could type, run as a process of its own; nothing here reaches into the tool.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import EnvironmentFault, NotPersisted
from jobshelf.forms import script_url
from jobshelf.host import announce, make_token
from jobshelf.hub import Account, Hub, serve
from jobshelf.index import Index, shelf_with
from jobshelf.shelf import Shelf

USER = "demo"
INSPECTOR, STATS = "dataset-inspector", "finepdfs-stats"
NEEDED_BYTES = 64 << 20
_BIN = Path(sys.executable).parent
_DATA = Path(__file__).with_name("sample_data.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of the demo: what a user would type, and how many of its last lines are worth showing."""

    title: str
    argv: tuple[str, ...]
    shown: str
    lines: int


def demo(*, keep: bool = False) -> None:
    """Run every step, printing what it did, how long it took and where to look; leave nothing behind.

    With `keep`, the Hub stays up until interrupted. Raises EnvironmentFault when a step fails, NotPersisted when what the
    Job should have left is not on the Hub.
    """
    shelf, index = shelf_with(INSPECTOR, STATS)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jobshelf-demo-") as name:
        folder = Path(name)
        _require_space(folder)
        token = make_token(folder / "token")
        account = Account(name=USER, token=token, orgs=(shelf.dataset.partition("/")[0],))
        with serve(folder / "hub", accounts=(account,)) as hub:
            print(f"An embedded Hub is up at {hub.endpoint} (user '{USER}'; nothing leaves this machine)\n")
            own = _copy(shelf, folder / "shelf")
            steps = _steps(index, hub, folder)
            for number, step in enumerate(steps, start=1):
                _run(step, number, len(steps), own, _environment(hub, folder, token))
            _show_result(hub, token)
            print(
                f"\nDone in {time.monotonic() - began:.0f} s, {len(hub.journal())} requests, no account, no paid machine."
            )
            if keep:
                announce(hub, folder / "token")
                hub.run_forever()


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        message = f"{folder.parent} has {free >> 20} MiB free, the demo needs {NEEDED_BYTES >> 20}"
        raise EnvironmentFault(message, fix="free some, or set TMPDIR to a folder on another disk")


def _copy(shelf: Shelf, folder: Path) -> Path:
    """Copy what is published: the shelf may be the installed one, which nothing is published from."""
    shutil.copytree(shelf.catalog, folder / "catalog", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (shelf.root / "pyproject.toml", shelf.index_file):
        shutil.copy(file, folder)
    return folder


def _steps(index: Index, hub: Hub, folder: Path) -> list[Step]:
    inspector, stats = (
        script_url(index.dataset, index.find(name).file, endpoint=hub.endpoint) for name in (INSPECTOR, STATS)
    )
    data = folder / "data"
    hf, uv = str(_BIN / "hf"), os.environ.get("UV", str(_BIN / "uv"))
    upload = ("upload", "--repo-type", "dataset")
    return [
        _step("Publish the shelf", 1, sys.executable, "-m", "jobshelf", "publish"),
        _step("Make sample data with the columns of real data sets", 0, uv, "run", "--script", str(_DATA), str(data)),
        _step("Upload questions", 1, hf, *upload, f"{USER}/questions", str(data / "questions")),
        _step("Upload documents", 1, hf, *upload, f"{USER}/finepdfs", str(data / "finepdfs")),
        _step("Run a script from its URL, here", 40, uv, "run", inspector, f"{USER}/questions"),
        _step(
            "Run a script from its URL, as a Job",
            8,
            *(hf, "jobs", "uv", "run", "--secrets", "HF_TOKEN", stats, f"{USER}/finepdfs", f"{USER}/finepdfs-stats"),
        ),
    ]


def _step(title: str, lines: int, *argv: str) -> Step:
    program, *rest = argv
    words = ["python" if program == sys.executable else Path(program).name, *rest]
    shown = " ".join(words).replace("python -m jobshelf", "jobshelf")
    return Step(title=title, argv=argv, shown=shown, lines=lines)


def _environment(hub: Hub, folder: Path, token: str) -> dict[str, str]:
    """The environment of a user of this Hub: nothing of the real login, cache or token."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING_FACE"))}
    return inherited | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": token,
        "HF_HOME": str(folder / "hf-home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_COLOR": "1",
    }


def _run(step: Step, number: int, of: int, shelf: Path, environment: dict[str, str]) -> None:
    print(f"[{number}/{of}] {step.title}\n      $ {step.shown}", flush=True)
    began = time.monotonic()
    code, output = _call(step.argv, shelf, environment)
    lines = [line for line in output.splitlines() if line.strip()]
    if code != 0:
        print("\n".join(f"      | {line}" for line in lines[-20:]), flush=True)
        raise EnvironmentFault(f"step {number} ended with exit code {code}", fix="read its output above")
    for line in lines[-step.lines :] if step.lines else ():
        print(f"      | {line}")
    print(f"      {time.monotonic() - began:.1f} s\n", flush=True)


def _call(argv: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a command in `folder`, in a process group of its own, so that an interrupt ends its children too."""
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, output


def _show_result(hub: Hub, token: str) -> None:
    """Read back what the Job persisted, as anybody could, and print its card's first table."""
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session

    repo = f"{USER}/finepdfs-stats"
    client = HfApi(endpoint=hub.endpoint, token=token)
    files = client.list_repo_files(repo, repo_type="dataset")
    url = hf_hub_url(repo, "README.md", repo_type="dataset", endpoint=hub.endpoint)
    card = get_session().get(url, headers=build_hf_headers(token=token)).text
    table = re.search(r"(?:^\|.*\n)+", card, re.MULTILINE)
    if table is None or not any(path.endswith(".parquet") for path in files):
        raise NotPersisted(f"{repo} holds {', '.join(files)}, not the statistics", fix="jobshelf demo --keep, and look")
    print(f"Read back {hub.endpoint}/datasets/{repo}\n      {', '.join(files)}")
    print("\n".join(f"      {line}" for line in table[0].splitlines()[:12]))
