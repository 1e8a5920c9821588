"""The persistence of a model while it is trained: checkpoints, of which the last one stays, and in the end the model."""

import argparse
import json
import os
import re
import shlex
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from .retrying import retrying
from .stop import stop


class TrainingOutput:
    """The place of a training: user/name on the Hub, hf://buckets/..., s3://..., gs://... or a folder.

    Its run.json says whose files they are. What is put there takes the place of the checkpoint before it.
    """

    def __init__(self, args: argparse.Namespace, target: str, run: dict[str, Any]) -> None:
        from fsspec import url_to_fs
        from fsspec.implementations.dirfs import DirFileSystem

        self.args, self.target, self.run = args, target, run
        self.repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", target) is not None
        store, root = url_to_fs(f"hf://{target}" if self.repo else target)
        self.fs = DirFileSystem(root, store)
        self.folder = Path(root) if "file" in store.protocol else None
        names, self.held = retrying(self.look)
        differs = [key for key, value in run.items() if self.held.get(key) != value]
        is_ours = bool(self.held) and (args.keep or not differs)
        if names and not is_ours and not args.overwrite:
            found = f"another run ({', '.join(differs)} differ)" if self.held else "files of another origin"
            also = "--keep to resume it, or " if self.held else ""
            stop(4, f"{target} holds {found}", f"name another output, or add {also}--overwrite")
        if is_ours:
            self.run = {**run, "kept": self.held} if differs else self.held
        self.is_finished = is_ours and not differs and "training_log.jsonl" in names
        steps = [re.fullmatch(r"checkpoint-(\d+)/trainer_state\.json", name) for name in names if is_ours]
        last = max((int(step[1]) for step in steps if step), default=None)
        self.checkpoint = last and f"checkpoint-{last}"

    def look(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names of the files that are there now, and what run.json says."""
        names, held = set(), {}
        self.fs.fs.invalidate_cache()  # all of it: for one path, the Hub would be asked
        with suppress(FileNotFoundError, TypeError, ValueError):
            names = {name for name in self.fs.find("") if "/." not in f"/{name}"}
            held = dict(json.loads(self.fs.cat_file("run.json"))) if "run.json" in names else {}
        return names, held

    def claim(self, *, private: bool) -> None:
        """Make the place if there is none, private like its input, and write whose it is."""
        from huggingface_hub import HfApi

        api, private = HfApi(), self.args.private or (private and not self.args.public)
        bucket = re.match(r"hf://buckets/([^/]+/[^/]+)", self.target)
        if self.repo:
            retrying(api.create_repo, self.target, private=private, exist_ok=True)
            if private:  # also one that was there
                retrying(api.update_repo_settings, self.target, private=True)
        elif bucket:
            retrying(api.create_bucket, bucket[1], private=private, exist_ok=True)
            if private:
                retrying(api.update_bucket_settings, bucket[1], private=True)
        if self.run != self.held and "kept" not in self.run:
            self.clear()

    def clear(self) -> None:
        """Leave nothing of a training but run.json."""
        with tempfile.TemporaryDirectory() as empty:
            self.send(Path(empty))

    def send(self, folder: Path) -> None:
        """Put the files of a folder there; within two minutes, or ConnectionError."""
        retrying(self.put, folder)

    def put(self, folder: Path) -> None:
        """Put the files of a folder there, in a repository with one commit. Repeated, it changes nothing."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        names, held = self.look()
        if held not in (self.held, self.run):
            stop(4, f"another run has taken {self.target}", "name another output, or run this again with --overwrite")
        (folder / "run.json").write_text(json.dumps(self.run), encoding="utf-8")
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        if self.repo:
            changes = [CommitOperationDelete(name) for name in names - files.keys()]
            changes += [CommitOperationAdd(name, path) for name, path in files.items()]
            HfApi().create_commit(self.target, changes, commit_message=f"Add {len(files)} files")
        else:
            last = ("trainer_state.json", "training_log.jsonl")  # the others are there when these are
            for name in sorted(files, key=lambda name: name.endswith(last)):
                self.put_file(files[name], name)
            made = {name.partition("/")[0] for name in names if re.match(r"checkpoint-\d+/|training_log\.jsonl$", name)}
            for name in made - {name.partition("/")[0] for name in files}:  # of what else there may be, nothing is ours
                self.fs.rm(name, recursive=True)
        self.held = self.run

    def put_file(self, path: Path, name: str) -> None:
        """Put a file there, whole or not at all."""
        if self.folder is None:
            self.fs.put_file(str(path), name)
            return
        there = self.folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, there.with_name(f".{there.name}"))  # a copy, if it comes from another disk
        there.with_name(f".{there.name}").replace(there)

    def publish(self, folder: Path) -> None:
        """Put the model there, within half an hour; if it is refused for good, keep it here and stop with 6."""
        from huggingface_hub import HfApi
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

        is_away, tries = retry_if_exception_type(ConnectionError), stop_after_attempt(20)  # of two minutes each
        try:
            Retrying(retry=is_away, stop=tries, reraise=True)(self.send, folder)
        except Exception as error:
            if self.folder:
                raise
            kept = shutil.move(folder, Path(f"unsaved-{os.getpid()}").absolute())
            here, there = shlex.quote(str(kept)), shlex.quote(self.target)
            sync = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r"}.get(self.target[:2], "hf buckets sync")
            push = f"hf upload {there} {here} . --delete 'checkpoint-*'" if self.repo else f"{sync} {here} {there}"
            stop(6, f"{self.target} refused the model now in {kept}: {error}", push)
        shutil.rmtree(folder)
        if self.repo and not self.args.overwrite:  # the checkpoints would stay in the history
            retrying(HfApi().super_squash_history, self.target)
