# block: persist_model 1
"""A model's folder, or a Trainer's checkpoint, to a model repository: each commit holds a complete one.

Promises: the repository is checked or created before the work; what somebody else put there is not replaced without
--overwrite; one commit replaces the whole folder, so that no reader and no restart ever sees half a model; what did not
change is not sent again; every file is compared by its hash afterwards; what cannot be pushed stays, and the code is 6.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exits import EXIT_INPUT, EXIT_NOT_PERSISTED, EXIT_TOKEN, EXIT_USAGE, Stop, note, one_line
from .persist_bucket import create_bucket_once, parse_bucket, put_in_bucket
from .persist_file import Run
from .retry import http_status, retry
from .token import token_advice

MODEL_MANIFEST = "jobshelf.json"
MODEL_CHECKPOINT = "last-checkpoint"
MODEL_LAST = "trainer_state.json"  # a checkpoint that has it is whole
MODEL_ATTEMPTS = 5
MODEL_NOT_FOREIGN = frozenset({".gitattributes", "README.md", "LICENSE", MODEL_MANIFEST})
_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MODEL_STEP = re.compile(r"checkpoint-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeld:
    """What a model repository holds at commit `head`: path -> hash, the manifest at its root, its card."""

    head: str
    private: bool
    files: Mapping[str, str]
    manifest: Mapping[str, Any]
    card: str | None


def parse_model(given: str) -> str:
    """Return the id of a model repository; stop with 2 when `given` is none."""
    if not _MODEL_ID.fullmatch(given) or ".." in given or "--" in given or given.endswith((".git", ".", "-")):
        raise Stop(EXIT_USAGE, f"{given!r} is no model repository", fix="write user/name")
    return given


def look_at_model(repo_id: str, token: str | None) -> ModelHeld | None:
    """Return what the repository holds, None when there is none for this token."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.model_info(repo_id), what=f"looking at {repo_id}")
    except RepositoryNotFoundError:
        return None
    head = str(info.sha)
    files = _model_files(repo_id, head, token)
    small = {name: _model_read(repo_id, head, name, token) for name in (MODEL_MANIFEST, "README.md") if name in files}
    return ModelHeld(
        head=head,
        private=bool(info.private),
        files=files,
        manifest=_model_manifest(small.get(MODEL_MANIFEST, b"")),
        card=small["README.md"].decode("utf-8", "replace") if "README.md" in small else None,
    )


def open_model(
    repo_id: str, run: Run, *, token: str, private: bool, overwrite: bool, dry_run: bool
) -> ModelHeld | None:
    """Return what the repository holds after checking that `run` may write to it; create it when there is none.

    Stops with 4 when it holds what another script or another request made (unless `overwrite`), 3 when it cannot be
    created, 2 when a private model would go to a public repository. A dry run creates nothing.
    """
    held = look_at_model(repo_id, token)
    if held is None:
        if not dry_run:
            _model_create(repo_id, token, private=private)
        return None
    if private and not held.private:
        raise Stop(EXIT_USAGE, f"{repo_id} is public, but this model is private", fix="name another, or allow --public")
    theirs = [held.manifest.get("script"), held.manifest.get("request")]
    foreign = [name for name in held.files if name not in MODEL_NOT_FOREIGN]
    if foreign and not overwrite and theirs != [run.script, _model_request(run)]:
        message = f"{repo_id} holds {len(foreign)} files of another run ({', '.join(foreign[:3])})"
        raise Stop(EXIT_INPUT, message, fix="name another repository, or add --overwrite")
    return held


def persist_model(
    repo_id: str,
    folder: Path,
    run: Run,
    *,
    token: str,
    make_card: Callable[[str | None], str] | None = None,
    inside: str = "",
    keep: Collection[str] = (),
) -> str:
    """Put `folder` at `inside` of the repository ("" is its root) in one commit, and return that commit.

    Files of an earlier state that `folder` does not have go in the same commit; those named in `keep`, files of others,
    and at the root the checkpoints (MODEL_CHECKPOINT), stay. `make_card` gets the card of the repository, else of the folder, else None. Stops with 6 when the folder is not, or not provably, there.
    """
    try:
        for _ in range(MODEL_ATTEMPTS):
            held = look_at_model(repo_id, token)
            if held is None:
                raise RuntimeError(f"{repo_id} is not there any more")
            wanted = _model_wanted(folder, run, held, make_card, inside, keep)
            commit = _model_commit(repo_id, held, wanted, _model_stale(held, {*wanted, *keep}, inside), run, token)
            if commit is not None:
                _model_verify(wanted, _model_files(repo_id, commit, token))
                return commit
            note(f"{repo_id} changed while this was written: looking at it again")
        raise RuntimeError(f"{repo_id} changed {MODEL_ATTEMPTS} times while this was written")
    except (Stop, OSError, RuntimeError, ValueError) as error:
        raise _model_not_persisted(repo_id, folder, inside, token, error) from error


def fetch_model(repo_id: str, into: Path, *, token: str | None, inside: str = "") -> Path | None:
    """Bring `inside` of the repository to the folder `into`, all of one commit; None when there is nothing."""
    held = look_at_model(repo_id, token)
    start = f"{inside}/" if inside else ""
    names = [name for name in held.files if name.startswith(start) and name != ".gitattributes"] if held else []
    if held is None or not names:
        return None
    staging = into.with_name(f".{into.name}.part")  # beside it: files move whole, and the next attempt clears it
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for name in names:
            _model_download(repo_id, held.head, name, str(staging), token)
        _model_verify({name: _model_hash(staging / name, held.files[name]) for name in names}, held.files)
        for name in sorted(names, key=lambda name: (Path(name).name == MODEL_LAST, name)):
            path = into / name.removeprefix(start)
            path.parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return into


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of a Trainer with the highest step that was written to its end, None when there is none.

    A Trainer writes MODEL_LAST last.
    """
    steps = {int(match[1]): path for path in folder.glob("checkpoint-*") if (match := _MODEL_STEP.fullmatch(path.name))}
    whole = [step for step, path in steps.items() if (path / MODEL_LAST).is_file()]
    return steps[max(whole)] if whole else None


def _model_wanted(
    folder: Path,
    run: Run,
    held: ModelHeld,
    make_card: Callable[[str | None], str] | None,
    inside: str,
    keep: Collection[str],
) -> dict[str, Path | bytes]:
    """Return what is to be in the repository: path in it -> local file or content."""
    start = f"{inside}/" if inside else ""
    wanted: dict[str, Path | bytes] = {f"{start}{name}": folder / name for name in _model_names(folder)}
    if not wanted:
        raise RuntimeError(f"{folder} is empty")
    if make_card is not None and not inside:
        own = folder / "README.md"
        wanted["README.md"] = make_card(held.card or (own.read_text("utf-8") if own.is_file() else None)).encode()
    stays = {name for name in _model_owned(held) if name in keep or not _model_in_scope(name, inside)}
    owned = stays | wanted.keys()
    content = {
        "script": run.script,
        "request": _model_request(run),
        "source": run.source,
        "files": sorted(owned - MODEL_NOT_FOREIGN),
    }
    wanted[MODEL_MANIFEST] = (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    return wanted


def _model_names(folder: Path) -> list[str]:
    """Return the files of a model, relative to its folder; what Git and the Hub's client keep there is none of it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith((".git", ".cache/"))]


def _model_owned(held: ModelHeld) -> set[str]:
    """Return the files that earlier commits of this kind made; no other file is ever removed."""
    listed = held.manifest.get("files")
    return {name for name in listed if name in held.files} if isinstance(listed, list) else set()


def _model_in_scope(name: str, inside: str) -> bool:
    return name.startswith(f"{inside}/") if inside else not name.startswith(f"{MODEL_CHECKPOINT}/")


def _model_stale(held: ModelHeld, wanted: Collection[str], inside: str) -> list[str]:
    """Return the files of the earlier state that are no longer made; checkpoints outlive a change of the model."""
    return sorted(name for name in _model_owned(held) if name not in wanted and _model_in_scope(name, inside))


def _model_commit(
    repo_id: str, held: ModelHeld, wanted: Mapping[str, Path | bytes], stale: list[str], run: Run, token: str
) -> str | None:
    """Commit on the head that was looked at; None when it has moved since."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    changed = {
        name: item for name, item in wanted.items() if held.files.get(name) != _model_hash(item, held.files.get(name))
    }
    if not changed and not stale:
        return held.head

    def commit() -> str:
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=item) for name, item in changed.items()]
        operations += [CommitOperationDelete(path_in_repo=name) for name in stale]
        message = f"Result of {run.script}"
        api = HfApi(token=token)
        return str(api.create_commit(repo_id, operations, commit_message=message, parent_commit=held.head).oid)

    try:
        return retry(commit, what=f"writing to {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {409, 412}:
            raise
        return None


def _model_files(repo_id: str, commit: str, token: str | None) -> dict[str, str]:
    """Return path -> hash: the sha256 of a large file, git's id (40 digits) of a small one."""
    from huggingface_hub import HfApi

    api = HfApi(token=token or False)
    items = retry(lambda: list(api.list_repo_tree(repo_id, recursive=True, revision=commit)), what=f"listing {repo_id}")
    files = ((item, getattr(item, "lfs", None)) for item in items if hasattr(item, "size"))
    return {item.path: str(lfs.sha256) if lfs else str(item.blob_id) for item, lfs in files}


def _model_hash(item: Path | bytes, like: str | None) -> str:
    """Return the hash of a file or content, of the kind that `like` is: a sha256, or git's id of 40 digits."""
    size = len(item) if isinstance(item, bytes) else item.stat().st_size
    digest = hashlib.sha256() if like is None or len(like) != 40 else hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - git's
    if isinstance(item, bytes):
        digest.update(item)
    else:
        with item.open("rb") as stream:
            while chunk := stream.read(1_048_576):
                digest.update(chunk)
    return digest.hexdigest()


def _model_verify(wanted: Mapping[str, Path | bytes | str], there: Mapping[str, str]) -> None:
    """Raise RuntimeError when a file is not in the repository as it is here."""
    wrong = [
        name
        for name, item in wanted.items()
        if there.get(name) != (item if isinstance(item, str) else _model_hash(item, there.get(name)))
    ]
    if wrong:
        raise RuntimeError(f"{len(wrong)} files differ from what was sent: {', '.join(sorted(wrong)[:3])}")


def _model_download(repo_id: str, commit: str, name: str, folder: str, token: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    def download() -> str:
        return hf_hub_download(repo_id, name, revision=commit, local_dir=folder, token=token, force_download=True)

    return Path(retry(download, what=f"reading {name} of {repo_id}"))


def _model_read(repo_id: str, commit: str, name: str, token: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return _model_download(repo_id, commit, name, folder, token).read_bytes()


def _model_manifest(text: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(text or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _model_request(run: Run) -> Any:  # noqa: ANN401 - any JSON
    """Return the request as a file brings it back: tuples are lists."""
    return json.loads(json.dumps(dict(run.request)))


def _model_create(repo_id: str, token: str, *, private: bool) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(lambda: api.create_repo(repo_id, private=private, exist_ok=True), what=f"creating {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 402, 403, 404}:
            raise
        message = f"the Hub does not let this token create {repo_id}: {one_line(error.server_message or error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def _model_not_persisted(repo_id: str, folder: Path, inside: str, token: str, error: BaseException) -> Stop:
    """Return the stop that says where the model is: on a Job in the volume or a bucket, else where it was made."""
    reason = one_line(error.message if isinstance(error, Stop) else error)
    here = folder.absolute()
    message = f"the model is not in {repo_id} ({reason}); it is in {here}"
    if not os.environ.get("JOB_ID"):
        return Stop(EXIT_NOT_PERSISTED, message, fix=_model_push(repo_id, str(here), inside))
    volume = os.environ.get("JOBSHELF_VOLUME")
    mounted = [f"{volume}/{repo_id.replace('/', '--')}"] if volume else []
    for given in [*mounted, f"hf://buckets/{repo_id}-model"]:
        if _model_saved(given, folder, inside, token):
            fetch = "" if given in mounted else f"hf buckets sync {given} ./to-push && "
            push = _model_push(repo_id, given if given in mounted else "./to-push", "")
            saved = f"the model is not in {repo_id} ({reason}); it is saved in {given}"
            return Stop(EXIT_NOT_PERSISTED, saved, fix=fetch + push)
    return Stop(EXIT_NOT_PERSISTED, message, fix=f"{_model_push(repo_id, str(here), inside)} before this disk is gone")


def _model_push(repo_id: str, folder: str, inside: str) -> str:
    leave_out = ["--exclude", ".cache/*"] if (Path(folder) / ".cache").exists() else []
    return shlex.join(["hf", "upload", repo_id, folder, inside or ".", *leave_out, "--repo-type", "model"])


def _model_saved(given: str, folder: Path, inside: str, token: str) -> bool:
    place = parse_bucket(given)
    start = f"{inside}/" if inside else ""
    try:
        if place.bucket_id is not None:
            create_bucket_once(place, token)
        put_in_bucket(place, {f"{start}{name}": folder / name for name in _model_names(folder)}, token)
    except (Stop, OSError, RuntimeError) as error:
        note(
            f"{given} does not take the model either ({one_line(error.message if isinstance(error, Stop) else error)})"
        )
        return False
    return True
