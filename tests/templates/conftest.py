"""The templates as Copier sees them, away from the repository around them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from copier import run_copy

from support import BIN, ROOT, TOKEN
from templates.written import written

Render = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]
ROWS = [{"prompt": f"row {number}", "text": "ab" * number} for number in range(5)]


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A folder with copier.yml and templates/ as they are in the working tree, and nothing else."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copy(ROOT / "copier.yml", folder)
    shutil.copytree(ROOT / "templates", folder / "templates", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def render(template: Path, tmp_path: Path) -> Render:
    """`render(kind="utility")` is the folder that Copier made with these answers and the defaults, without --trust."""

    def make(folder: str = "made", /, **answers: Any) -> Path:
        run_copy(str(template), tmp_path / folder, data=answers, defaults=True, quiet=True)
        return tmp_path / folder

    return make


def files_in(folder: Path) -> Mapping[str, str]:
    """Return the text of every file below `folder`, by its relative path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


def jsonl(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def put(client, repo: str, files: Mapping[str, bytes], repo_type: str = "dataset") -> None:
    client.create_repo(repo, repo_type=repo_type, exist_ok=True)
    for name, data in files.items():
        client.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=repo, repo_type=repo_type)


def rows_in(folder: Path) -> pl.DataFrame:
    """The rows of all parts in the folder of a result."""
    return pl.concat([pl.read_parquet(path) for path in sorted((folder / "data").glob("*.parquet"))])


@pytest.fixture
def script(render) -> Callable[..., str]:
    """`script(kind="dataset", persistence="bucket")`: the text of the script, written."""

    def make(**answers: str) -> str:
        text = (render(extras=[], **answers) / "my-script.py").read_text(encoding="utf-8")
        return written(text, answers["kind"])

    return make


@pytest.fixture
def here(environment, tmp_path) -> Run:
    """`here(text, "rows.jsonl", "./out", code=0)`: run the script in a folder with rows.jsonl and model/, without a token."""
    (tmp_path / "rows.jsonl").write_bytes(jsonl(ROWS))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")

    def run(text: str, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "count-things.py").write_text(text, encoding="utf-8")
        argv = [sys.executable, "count-things.py", *words]
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment | variables, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def by_url(client, hub_environment, tmp_path) -> Run:
    """`by_url(text, "alice/rows", "alice/result")`: publish the script, and let uv run it from its URL."""

    def run(text: str, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        put(client, "alice/scripts", {"count-things.py": text.encode()})
        url = f"{client.endpoint}/datasets/alice/scripts/resolve/main/count-things.py"
        argv = [BIN / "uv", "run", "--no-project", url, *words]
        env = hub_environment | variables
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, done.stdout + done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return done

    return run
