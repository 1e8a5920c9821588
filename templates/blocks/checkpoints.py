# block: checkpoints 1
"""The checkpoints of a training on the Hub: complete ones only, each in one commit, the newest found again.

Promises: a checkpoint counts once its seal, written last, lists what it holds and all of that is there; one commit adds it
and removes those beyond the limit, so that no kill leaves half of one; training never waits for the Hub and never
ends because of it: a push is tried again until it works or a newer checkpoint replaces it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exits import Stop, note, one_line
from .persist_file import Run
from .persist_model import (
    MODEL_ATTEMPTS,
    ModelHeld,
    _model_commit,
    _model_files,
    _model_read,
    _model_stale,
    _model_verify,
    _model_wanted,
    fetch_model,
    look_at_model,
)
from .retry import http_status

CHECKPOINTS_FOLDER = "checkpoints"
CHECKPOINT_SEAL = "complete.json"
CHECKPOINT_PAUSE_S = 30.0  # between two tries to push, while the Hub does not take it
CHECKPOINT_FLUSH_S = 600.0  # the most that the end of the training waits for the Hub
_CHECKPOINT_NAME = re.compile(r"checkpoint-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint after optimizer step `step`. `facts` are what its seal says of the training.

    `path` is its folder here, None for one that is on the Hub only.
    """

    step: int
    facts: Mapping[str, Any]
    path: Path | None = None


def seal_checkpoint(folder: Path, facts: Mapping[str, Any]) -> None:
    """Declare the checkpoint in `folder` complete: list its files with their sizes, in a file that appears at once.

    The facts keep their order: what goes on from here tells its settings in the same one.
    """
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != CHECKPOINT_SEAL}
    part = folder.with_name(f".{folder.name}.part")
    part.write_text(json.dumps({"files": sizes, "facts": facts}, indent=1), encoding="utf-8")
    part.replace(folder / CHECKPOINT_SEAL)


def newest_here(folder: Path) -> Checkpoint | None:
    """Return the complete checkpoint below `folder` with the highest step, None when there is none."""
    found = [_checkpoint_here(path) for path in folder.glob("checkpoint-*")] if folder.is_dir() else []
    return max((one for one in found if one), key=lambda one: one.step, default=None)


def newest_on_hub(repo_id: str, held: ModelHeld, token: str | None) -> Checkpoint | None:
    """Return the complete checkpoint of the repository, as `held` shows it, with the highest step; None without one."""
    seals = [
        name for name in held.files if name.startswith(f"{CHECKPOINTS_FOLDER}/") and name.endswith(CHECKPOINT_SEAL)
    ]
    steps = {int(match[1]): name for name in seals if (match := _CHECKPOINT_NAME.fullmatch(name.split("/")[1]))}
    for step in sorted(steps, reverse=True):
        seal = _checkpoint_seal(_model_read(repo_id, held.head, steps[step], token))
        inside = steps[step].removesuffix(CHECKPOINT_SEAL)
        if seal and all(f"{inside}{name}" in held.files for name in seal["files"]):
            return Checkpoint(step=step, facts=seal["facts"])
        note(f"{inside} of {repo_id} is not complete: looking for an earlier one")
    return None


def fetch_checkpoint(repo_id: str, checkpoint: Checkpoint, into: Path, token: str | None) -> Path:
    """Bring a checkpoint of the repository to the folder `into` of all checkpoints; return its own folder."""
    name = f"checkpoint-{checkpoint.step}"
    found = fetch_model(repo_id, into / name, token=token, inside=f"{CHECKPOINTS_FOLDER}/{name}")
    if found is None:
        raise RuntimeError(f"{name} of {repo_id} is not there any more")
    return found


def push_checkpoints(repo_id: str, folder: Path, run: Run, token: str) -> str:
    """Make CHECKPOINTS_FOLDER of the repository what `folder` holds, in one commit; return that commit."""
    for _ in range(MODEL_ATTEMPTS):
        held = look_at_model(repo_id, token)
        if held is None:
            raise RuntimeError(f"{repo_id} is not there any more")
        wanted = _model_wanted(folder, run, held, None, CHECKPOINTS_FOLDER, keep=())
        stale = _model_stale(held, wanted, CHECKPOINTS_FOLDER)
        commit = _model_commit(repo_id, held, wanted, stale, run, token)
        if commit is not None:
            _model_verify(wanted, _model_files(repo_id, commit, token))
            return commit
    raise RuntimeError(f"{repo_id} changed {MODEL_ATTEMPTS} times while this was written")


class CheckpointPusher:
    """Pushes checkpoints from a thread of its own. `limit` is how many the Hub keeps, `every` the seconds between pushes.

    With `every` 0 each push is done before `push` returns, or has been tried once.
    """

    def __init__(self, repo_id: str, run: Run, token: str, *, limit: int, every: float) -> None:
        self._repo_id, self._run, self._token = repo_id, run, token
        self._limit, self._every = limit, every
        self._changed = threading.Condition()
        self._waiting: Path | None = None
        self._busy, self._closing, self._cancelled, self._refused, self._ended = False, False, False, False, False
        self.pushed: list[int] = []
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def push(self, folder: Path) -> None:
        """Take the complete checkpoints in `folder` for the next push; one that still waits is replaced."""
        staged = _stage_checkpoints(folder, self._limit)
        with self._changed:
            if self._waiting is not None:
                shutil.rmtree(self._waiting, ignore_errors=True)
            self._waiting = staged
            self._changed.notify_all()
            if not self._every:
                self._changed.wait_for(self._is_idle, CHECKPOINT_PAUSE_S)

    def close(self, seconds: float) -> bool:
        """Wait at most so long until the newest checkpoint is pushed; return whether it is."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_idle, seconds)
            return not self._busy and self._waiting is None and not self._refused

    def cancel(self) -> None:
        """Push nothing more: the model itself is there. A push that is under way comes to its end first."""
        with self._changed:
            self._closing = self._cancelled = True
            if self._waiting is not None:
                shutil.rmtree(self._waiting, ignore_errors=True)
                self._waiting = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._busy)

    def _is_idle(self) -> bool:
        return not self._busy and (self._waiting is None or self._ended)

    def _work(self) -> None:
        try:
            self._push_each()
        finally:  # whatever ends this thread: nobody waits for it
            with self._changed:
                self._busy, self._ended = False, True
                self._changed.notify_all()

    def _push_each(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None)
                staged, self._waiting, self._busy = self._waiting, None, True
            self._push(Path(str(staged)))
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing, self._every)

    def _push(self, staged: Path) -> None:
        newest = newest_here(staged)
        while newest is not None and not self._refused:
            try:
                push_checkpoints(self._repo_id, staged, self._run, self._token)
            except (Stop, OSError, RuntimeError, ValueError) as error:
                reason = one_line(error.message if isinstance(error, Stop) else error)
                self._refused = http_status(error) in {401, 403, 404}
                more = "no more of them will be sent" if self._refused else "training goes on, it will be tried again"
                note(f"checkpoint {newest.step} is not on the Hub ({reason}): {more}")
                if self._refused or self._pause():
                    break
            else:
                self.pushed.append(newest.step)
                note(f"checkpoint {newest.step} is in {self._repo_id}")
                break
        shutil.rmtree(staged, ignore_errors=True)

    def _pause(self) -> bool:
        """Wait before the next try; return whether this checkpoint is not needed any more."""
        with self._changed:
            return self._changed.wait_for(lambda: self._cancelled or self._waiting is not None, CHECKPOINT_PAUSE_S)


def _checkpoint_here(path: Path) -> Checkpoint | None:
    match = _CHECKPOINT_NAME.fullmatch(path.name)
    file = path / CHECKPOINT_SEAL
    seal = _checkpoint_seal(file.read_bytes()) if match and file.is_file() else None
    if match is None or seal is None:
        return None
    whole = all(
        (path / name).is_file() and (path / name).stat().st_size == size for name, size in seal["files"].items()
    )
    return Checkpoint(step=int(match[1]), facts=seal["facts"], path=path) if whole else None


def _checkpoint_seal(text: bytes) -> dict[str, Any] | None:
    try:
        seal = json.loads(text)
    except ValueError:
        return None
    known = isinstance(seal, dict) and isinstance(seal.get("files"), dict) and isinstance(seal.get("facts"), dict)
    return seal if known else None


def _stage_checkpoints(folder: Path, limit: int) -> Path:
    """Return a folder beside `folder` with links to the newest complete checkpoints: the trainer deletes old ones."""
    whole = [found for path in folder.glob("checkpoint-*") if (found := _checkpoint_here(path))]
    staged = folder.with_name(f".{folder.name}-{time.monotonic_ns()}")
    for checkpoint in sorted(whole, key=lambda one: one.step)[-limit:]:
        shutil.copytree(str(checkpoint.path), staged / str(checkpoint.path.name), copy_function=_link_or_copy)  # type: ignore[union-attr]
    return staged


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
