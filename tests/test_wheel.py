"""What `pip install jobshelf` gives: the shelf travels with the tool."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from docs.checkout import fresh_clone
from jobshelf.shelf import find_shelf
from support import ROOT, install_wheel
from test_shelf import ACTS, snapshot


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder `bin` with the tool installed from a built wheel."""
    return install_wheel(tmp_path_factory.mktemp("wheel"))


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


@pytest.mark.parametrize("words", ACTS, ids=" ".join)
def test_the_installed_shelf_is_nobodys_own(installed, tmp_path, words):
    """What acts on a shelf refuses and writes nothing, though the package's folder can be written."""
    data = next(installed.parent.glob("lib/python*/site-packages/jobshelf/_data"))
    assert os.access(data / "index.json", os.W_OK)
    before = snapshot(data)
    for folder in (tmp_path, data, Path("/")):
        done = run(installed, *words, cwd=folder)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "no shelf here" in done.stderr and done.stderr.endswith("Fix: jobshelf init\n")
    assert snapshot(data) == before and list(tmp_path.iterdir()) == []


def test_a_shelf_from_the_installed_tool(installed, tmp_path):
    """Its scripts go by the release that the wheel was built from, also where the tool lives inside the shelf."""
    made = run(installed, "init", "mine", "--repo", "me/scripts", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    done = run(installed, "new", "--name", "count-words", "--kind", "utility", cwd=tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    for file in (".copier-answers.yml", ".copier/count-words.yml"):
        given = yaml.safe_load((tmp_path / "mine" / file).read_text())
        assert (given["_src_path"], given["_commit"]) == ("gh:jobshelf/jobshelf", f"v{find_shelf(ROOT).version}")
    (tmp_path / "mine" / ".venv").symlink_to(installed.parent)
    page = run(installed, "page", cwd=tmp_path / "mine")
    assert (page.returncode, page.stdout) == (0, "wrote shelf.html: 1 scripts\n"), page.stderr


@pytest.fixture
def typed(installed, environment, tmp_path):
    """Type a line where the installed tool is; `gh:` leads to a clone in which this release has its tag."""
    clone = fresh_clone(tmp_path / "clone")
    subprocess.run(["git", "tag", f"v{find_shelf(ROOT).version}"], cwd=clone, check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uvx").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "bin" / "uvx").chmod(0o755)
    settings = {
        f"url.file://{clone}.insteadOf": "https://github.com/jobshelf/jobshelf.git",
        "user.name": "A",
        "user.email": "a@example.org",
    }
    for name, value in settings.items():
        git = ["git", "config", "--file", Path(environment["HOME"]) / ".gitconfig", name, value]
        subprocess.run(git, check=True)
    env = environment | {"PATH": f"{tmp_path / 'bin'}:{installed}:/usr/local/bin:/usr/bin:/bin"}

    def type_(line, folder=tmp_path, code=0):
        done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, f"{line}\n{done.stdout}{done.stderr}"
        return done

    return type_


def test_a_name_clash_and_its_fix_and_updates_of_a_shelf(typed, tmp_path):
    typed("jobshelf init mine --repo me/scripts")
    shelf = tmp_path / "mine"
    for folder in (shelf, tmp_path / "flat"):
        folder.mkdir(exist_ok=True)
        typed("jobshelf new --name count-words --kind utility", folder)
        clash = typed("jobshelf new --name count_words --kind utility", folder, code=2)
        assert "choose another --name, or update it. Fix: git init && git add -A && " in clash.stderr
        fix = clash.stderr.partition("Fix: ")[2].strip()
        typed(f"{fix} --defaults", folder)
        clash = typed("jobshelf new --name count-words --kind utility", folder, code=2)
        assert clash.stderr.endswith("Fix: uvx copier update -a .copier/count-words.yml\n")

    clone = next((tmp_path / "clone").glob("jobshelf"))
    workflow = clone / "templates/shelf/.github/workflows/vet.yml.jinja"
    workflow.write_text(workflow.read_text().replace("timeout-minutes: 30", "timeout-minutes: 31"))
    readme = clone / "templates/shelf/README.md.jinja"
    readme.write_text(f"{readme.read_text()}more\n")
    typed("git commit -qam Later && git tag v9.0.0", clone)
    (shelf / "README.md").write_text("mine")
    typed("git add -A && git commit -qm Mine && uvx copier update --defaults", shelf)
    assert "timeout-minutes: 31" in (shelf / ".github/workflows/vet.yml").read_text()
    assert (shelf / "README.md").read_text() == "mine"
