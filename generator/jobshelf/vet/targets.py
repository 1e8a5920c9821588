"""From what was typed (files, folders, URLs) to the scripts that are meant."""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import UsageError
from jobshelf.script import Script, parse_script
from jobshelf.scripts.files import is_url, read_file

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


def collect(typed: Sequence[str], *, since: str | None = None) -> list[Target]:
    """Return the scripts that the arguments mean, without doubles, in the order typed.

    A file is always meant. In a folder, those `.py` files are meant that have a PEP 723 header, or something that looks
    like one, in a comment. A URL is fetched. With `since` (a git revision) only scripts that differ from it, or are new, are meant.
    Raises UsageError for a path or a revision that does not exist, and what `read_url` raises for a URL.
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
        from jobshelf.client import read_url

        yield Target(path=argument, data=read_url(argument).data)
        return
    path = Path(argument)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({_reason(error)})"
        raise UsageError(f"{argument} {reason}", fix="name a script, a folder or an http(s) URL") from error
    if stat.S_ISDIR(mode):
        yield from (Target(path=str(file)) for file in scripts_in(path))
    else:
        yield Target(path=str(path))


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def scripts_in(folder: Path) -> Iterator[Path]:
    """Yield the UV scripts below `folder`, sorted; links to folders are not followed, hidden folders are left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            path = Path(parent, name)
            if name.endswith(".py") and path.is_file() and _looks_like_script(path):
                yield path


def _looks_like_script(path: Path) -> bool:
    data = read_file(path)
    found = HEADER_LIKE.search(data)
    return found is not None and (_CODE.search(data, 0, found.start()) is None or _is_in_comment(data))


def _is_in_comment(data: bytes) -> bool:
    """Tell whether something like a header stands outside strings: a module that writes scripts is none."""
    try:
        # as text: of bytes, `tokenize` would look up the codec that the file itself names
        tokens = list(tokenize.generate_tokens(io.StringIO(data.decode("utf-8")).readline))
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError):
        return True
    return any(one.type == tokenize.COMMENT and HEADER_LIKE.match(one.string.encode()) for one in tokens)


def load(target: Target) -> Script:
    """Read and parse one target. Raises what `read_file` raises."""
    return parse_script(target.data if target.data is not None else read_file(Path(target.path)), target.path)


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
