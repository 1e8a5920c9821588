"""From what was typed (files, folders, URLs) to the scripts that are meant."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import InputError, UsageError
from jobshelf.script import Problem, Script, parse_script

MAX_BYTES = 1024 * 1024
HEADER_LIKE = re.compile(
    rb"^(?:\xef\xbb\xbf)?[ \t]*#+[ \t]*/{2,4}[ \t]*(?:script|pyproject)\b[ \t:]*\r?$", re.MULTILINE | re.I
)
_CODE = re.compile(rb"^(?!\xef\xbb\xbf#)[^#\s]", re.MULTILINE)
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One script to vet: `path` is what messages show; `data` are its bytes when it does not lie on this disk."""

    path: str
    data: bytes | None = None


def is_url(text: str) -> bool:
    """Tell whether the argument is a web address."""
    return text.startswith(("http://", "https://"))


def collect(typed: Sequence[str], *, since: str | None = None) -> list[Target]:
    """Return the scripts that the arguments mean, without doubles, in the order typed.

    A file is always meant. In a folder, those `.py` files are meant that have a PEP 723 header, or something that looks
    like one, in a comment. A URL is fetched. With `since` (a git revision) only scripts that differ from it, or are new, are meant.
    Raises UsageError for a path or a revision that does not exist, and what `fetch` raises for a URL.
    """
    if since is not None:
        return _changed(since, typed)
    targets: dict[str, Target] = {}
    for argument in typed:
        for target in _targets(argument):
            targets.setdefault(target.path, target)
    return list(targets.values())


def _targets(argument: str) -> Iterator[Target]:
    if is_url(argument):
        from jobshelf.vet.fetch import fetch

        yield Target(path=argument, data=fetch(argument, limit=MAX_BYTES))
        return
    path = Path(argument)
    if path.is_dir():
        yield from (Target(path=str(file)) for file in scripts_in(path))
    elif path.is_file():
        yield Target(path=str(path))
    else:
        reason = "is neither a file nor a folder" if path.exists() or path.is_symlink() else "does not exist"
        raise UsageError(f"{argument} {reason}", fix="name a script, a folder or an http(s) URL")


def scripts_in(folder: Path) -> Iterator[Path]:
    """Yield the UV scripts below `folder`, sorted; links to folders are not followed, hidden folders are left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            path = Path(parent, name)
            if name.endswith(".py") and path.is_file() and _looks_like_script(path):
                yield path


def _looks_like_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", fix="check its permissions") from error
    found = HEADER_LIKE.search(data)
    return found is not None and (_CODE.search(data, 0, found.start()) is None or _is_in_comment(data))


def _is_in_comment(data: bytes) -> bool:
    """Tell whether something like a header stands outside strings: a module that writes scripts is none."""
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(data).readline))
    except (tokenize.TokenError, SyntaxError):
        return True
    return any(one.type == tokenize.COMMENT and HEADER_LIKE.match(one.string.encode()) for one in tokens)


def load(target: Target) -> Script:
    """Read and parse one target; a file above MAX_BYTES is not parsed. Raises InputError when it cannot be read."""
    data = target.data if target.data is not None else _read(target.path)
    return parse_script(data, target.path) if len(data) <= MAX_BYTES else _unparsed(target.path, data)


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", fix="check the path and its permissions"
        ) from error


def _unparsed(path: str, data: bytes) -> Script:
    problem = Problem(
        line=1,
        found=f"more than {MAX_BYTES // 1024} KiB",
        expected="a script of at most 100 KiB",
        fix="move data out of the script",
    )
    return Script(path=path, data=data, text="", header=None, tree=None, problems=(problem,))


def _changed(base: str, typed: Sequence[str]) -> list[Target]:
    if remote := next((argument for argument in typed if is_url(argument)), None):
        raise UsageError(f"--changed compares files, {remote} is a URL", fix="leave one of the two out")
    (commit,) = _git(base, "rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}")
    changes = ("--name-only", "--diff-filter=d", "--relative", "-z", "--merge-base")
    names = _git(base, "diff", *changes, commit.strip(), "--", *typed)
    names += _git(base, "ls-files", "--others", "--exclude-standard", "-z", "--", *typed)
    files = [Path(name) for name in sorted(set(names)) if name.endswith(".py")]
    return [Target(path=str(path)) for path in files if path.is_file() and _looks_like_script(path)]


def _git(base: str, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"git did not start: {error.strerror}", fix="install git, or name the scripts") from error
    if done.returncode != 0:
        reason = done.stderr.strip().partition("\n")[0] or f"exit code {done.returncode}"
        raise UsageError(f"--changed {base}: git says '{reason}'", fix="name an existing revision: --changed=main")
    return [name for name in done.stdout.split("\0") if name]
