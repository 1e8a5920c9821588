"""Fixtures for every test: rows, a shelf to change, an embedded Hub, and the environment of its user."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import rows
from index import NotHere, cpu_index
from jobshelf.hub import Account, Hub, serve
from jobshelf.shelf import Shelf, find_shelf
from support import BIN, READ_TOKEN, ROOT, TOKEN

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Scripts give other advice in CI and in a Job: the tests are about a person's machine wherever they run.
for name in ("CI", "JOB_ID"):
    os.environ.pop(name, None)
# Before the client is imported: it reads its home once, and must neither see nor change that of whoever runs the tests.
HF_HOME = tempfile.TemporaryDirectory(prefix="jobshelf-tests-")
os.environ |= {"HF_HOME": HF_HOME.name, "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
# A failure that a test plans is seen at once; tests/test_outages.py waits.
os.environ["JOBSHELF_RETRY_SECONDS"] = "0"

# The parts of the heavy lane, each with a budget in .ci/run.
PARTS = ("data", "inference", "training", "gguf", "jobs", "page")

Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_report_header() -> str:
    return "real_rows: generated" if rows.folder() is None else "real_rows: the real files"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a heavy test of no part: .ci/run starts the parts one by one, and would leave it out."""
    for item in items:
        if item.get_closest_marker("heavy") and not any(item.get_closest_marker(part) for part in PARTS):
            raise pytest.UsageError(
                f"{item.path.name}::{item.name} is heavy and of no part; mark it with one of {', '.join(PARTS)}"
            )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded as `record_property("figure", ...)`, from whichever process they ran in."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for name, value in dict.fromkeys(item for report in reports for item in getattr(report, "user_properties", ())):
        if name == "figure":
            terminalreporter.write_line(value)


@pytest.fixture(scope="session")
def real_rows() -> Callable[[str], list[dict[str, Any]]]:
    """`real_rows("gsm8k_test")` and the other names of rows.FILES; assertions must hold for real and generated rows."""
    return rows.rows


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """An embedded Hub with a writer `alice` (member of `jobshelf`) and a read-only `bob`."""
    accounts = (
        Account(name="alice", token=TOKEN, orgs=("jobshelf", "acme")),
        Account(name="bob", token=READ_TOKEN, role="read", orgs=("jobshelf", "acme")),
    )
    with serve(tmp_path / "hub", accounts=accounts) as running:
        yield running


@pytest.fixture
def client(hub: Hub) -> HfApi:
    """The writer's client."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint, token=TOKEN)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's environment with an empty home, no token and no network but the package registry."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING_FACE", "VIRTUAL_ENV"))
    }
    cache = subprocess.run([BIN / "uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    return kept | {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "UV_CACHE_DIR": cache,
        "NO_COLOR": "1",
        "COLUMNS": "120",
        "PATH": f"{BIN}{os.pathsep}{kept['PATH']}",
    }


@pytest.fixture(scope="session")
def cpu_builds() -> Iterator[Mapping[str, str]]:
    """Variables with which scripts get the CPU builds of torch and vLLM: `environment | cpu_builds`."""
    try:
        with cpu_index() as variables:
            yield variables
    except NotHere as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def hollow_shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The shelf with scripts that are hollow: as they are, but for their dependencies, of which there are none.

    They are started as the whole ones are, and uv does not install gigabytes to say what a command line is worth.
    """
    from jobshelf.index import write_index

    root = tmp_path_factory.mktemp("hollow")
    for name in ("catalog", "templates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "records"))
    shutil.copy(ROOT / "pyproject.toml", root)
    shelf = find_shelf(root)
    for path in shelf.scripts():
        text = re.sub(r"(?ms)^# dependencies = \[.*?\]$", "# dependencies = []", path.read_text(), count=1)
        path.write_text(text)
    write_index(shelf)
    return shelf


@pytest.fixture
def hub_environment(environment: dict[str, str], hub: Hub) -> dict[str, str]:
    """The same user, logged in to the embedded Hub as the writer."""
    return environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}


@pytest.fixture
def jobshelf(environment: dict[str, str], tmp_path: Path) -> Run:
    """`jobshelf("list", env=..., cwd=...)`: run the real command in a process of its own."""

    def run(*words: str, env: dict[str, str] | None = None, cwd: Path = ROOT, **options: Any) -> Any:
        argv = [sys.executable, "-m", "jobshelf", *words]
        return subprocess.run(
            argv, env=env or environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options
        )

    return run


SCRIPT = '''\
# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# [tool.hf-jobs]
# flavor = "cpu-basic"
# timeout = "10m"
# [tool.jobshelf]
# version = "{version}"
# title = "{title}"
# task = "other"
# tags = ["test"]
# inputs = []
# outputs = []
# persists = "none"
# token = "none"
# shardable = false
# license = "Apache-2.0"
# aliases = []
# status = "stable"
# rehearse = []
# ///
"""Say {word} on standard output

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/{file} --loud
    hf jobs uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/{file} --loud
"""
print("{word}")
'''


class ShelfMaker:
    """Make small shelves for tests: `make({"hello": "1.0.0"})` is a shelf whose one script says `hello`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, scripts: dict[str, str], *, name: str = "shelf", version: str = "0.1.0") -> Shelf:
        root = self._folder / name
        (root / "catalog").mkdir(parents=True)
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        (root / "pyproject.toml").write_text(
            text.replace('version = "0.1.0"', f'version = "{version}"', 1), encoding="utf-8"
        )
        shelf = find_shelf(root)
        for script, script_version in scripts.items():
            self.put(shelf, script, script_version)
        return self.index(shelf)

    def put(self, shelf: Shelf, script: str, version: str = "1.0.0", *, word: str | None = None) -> None:
        """Write the script, and the record of a rehearsal; its bytes follow from its name, version and word."""
        said = word or script
        text = SCRIPT.format(version=version, title=f"Say {said}", word=said, file=f"{script}.py")
        (shelf.catalog / f"{script}.py").write_text(text, encoding="utf-8")
        self.record(shelf, script)

    def record(self, shelf: Shelf, script: str, *, outcome: str = "passed") -> None:
        """Write the record of a rehearsal of the script as it is now."""
        from jobshelf.record import Outcome, Record, Verdict, Versions, write_record

        record = Record(
            name=script,
            sha256=hashlib.sha256((shelf.catalog / f"{script}.py").read_bytes()).hexdigest(),
            date=date(2026, 11, 20),
            arguments=(),
            versions=Versions(jobshelf="0.1.0", python="3.12.0", uv="0.13.0", packages={}),
            seconds=0.1,
            peak_memory_mib=1,
            verdicts=(Verdict(step="help", outcome=Outcome(outcome), seconds=0.1),),
        )
        write_record(record, shelf)

    def index(self, shelf: Shelf) -> Shelf:
        """Rebuild the shelf's index.json, as `jobshelf index` does."""
        from jobshelf.index import build_index

        shelf.index_file.write_text(build_index(shelf).to_text(), encoding="utf-8")
        return shelf

    def copy(self, shelf: Shelf, name: str) -> Shelf:
        """Return a second checkout of the shelf."""
        return find_shelf(Path(shutil.copytree(shelf.root, self._folder / name)))


@pytest.fixture
def make_shelf(tmp_path: Path) -> ShelfMaker:
    return ShelfMaker(tmp_path)
