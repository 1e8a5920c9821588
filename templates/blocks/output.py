"""The persistence block for rows and files: one class for every place that keeps them."""

import argparse
import json
import os
import re
import shlex
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .retrying import retrying
from .stop import stop


class Output:
    """The place of a run's files: user/name on the Hub, hf://buckets/..., s3://..., gs://... or a folder.

    Its run.json says whose files they are; `finished` names those of this run. A new file waits in `folder`: in a
    repository for up to `--commit-every` seconds, as the Hub takes 128 commits an hour.
    """

    def __init__(self, args: argparse.Namespace, run: dict[str, Any], *, kind: str = "dataset") -> None:
        from fsspec import url_to_fs
        from fsspec.implementations.dirfs import DirFileSystem

        self.args, self.target, self.kind = args, args.output, kind
        self.repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", self.target) is not None
        prefix = {"dataset": "hf://datasets/", "model": "hf://"}[kind] if self.repo else ""
        store, self.root = url_to_fs(prefix + self.target)
        self.fs, self.local = DirFileSystem(self.root, store), "file" in store.protocol
        names, held = retrying(self.look)
        differs = [key for key, value in run.items() if held.get(key) != value]
        differs += ["kept"] if args.overwrite and "kept" in held else []
        self.run, self.finished, self.stale = run, set[str](), set[str]()
        if not differs:
            self.run, self.finished = held, names
        elif args.overwrite or not names:  # a repository has a history; elsewhere only files of a run are deleted
            made = re.compile("" if self.repo else r"(data|checkpoint-\d+)/|(README\.md|run\.json)$")
            self.stale = {name for name in names if made.match(name) and (self.repo or held)}
        elif args.keep and held:
            self.run, self.finished = {**run, "kept": held}, names - {"README.md", "run.json"}
        else:
            found = f"another run ({', '.join(differs)} differ)" if held else "files of another origin"
            also = "--keep to keep its parts, or " if held else ""
            stop(4, f"{self.target} holds {found}", f"name another output, or add {also}--overwrite")

    def look(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names of the files that are there now, those of other processes too, and what run.json says."""
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
            retrying(api.create_repo, self.target, repo_type=self.kind, private=private, exist_ok=True)
            if private:  # also one that was there
                retrying(api.update_repo_settings, self.target, repo_type=self.kind, private=True)
        elif bucket:
            retrying(api.create_bucket, bucket[1], private=private, exist_ok=True)
            if private:
                retrying(api.update_bucket_settings, bucket[1], private=True)
        self.waiting, self.sent = tempfile.TemporaryDirectory(), float("-inf")
        self.folder = Path(self.waiting.name)
        for name in () if self.repo else self.stale:
            retrying(self.fs.rm_file, name)
        if "run.json" not in self.finished:
            self.write("run.json", json.dumps(self.run).encode())

    def write(self, name: str, data: bytes) -> None:
        """Put a file there: at once, or in a repository with the next commit."""
        part, path = self.folder / ".part", self.folder / name
        part.write_bytes(data)  # under a hidden name, which is not sent: a full disk or SIGTERM may cut it short
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        self.finished.add(name)
        if not self.repo or time.monotonic() - self.sent >= self.args.commit_every:
            self.send()

    def send(self) -> None:
        """Send what waits; when it is refused for good, keep it here and stop with 6."""
        if not any(self.folder.glob("[!.]*")):
            return
        try:
            retrying(self.put)
        except Exception as error:
            if self.local:
                raise
            kept = shutil.move(self.folder, Path(f"unsaved-{os.getpid()}").absolute())
            here, there = shlex.quote(str(kept)), shlex.quote(self.target)
            sync = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r"}.get(self.target[:2], "hf buckets sync")
            push = f"hf upload {there} {here} . --repo-type {self.kind}" if self.repo else f"{sync} {here} {there}"
            stop(6, f"{self.target} refused the files now in {kept}: {error}", push)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.stale, self.sent = set(), time.monotonic()

    def put(self) -> None:
        """Put what waits in its place; into a repository in one commit. Repeated, it changes nothing."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        names, held = self.look()
        paths = sorted(filter(Path.is_file, self.folder.rglob("[!.]*")), key=lambda path: path.stat().st_mtime_ns)
        files = {path.relative_to(self.folder).as_posix(): path for path in paths}
        if held != self.run and files.keys() != {"run.json"}:
            self.waiting.cleanup()
            stop(4, f"another run has taken {self.target}", "name another output, or run this again with --overwrite")
        if self.repo:
            changes = [CommitOperationDelete(name) for name in self.stale & names - files.keys()]
            changes += [CommitOperationAdd(name, path) for name, path in files.items()]
            HfApi().create_commit(self.target, changes, repo_type=self.kind, commit_message=f"Add {len(files)} files")
            return
        for name, path in files.items():
            if self.local:
                self.place(path, Path(self.root, name))
            else:
                self.fs.put_file(str(path), name)

    def place(self, path: Path, there: Path) -> None:
        """Move a file into the folder, whole or not at all; another process may bring the same file."""
        there.parent.mkdir(parents=True, exist_ok=True)
        part = there.with_name(f".{there.name}.{self.folder.name}")
        try:
            shutil.move(path, part)  # a copy, if it comes from another disk
            part.replace(there)
        except FileNotFoundError:  # the other one was faster, and has cleaned up
            if not there.exists():
                raise
        finally:
            for left in there.parent.glob(f".{there.name}.*"):  # also what a killed run left
                left.unlink(missing_ok=True)
