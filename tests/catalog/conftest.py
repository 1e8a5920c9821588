"""Run catalogue scripts as a user does, in a process of their own, and put datasets on the embedded Hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

CATALOG = Path(__file__).parents[2] / "catalog"

Script = Callable[..., subprocess.CompletedProcess[str]]
Publish = Callable[..., str]


@pytest.fixture
def script(environment: dict[str, str], tmp_path: Path) -> Script:
    """`script("finepdfs-stats.py", "./in", env=...)`: the script in a process of its own, in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()

    def run(name: str, *words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, CATALOG / name, *map(str, words)]
        return subprocess.run(argv, env=env or environment, cwd=folder, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def publish(client: HfApi) -> Publish:
    """`publish("alice/d", {"train.jsonl": b"..."}, private=True)`: one commit with these files; returns its sha."""

    def push(repo_id: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
        client.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        return str(client.create_commit(repo_id, operations, commit_message="data", repo_type="dataset").oid)

    return push


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    """Return `rows` as JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
