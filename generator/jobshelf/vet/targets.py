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
from jobshelf.vet.progress import Tell, tell_nobody

HEADER_LIKE = re.compile(
    rb"^(?:\xef\xbb\xbf)?[ \t]*#+[ \t]*/{2,4}[ \t]*(?:script|pyproject)\b[ \t:]*\r?$", re.MULTILINE | re.I
)
_RUN_BY_PYTHON = re.compile(rb"#![^\n]*\b(?:python|uv)")
_PYTHON_NAMES = (".py", ".pyw")
_CODE = re.compile(rb"^(?!\xef\xbb\xbf#)[^#\s]", re.MULTILINE)
_SUBMODULE = b"160000 "
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One script to vet: `path` is what messages show; `data` are its bytes when it does not lie on this disk."""

    path: str
    data: bytes | None = None


def collect(typed: Sequence[str], *, since: str | None = None, tell: Tell = tell_nobody) -> list[Target]:
    """Return the scripts that the arguments mean, without doubles, in the order typed.

    A file is always meant. In a folder, those `.py` files are meant that git does not ignore and that have a PEP 723 header, or
    something that looks like one, in a comment. A URL is fetched. With `since` (a git revision) only scripts that differ from it, or are
    new, are meant. `tell` hears how many scripts were found so far.
    Raises UsageError for a path or a revision that does not exist and for a file that is not Python, and what `read_url` raises for a URL.
    """
    if since is not None:
        return _changed(since, typed)
    targets: dict[str, Target] = {}
    for argument in typed:
        for target in _targets(argument):
            targets.setdefault(target.path, target)
            tell("scripts found", len(targets), None)
    return list(targets.values())


def _targets(argument: str) -> Iterator[Target]:
    if is_url(argument):
        from jobshelf.client import read_url

        data = read_url(argument).data
        _require_python(argument, argument.partition("?")[0], data)
        yield Target(path=argument, data=data)
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
        if path.suffix not in _PYTHON_NAMES:
            _require_python(argument, path.name, read_file(path))
        yield Target(path=str(path))


def _require_python(argument: str, name: str, data: bytes) -> None:
    """Raise UsageError for what is no Python file by its name, its first line or a header: a table, an image, a text."""
    if not (name.endswith(_PYTHON_NAMES) or _RUN_BY_PYTHON.match(data) or HEADER_LIKE.search(data)):
        raise UsageError(
            f"{argument} is not a Python file: its name does not end with .py, and it has neither a header nor a #! line for Python",
            fix="name a script, or a folder with scripts",
        )


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def scripts_in(folder: Path) -> Iterator[Path]:
    """Yield the UV scripts below `folder`, sorted, a folder's files before its folders.

    What git ignores is left out, and so are hidden folders and those of environments and builds; links to folders are not followed.
    """
    for path in _python_files(folder):
        if path.is_file() and _looks_like_script(path):
            yield path


def _python_files(folder: Path) -> Iterator[Path]:
    listed = _listed_by_git(folder)
    if listed is not None:
        for name in sorted(listed, key=_place):
            if name.endswith(".py"):
                yield Path(folder, name)
            else:
                yield from _python_files(Path(folder, name))
        return
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(filter(_is_entered, folders))
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(".py"))


def _place(name: str) -> tuple[tuple[bool, str], ...]:
    """Return what sorts the files of a folder before its folders, as `os.walk` gives them."""
    *folders, last = name.rstrip("/").split("/")
    return *((True, part) for part in folders), (name.endswith("/"), last)


def _is_entered(folder: str) -> bool:
    return not folder.startswith(".") and folder not in _SKIPPED_FOLDERS


def _listed_by_git(folder: Path) -> set[str] | None:
    """Return the `.py` files below `folder` that git does not ignore, and with a slash the repositories inside it.

    None where `folder` is in no repository, is ignored itself, or there is no git: then all of it is meant.
    """
    try:
        if _git_in(folder, "check-ignore", "-q", ".").returncode != 1:
            return None
        others = _git_in(folder, "ls-files", "-z", "--others", "--exclude-standard")
        tracked = _git_in(folder, "ls-files", "-z", "--cached", "--stage")
    except OSError:
        return None
    names = {os.fsdecode(name) for name in others.stdout.split(b"\0")}
    for entry in filter(None, tracked.stdout.split(b"\0")):
        about, _, name = entry.partition(b"\t")
        names.add(os.fsdecode(name) + ("/" if about.startswith(_SUBMODULE) else ""))
    return {name for name in names if name.endswith((".py", "/")) and all(map(_is_entered, _folders_of(name)))}


def _folders_of(name: str) -> list[str]:
    return name.split("/")[:-1]


def _git_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git on a folder that may be a stranger's: of its settings, none that names a program is followed."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, check=False)


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
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *arguments], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UsageError(f"git did not start: {error.strerror}", fix="install git, or name the scripts") from error
    if done.returncode != 0:
        reason = done.stderr.strip().partition("\n")[0] or f"exit code {done.returncode}"
        raise UsageError(f"--changed {base}: git says '{reason}'", fix="name an existing revision: --changed=main")
    return [name for name in done.stdout.split("\0") if name]
