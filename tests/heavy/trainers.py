"""Run a trainer of the catalogue as a user does, on the embedded Hub; stop it at a line that it prints."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi

from support import BIN, ROOT

MODEL = "alice/tiny"
SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended."""

    code: int
    said: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """`catalog/train_<method>.py` with the arguments that all runs of a test share."""

    method: str
    dataset: str
    words: Sequence[str]
    env: Mapping[str, str]

    @property
    def script(self) -> Path:
        return ROOT / "catalog" / f"train_{self.method}.py"

    def run(self, output: str, *words: str, stop: signal.Signals | None = None, at: str = "") -> Ended:
        """Run to the end, or send the signal `stop` when a line on stderr contains `at`."""
        argv = [BIN / "uv", "run", self.script, self.dataset, output, "--model", MODEL, "--json", *self.words, *words]
        process = subprocess.Popen(argv, env=dict(self.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines = []
        try:
            for line in process.stderr:
                lines.append(line)
                if stop and at in line:
                    # uv is the parent: it hands a SIGTERM on, and dies of a SIGKILL alone
                    for pid in [*children(process.pid), *([process.pid] if stop == signal.SIGKILL else [])]:
                        signal_to(pid, stop)
                    stop = None
            printed = process.stdout.read()
            code = process.wait(SECONDS)
        finally:
            process.kill()
        last = printed.splitlines()[-1] if printed.strip() else "{}"
        return Ended(code=code, said="".join(lines), facts=json.loads(last))


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started, and those that they did."""
    # each thread has children of its own, and uv has many threads
    listed = [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return [one for child in listed for one in (int(child), *children(int(child)))]


def signal_to(pid: int, number: signal.Signals) -> None:
    import os

    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def push(client: HfApi, repo_id: str, files: Mapping[str, bytes], kind: str) -> None:
    """Put the files on the Hub."""
    client.create_repo(repo_id, repo_type=kind, exist_ok=True)
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
    client.create_commit(repo_id, operations, commit_message="files", repo_type=kind)


def held(client: HfApi, repo_id: str, folder: Path) -> dict[str, bytes]:
    """Return the files of a model on the Hub, its card aside (it names commits)."""
    names = [name for name in client.list_repo_files(repo_id) if name not in {"README.md", ".gitattributes"}]
    paths = {name: client.hf_hub_download(repo_id, name, local_dir=folder / repo_id) for name in names}
    return {name: Path(path).read_bytes() for name, path in paths.items()}


def log_of(files: Mapping[str, bytes]) -> list[dict[str, float]]:
    """Return what the training logged, a step each."""
    return [json.loads(line) for line in files["training_log.jsonl"].splitlines()]


def pairs(rows: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, str]]:
    """Return pairs of a correct and an incorrect solution of the same question."""
    found = []
    for row in rows:
        answers = [value for value in row.values() if isinstance(value, Mapping) and "is_correct" in value]
        right = [answer["solution"] for answer in answers if answer["is_correct"]]
        wrong = [answer["solution"] for answer in answers if not answer["is_correct"]]
        if right and wrong:
            found.append({"prompt": f"{row['question']}\n", "chosen": right[0], "rejected": wrong[0]})
    return found[:count]


def jsonl(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the rows as JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
