"""What uv makes of a script's header: does it resolve, does a lock file beside it match, are there known advisories."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jobshelf.errors import EnvironmentFault
from jobshelf.script import Script
from jobshelf.vet.ruff import JOBS_PYTHON, minimum_python

_TIMEOUT_SECONDS = 120
_NO_WHEEL = re.compile(
    r"building (?:from source|source distributions)\b.{0,200}? is disabled", re.IGNORECASE | re.DOTALL
)
# What `uv run` and `uv lock --script` read, and `uv pip compile` does not.
_UNSEEN_BY_COMPILE = frozenset({"index", "sources"})
_NO_NETWORK = ("error sending request", "failed to fetch", "dns error", "operation timed out", "could not connect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One question to uv: `ok`, and the reason when not. `undecided` says that the reason is not the script's fault."""

    ok: bool
    reason: str = ""
    undecided: bool = False


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The answers for one sound script, each asked for when it is first read.

    `advisories_url` is another service than OSV. Without `builds` uv builds no package: a build runs the package's code on this machine,
    unfenced. Raises EnvironmentFault when there is no uv.
    """

    script: Script
    advisories_url: str | None = None
    builds: bool = False

    @property
    def _build(self) -> tuple[str, ...]:
        return () if self.builds else ("--no-build",)

    @cached_property
    def versions(self) -> dict[str, Attempt]:
        """Whether the header resolves for Linux, by Python: the lowest of the header, and that of Jobs."""
        header = self.script.require()
        lowest = minimum_python(header.requires_python) or JOBS_PYTHON
        resolves = _locks if _UNSEEN_BY_COMPILE & header.tool("uv").keys() else _compiles
        with _copy(self.script) as path:
            return {
                f"{major}.{minor}": self._named(resolves(path, f"{major}.{minor}", *self._build), path)
                for major, minor in sorted({lowest, max(lowest, JOBS_PYTHON)})
            }

    @cached_property
    def lock(self) -> Attempt | None:
        """Whether the lock file beside the script matches; None when there is none."""
        if "://" in self.script.path or not Path(f"{self.script.path}.lock").is_file():
            return None
        return _attempt("lock", "--script", self.script.path, "--check", "--quiet", *self._build)

    @cached_property
    def audit(self) -> tuple[Attempt, tuple[str, ...]]:
        """Whether the audit took place, and what it found: "package version id summary"."""
        with _copy(self.script) as path:
            attempt, advisories = _audit(path, self.advisories_url, *self._build)
        return self._named(attempt, path), advisories

    def _named(self, attempt: Attempt, copy: Path) -> Attempt:
        """Return what uv said of the copy, as said of the script."""
        return replace(attempt, reason=attempt.reason.replace(str(copy), self.script.path))


@contextmanager
def _copy(script: Script) -> Iterator[Path]:
    """A lock file must not answer for the header, so uv is asked about a copy."""
    with tempfile.TemporaryDirectory(prefix="jobshelf-resolve-") as folder:
        path = Path(folder, "script.py")
        path.write_bytes(script.data)
        yield path


def _compiles(path: Path, python: str, *build: str) -> Attempt:
    target = ("--python-version", python, "--python-platform", "linux")
    return _attempt("pip", "compile", str(path), *target, "--no-header", "--quiet", *build, folder=path.parent)


def _locks(path: Path, python: str, *build: str) -> Attempt:
    """Resolve with the indexes and sources of the header, for every platform at once; where that fails, without them for Linux."""
    locked = _attempt("lock", "--script", str(path), "--dry-run", "--quiet", *build, folder=path.parent)
    return locked if locked.ok or locked.undecided or not _compiles(path, python, *build).ok else Attempt(ok=True)


def _audit(path: Path, service: str | None, *build: str) -> tuple[Attempt, tuple[str, ...]]:
    where = ["--service-url", service] if service else []
    preview = ["--preview-features", "audit-command,json-output"]
    asked = ["audit", "--script", str(path), "--output-format", "json", *preview, *where, *build]
    done = _run(*asked, folder=path.parent)
    try:
        document = json.loads(done.stdout)
    except json.JSONDecodeError:
        return Attempt(ok=False, reason=_reason(done.stderr), undecided=True), ()
    return Attempt(ok=True), tuple(_advisories(document))


def _advisories(document: dict[str, Any]) -> list[str]:
    """Read uv's answer; its form is experimental, so nothing but the list itself is taken for granted."""
    return [
        " ".join(str(word) for word in (*package.values(), one.get("id", ""), one.get("summary", "")) if word)
        for one in document.get("vulnerabilities", [])
        for package in [one.get("dependency", {})]
    ]


def _attempt(*arguments: str, folder: Path | None = None) -> Attempt:
    done = _run(*arguments, folder=folder)
    if done.returncode == 0:
        return Attempt(ok=True)
    text = done.stderr.strip()
    offline = any(sign in text.lower() for sign in _NO_NETWORK)
    return Attempt(ok=False, reason=_reason(text), undecided=offline or _NO_WHEEL.search(text) is not None)


def _reason(text: str) -> str:
    """Return uv's message on one line; where a package has no wheel, that it was not built, and how to allow it."""
    if not _NO_WHEEL.search(text):
        return _one_line(text)
    return f"a package has no wheel, and to build it would run its code here (--allow-build does): {_one_line(text)}"


def _run(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run uv in `folder`: in the working folder, the settings of the project there would be those of the script too."""
    command = [uv_binary(), "--no-progress", *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"operation timed out after {_TIMEOUT_SECONDS} s")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300] or "no answer"


@cache
def uv_binary() -> str:
    """Return the path of the uv that was installed with this package, else of the one on PATH."""
    from uv import find_uv_bin

    try:
        return find_uv_bin()
    except FileNotFoundError:
        found = shutil.which("uv")
    if found is None:
        raise EnvironmentFault("no uv binary was found", fix="install uv: https://docs.astral.sh/uv/")
    return found
