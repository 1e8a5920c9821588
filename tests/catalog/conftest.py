"""Run catalogue scripts as a user does, in a process of their own, and put datasets on the embedded Hub."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.utils import close_session

CATALOG = Path(__file__).parents[2] / "catalog"
NOWHERE = "http://127.0.0.1:9"

Script = Callable[..., subprocess.CompletedProcess[str]]
Publish = Callable[..., str]


@pytest.fixture
def script(environment: dict[str, str], tmp_path: Path) -> Script:
    """`script("finepdfs-stats.py", "./in", env=...)`: the script in a process of its own, in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)

    def run(name: str, *words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, CATALOG / name, *map(str, words)]
        return subprocess.run(argv, env=env or environment, cwd=folder, capture_output=True, text=True, timeout=120)

    return run


@functools.cache
def module(name: str) -> ModuleType:
    """Return the script as a module."""
    path = CATALOG / name
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # for its dataclasses
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def main(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    """The script's main() in this process, for tables of many lines: a tenth of the time. Of `env`, HF_ENDPOINT counts."""
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")

    def run(name: str, *words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        endpoint = (env or {}).get("HF_ENDPOINT", NOWHERE)
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)  # the client has read the other when it was imported
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + template[template.index("/{") :])
        capsys.readouterr()
        try:
            code = module(name).main([str(word) for word in words])
        except SystemExit as left:
            code = int(left.code or 0)
        finally:
            close_session()  # what a script does to the client ends with it
        said = capsys.readouterr()
        return subprocess.CompletedProcess([name, *map(str, words)], code, said.out, said.err)

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
