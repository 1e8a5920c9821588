# block: persist_file 1
"""A handful of result files, written to a Hub dataset in one commit or to a local folder, and read back.

Promises: the target is checked (or created) before the work; what somebody else put there is never replaced, and what
an earlier run put there only for the same request or with --overwrite; a lost update is impossible (parent commit);
after the commit every file is read back and compared by sha256; what cannot be pushed is saved, and the exit code is 6.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .exits import EXIT_INPUT, EXIT_NOT_PERSISTED, EXIT_TOKEN, EXIT_USAGE, Stop, note, one_line
from .retry import http_status, retry
from .token import require_write, token_advice

PERSIST_MANIFEST = "jobshelf.json"
PERSIST_ATTEMPTS = 5
PERSIST_RACES = 20  # of runs that write the same result to one folder
PERSIST_NOT_FOREIGN = frozenset({".gitattributes", "README.md", "LICENSE"})
PERSIST_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # a file being written, or left by a run killed just then
_TARGET_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where results go: the Hub dataset `repo_id`, or `folder`; exactly one of the two is set."""

    repo_id: str | None
    folder: Path | None

    def __str__(self) -> str:
        return self.repo_id or str(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the target holds at `head` (None: nothing yet): its file names, its manifest, its card."""

    head: str | None
    private: bool
    names: tuple[str, ...]
    manifest: Mapping[str, Any]
    card: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What identifies a result: the script, the arguments that change it, and the source it was computed from."""

    script: str
    request: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """Where the result is. `commit` is None for a folder."""

    where: str
    commit: str | None


def parse_target(given: str) -> Target:
    """Return the target that `given` names; stop with 2 when it is neither `user/name` nor a path such as `./out`."""
    if given.startswith(("./", "../", "~")) or given in {".", ".."} or Path(given).is_absolute():
        return Target(repo_id=None, folder=Path(given).expanduser())
    if not _TARGET_ID.fullmatch(given) or ".." in given or "--" in given or given.endswith((".git", ".", "-")):
        fix = f"write user/{Path(given).name or 'name'} for a Hub dataset or ./{Path(given).name} for a local folder"
        raise Stop(EXIT_USAGE, f"the output {given!r} is neither a Hub dataset nor a path", fix=fix)
    if given != given.lower():
        note(f"{given} has upper case letters; names on the Hub are case-sensitive")
    return Target(repo_id=given, folder=None)


def look_at(target: Target, *, token: str | None, private: bool, public: bool) -> Held:
    """Return what `target` holds now; nothing is created. `token` may write to it.

    `private` is whether the result must not be public; `public` is the user's word that it may be all the same. Stops
    with 2 when a private result would go to a repository that is public.
    """
    if target.folder is not None:
        return _held_in_folder(target.folder)
    held = _held_on_hub(str(target.repo_id), str(token))
    hidden = private and not public
    if held is not None and hidden and not held.private:
        message = f"{target} is public, but this result is private (private source or --private)"
        raise Stop(EXIT_USAGE, message, fix="add --public to publish it, or name another output")
    return held or Held(head=None, private=hidden, names=(), manifest={}, card=None)


def create_target(target: Target, held: Held, token: str | None) -> None:
    """Create the Hub dataset when there is none yet, so that a refusal comes before the work."""
    if target.repo_id is not None and held.head is None:
        _create(target.repo_id, private=held.private, token=str(token))


def target_token(target: Target) -> str | None:
    """Return a token that may write to a Hub target, None for a folder; stop with 3 when there is none."""
    return require_write(target.repo_id) if target.repo_id else None


def already_there(target: Target, held: Held, run: Run, token: str | None) -> bool:
    """Return whether `target` holds the intact result of exactly this run."""
    if not _same(held.manifest, run) or held.manifest.get("source") != run.source:
        return False
    digests = held.manifest.get("files")
    return isinstance(digests, dict) and _digests(target, held.head, digests, token) == digests


def refuse_foreign(target: Target, held: Held, run: Run, *, overwrite: bool) -> None:
    """Stop with 4 when `target` holds files of somebody else, or the result of another request."""
    if overwrite or _same(held.manifest, run):
        return
    if held.manifest.get("script") == run.script:
        theirs, ours = dict(held.manifest.get("request") or {}), dict(run.request)
        changed = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
        message = f"{target} holds the result of another request (different: {', '.join(changed)})"
    else:
        foreign = [name for name in held.names if name not in PERSIST_NOT_FOREIGN]
        if not foreign:
            return
        message = f"{target} holds {len(foreign)} files that this script did not write ({', '.join(foreign[:3])})"
    raise Stop(EXIT_INPUT, message, fix="name another output, or add --overwrite to write beside and over them")


def persist_files(
    target: Target,
    files: Mapping[str, bytes],
    *,
    run: Run,
    overwrite: bool,
    make_card: Callable[[str | None], str],
    token: str | None,
) -> Persisted:
    """Write `files`, the manifest and the card to `target` and read them back.

    `make_card` gets the card that is there now (None: none) and returns the new one. On the Hub all of it is one
    commit on the head that was looked at; when somebody else commits in between, the target is looked at again.
    """
    if target.folder is not None:
        return _persist_in_folder(target.folder, files, run, make_card)
    try:
        return _persist_on_hub(target, files, run, overwrite, make_card, str(token))
    except Stop as stop:
        _save_and_stop(target, files, run, make_card, stop)
    except Exception as error:
        if not isinstance(error, OSError | RuntimeError) and http_status(error) is None:
            raise
        _save_and_stop(target, files, run, make_card, error)


def _same(manifest: Mapping[str, Any], run: Run) -> bool:
    return manifest.get("script") == run.script and manifest.get("request") == dict(run.request)


def _manifest(run: Run, files: Mapping[str, bytes]) -> bytes:
    content = {
        "script": run.script,
        "request": dict(run.request),
        "source": run.source,
        "files": _sha256s(files),
    }
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _parsed_manifest(text: bytes | None) -> Mapping[str, Any]:
    try:
        content = json.loads(text or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _held_in_folder(folder: Path) -> Held:
    if folder.exists() and not folder.is_dir():
        raise Stop(EXIT_USAGE, f"the output {folder} is a file", fix="name a folder, e.g. ./out")
    # not rglob, which fails when another run clears a folder away at this moment
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    files = (path for path in paths if path.is_file() and not PERSIST_PART.fullmatch(path.name))
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    manifest, card = folder / PERSIST_MANIFEST, folder / "README.md"
    return Held(
        head=None,
        private=True,
        names=tuple(names),
        manifest=_parsed_manifest(manifest.read_bytes() if manifest.is_file() else None),
        card=card.read_text(encoding="utf-8") if card.is_file() else None,
    )


def _persist_in_folder(
    folder: Path, files: Mapping[str, bytes], run: Run, make_card: Callable[[str | None], str]
) -> Persisted:
    held = _held_in_folder(folder)
    for name in _stale(held, files):
        (folder / name).unlink(missing_ok=True)
    # The manifest goes before the data: a run that is killed has left only files that the next one knows as its own,
    # and that it believes only when every digest agrees. The card goes first, as no digest covers it.
    content = {"README.md": make_card(held.card).encode(), PERSIST_MANIFEST: _manifest(run, files), **files}
    for name, data in content.items():
        _write_atomically(folder / name, data)
    _remove_parts(folder, content)
    wrong = [name for name, data in content.items() if (folder / name).read_bytes() != data]
    if wrong:
        raise Stop(EXIT_NOT_PERSISTED, f"{folder}: {', '.join(wrong)} changed while written", fix="run it again")
    return Persisted(where=str(folder), commit=None)


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for race in range(1, PERSIST_RACES + 1):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except FileNotFoundError:  # the same command at the same moment took ours for a leftover
            if race == PERSIST_RACES:
                raise
        else:
            return
        finally:
            Path(temporary).unlink(missing_ok=True)


def _remove_parts(folder: Path, names: Iterable[str]) -> None:
    for parent in {(folder / name).parent for name in names}:
        for path in parent.iterdir():
            if PERSIST_PART.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _stale(held: Held, files: Mapping[str, bytes]) -> list[str]:
    """Return the files that an earlier run of the same kind listed, that are still there and no longer made."""
    listed = held.manifest.get("files")
    return sorted(set(held.names) & set(listed) - set(files)) if isinstance(listed, dict) else []


def _held_on_hub(repo_id: str, token: str) -> Held | None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token)
    try:
        info = retry(lambda: api.dataset_info(repo_id), what=f"looking at {repo_id}")
    except RepositoryNotFoundError:
        return None
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
    wanted = [name for name in (PERSIST_MANIFEST, "README.md") if name in names]
    found = _read_from_hub(repo_id, str(info.sha), wanted, token)
    card = found.get("README.md")
    return Held(
        head=info.sha,
        private=bool(info.private),
        names=names,
        manifest=_parsed_manifest(found.get(PERSIST_MANIFEST)),
        card=card.decode("utf-8", "replace") if card is not None else None,
    )


def _read_from_hub(repo_id: str, commit: str, names: Iterable[str], token: str) -> dict[str, bytes]:
    from huggingface_hub import hf_hub_download

    found = {}
    with tempfile.TemporaryDirectory() as folder:  # not the cache: what is compared must come from the Hub

        def read(name: str) -> bytes:
            path = hf_hub_download(
                repo_id, name, repo_type="dataset", revision=commit, local_dir=folder, token=token, force_download=True
            )
            return Path(path).read_bytes()

        for name in names:
            found[name] = retry(lambda name=name: read(name), what=f"reading {name} of {repo_id}")
    return found


def _digests(target: Target, head: str | None, names: Iterable[str], token: str | None) -> dict[str, str] | None:
    """Return the sha256 of each of `names` in the target, None when one of them is missing."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        if target.folder is not None:
            found = {name: (target.folder / name).read_bytes() for name in names}
        else:
            found = _read_from_hub(str(target.repo_id), str(head), names, str(token))
    except (FileNotFoundError, EntryNotFoundError):
        return None
    return _sha256s(found)


def _create(repo_id: str, *, private: bool, token: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(
            lambda: api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True),
            what=f"creating {repo_id}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403, 404}:
            raise
        message = f"the Hub does not let this token create {repo_id}: {one_line(error.server_message or error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def _persist_on_hub(
    target: Target,
    files: Mapping[str, bytes],
    run: Run,
    overwrite: bool,
    make_card: Callable[[str | None], str],
    token: str,
) -> Persisted:
    repo_id = str(target.repo_id)
    for _ in range(PERSIST_ATTEMPTS):
        held = _held_on_hub(repo_id, token)
        if held is None:
            raise Stop(EXIT_INPUT, f"{repo_id} was deleted during the run", fix="run the same command again")
        refuse_foreign(target, held, run, overwrite=overwrite)
        content = {**files, "README.md": make_card(held.card).encode(), PERSIST_MANIFEST: _manifest(run, files)}
        commit = _commit_on(repo_id, held, content, run, token)
        if commit is not None:
            return _verified(target, commit, content, token)
        note(f"{repo_id} changed while this was written: looking at it again")
    message = f"{repo_id} changed {PERSIST_ATTEMPTS} times while this was written"
    raise Stop(EXIT_NOT_PERSISTED, message, fix="run the same command again when nobody else writes to it")


def _verified(target: Target, commit: str, content: Mapping[str, bytes], token: str) -> Persisted:
    if _digests(target, commit, content, token) != _sha256s(content):
        raise Stop(EXIT_NOT_PERSISTED, f"{target} at {commit} does not hold what was sent", fix="run it again")
    return Persisted(where=str(target), commit=commit)


def _commit_on(repo_id: str, held: Held, content: Mapping[str, bytes], run: Run, token: str) -> str | None:
    """Commit `content` on the head that was looked at; None when the head has moved since."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # a few small files: a bar would only fill the Job's log

    def commit() -> str:
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in content.items()]
        operations += [CommitOperationDelete(path_in_repo=name) for name in _stale(held, content)]
        message = f"Results of {run.script}"
        api = HfApi(token=token)
        done = api.create_commit(
            repo_id, operations, repo_type="dataset", commit_message=message, parent_commit=held.head
        )
        return str(done.oid)

    try:
        return retry(commit, what=f"writing to {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {409, 412}:
            raise
        return None


def _sha256s(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _save_and_stop(
    target: Target,
    files: Mapping[str, bytes],
    run: Run,
    make_card: Callable[[str | None], str],
    reason: Exception,
) -> NoReturn:
    folder = Path(f"{str(target.repo_id).replace('/', '--')}-not-pushed").absolute()
    _persist_in_folder(folder, files, run, make_card)
    command = shlex.join(["hf", "upload", str(target.repo_id), str(folder), ".", "--repo-type", "dataset"])
    why = reason.message if isinstance(reason, Stop) else reason
    message = f"the result is not on the Hub ({one_line(why)}); it is saved in {folder}"
    raise Stop(EXIT_NOT_PERSISTED, message, fix=command) from reason
