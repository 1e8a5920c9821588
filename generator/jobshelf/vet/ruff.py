"""Ask ruff about many scripts at once: one process for each minimum Python that their headers name."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from jobshelf.errors import EnvironmentFault
from jobshelf.script import Script
from jobshelf.vet.subject import Diagnostic

SYNTAX = "invalid-syntax"
JOBS_PYTHON = (3, 12)
_OLDEST, _NEWEST = (3, 7), (3, 15)
# ruff wants at least one rule; this one (a file that cannot be read) never fires on a file that we have read.
_PLACEHOLDER = "E902"
_TIMEOUT_SECONDS = 300


@lru_cache(maxsize=1024)
def minimum_python(specifier: str | None) -> tuple[int, int] | None:
    """Return the lowest (3, minor) that a version specifier admits; None when it is invalid or sets no lower bound."""
    try:
        versions = SpecifierSet(specifier or "")
    except InvalidSpecifier:
        return None
    lowest = next(_minors(versions), 0)
    return (3, lowest) if lowest else None


def admits_some_python(versions: SpecifierSet) -> bool:
    """Tell whether a Python 3 satisfies the specifier, one of the next ten years included."""
    return next(_minors(versions), None) is not None


def _minors(versions: SpecifierSet) -> Iterator[int]:
    return (minor for minor in range(26) if any(versions.contains(f"3.{minor}.{patch}") for patch in (0, 1, 10, 30)))


def target_version(script: Script) -> str:
    """Return the `--target-version` of a script: its own minimum, else the Python of Jobs, within what ruff knows."""
    declared = minimum_python(script.header.requires_python) if script.header else None
    major, minor = min(max(declared or JOBS_PYTHON, _OLDEST), _NEWEST)
    return f"py{major}{minor}"


def diagnose(scripts: Sequence[Script], codes: Collection[str]) -> dict[str, tuple[Diagnostic, ...]]:
    """Return what ruff says about each script, by `Script.path`: the `codes`, and always syntax errors.

    The project's ruff settings and `noqa` comments play no part. Raises EnvironmentFault when ruff does not run.
    """
    groups: dict[str, list[Script]] = {}
    for script in scripts:
        groups.setdefault(target_version(script), []).append(script)
    wanted = sorted(set(codes) - {SYNTAX}) or [_PLACEHOLDER]
    return {path: found for version, group in groups.items() for path, found in _run_or_halve(group, version, wanted)}


def _run_or_halve(scripts: list[Script], version: str, codes: list[str]) -> list[tuple[str, tuple[Diagnostic, ...]]]:
    """Return what ruff says; nothing of a script that is not Python and on which ruff itself crashes."""
    try:
        return list(_run(scripts, version, codes))
    except _Crashed:
        if len(scripts) == 1 and scripts[0].tree is None:
            return [(scripts[0].path, ())]
        if len(scripts) == 1:
            raise
        middle = len(scripts) // 2
        return [one for half in (scripts[:middle], scripts[middle:]) for one in _run_or_halve(half, version, codes)]


class _Crashed(EnvironmentFault):
    """ruff was ended by a signal, as by running out of stack."""


def _run(scripts: list[Script], version: str, codes: list[str]) -> Iterator[tuple[str, tuple[Diagnostic, ...]]]:
    with tempfile.TemporaryDirectory(prefix="jobshelf-vet-") as folder:
        files = {_on_disk(script, Path(folder), number): script.path for number, script in enumerate(scripts)}
        answer = _ask(["--target-version", version, "--select", ",".join(codes)], list(files), Path(folder))
    found: dict[str, list[Diagnostic]] = {path: [] for path in files.values()}
    for item in answer:
        path = files.get(item["filename"])
        if path is not None:
            found[path].append(_diagnostic(item))
    yield from ((path, tuple(items)) for path, items in found.items())


def _on_disk(script: Script, folder: Path, number: int) -> str:
    """Return a file with the script's bytes: its own, or a copy where the script came from elsewhere."""
    own = os.path.abspath(script.path)  # noqa: PTH100 - normalises ".." as ruff does and follows no link
    if own.endswith(".py") and own.isascii() and own.isprintable() and _holds(Path(own), script.data):
        return own
    copy = folder / f"{number}.py"
    copy.write_bytes(script.data)
    return str(copy)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except (OSError, ValueError):
        return False


def _ask(options: list[str], files: list[str], folder: Path) -> list[dict[str, Any]]:
    listing = folder / "files.txt"
    listing.write_text("\n".join(files), encoding="utf-8")
    fixed = ["check", "--isolated", "--no-cache", "--ignore-noqa", "--quiet", "--exit-zero", "--output-format", "json"]
    command = [ruff_binary(), *fixed, *options, f"@{listing}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        return json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFault(f"ruff did not run: {error}", fix="uv pip install 'ruff>=0.17,<0.18'") from error
    except json.JSONDecodeError as error:
        reason = done.stderr.replace(f"{folder}/", "").strip().partition("\n")[0] or f"exit code {done.returncode}"
        kind = _Crashed if done.returncode < 0 else EnvironmentFault
        raise kind(f"ruff gave no JSON: {reason}", fix="uv pip install 'ruff>=0.17,<0.18'") from error


@cache
def ruff_binary() -> str:
    """Return the path of the ruff that was installed with this package; raise EnvironmentFault when there is none."""
    from ruff import find_ruff_bin

    try:
        return find_ruff_bin()
    except FileNotFoundError as error:
        raise EnvironmentFault("no ruff binary was found", fix="uv pip install 'ruff>=0.17,<0.18'") from error


def _diagnostic(item: dict[str, Any]) -> Diagnostic:
    start, end = item["location"], item["end_location"]
    return Diagnostic(
        code=item["code"] or SYNTAX,
        message=item["message"],
        line=start["row"],
        column=start["column"],
        end_line=end["row"],
        end_column=end["column"],
    )
