"""The environment of a rehearsed script: one a header and index, kept without the index."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from index.wheels import EmptyWheel
from jobshelf.errors import EnvironmentFault
from jobshelf.rehearse.environment import Environment, synced, user_variables
from jobshelf.script import read_script

SCRIPT = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["of-the-shelf>=1,<3"]
# ///
import importlib.metadata, os
print(importlib.metadata.version("of-the-shelf"), os.environ.get("UV_INDEX"))
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def index(tmp_path: Path, version: str) -> str:
    """An index that has this version of the package."""
    wheel = EmptyWheel(name="of-the-shelf", version=version)
    folder = tmp_path / f"index-{version}" / wheel.name
    folder.mkdir(parents=True)
    (folder / wheel.filename).write_bytes(wheel.build())
    (folder / "index.html").write_text(f'<a href="{wheel.filename}">{wheel.filename}</a>', encoding="utf-8")
    return folder.parent.as_uri()


def run(environment: Environment, script: Path, tmp_path: Path) -> str:
    variables = user_variables(environment, tmp_path / "home", tmp_path)
    done = subprocess.run(environment.argv(script, ()), env=variables, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_one_environment_an_index(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = read_script(script).require()
    folders = []
    for version in ("1.0", "2.0"):
        monkeypatch.setenv("UV_INDEX", index(tmp_path, version))
        environment = synced(script, header)
        folders.append(environment.folder)
        assert run(environment, script, tmp_path) == f"{version} None\n", "the run sees no index, and needs none"
    assert folders[0] != folders[1]
    assert synced(script, header).folder == folders[1]


def test_an_index_that_lacks_it_is_not_helped_out_by_another(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = read_script(script).require()
    monkeypatch.setenv("UV_INDEX", index(tmp_path, "2.0"))
    synced(script, header)
    monkeypatch.setenv("UV_INDEX", index(tmp_path, "3.0"))
    with pytest.raises(EnvironmentFault, match="uv sync failed"):
        synced(script, header)


def test_vllm_is_kept_small_and_quiet(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("VLLM_API_KEY", "of the host")
    variables = user_variables(Environment(folder=tmp_path), tmp_path / "home", tmp_path)
    vllm = {name: value for name, value in variables.items() if name.startswith("VLLM")}
    assert vllm == {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
