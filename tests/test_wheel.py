"""What `pip install jobshelf` gives: the shelf travels with the tool."""

from __future__ import annotations

import subprocess

import pytest

from support import BIN, ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder `bin` with the tool installed from a built wheel, without development dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = BIN / "uv"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    subprocess.run([uv, "venv", "--quiet", "--python", BIN / "python", folder / "venv"], check=True)
    wheel = next(folder.glob("*.whl"))
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wheel], check=True, cwd=ROOT)
    return folder / "venv" / "bin"


def run(installed, *words, cwd):
    return subprocess.run([installed / "jobshelf", *words], cwd=cwd, capture_output=True, text=True)


def test_the_installed_tool_lists_and_shows_the_shelf(installed, tmp_path):
    here = run(installed, "list", cwd=ROOT)
    there = run(installed, "list", cwd=tmp_path)
    assert (there.returncode, there.stderr) == (0, "")
    assert there.stdout == here.stdout
    assert "sha256" in run(installed, "show", "dataset_inspector", cwd=tmp_path).stdout


def test_the_installed_shelf_is_the_checkouts(installed):
    data = next(installed.parent.glob("lib/python*/site-packages/jobshelf/_data"))
    assert (data.parent / "index" / "index.schema.json").is_file()
    for name in ("index.json", "copier.yml", "pyproject.toml"):
        assert (data / name).read_bytes() == (ROOT / name).read_bytes()
    for folder in ("catalog", "templates", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (data / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_the_installed_index_check_passes(installed, tmp_path):
    assert run(installed, "index", "--check", cwd=tmp_path).returncode == 0
