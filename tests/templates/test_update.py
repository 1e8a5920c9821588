"""Copier as people use it: the real command, a git URL, tags, updates that keep what was edited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support import BIN, ROOT

PROMISE = "Write the function there"


@pytest.fixture
def shell(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command of a user without git configuration and without a cache of Copier's."""
    user = {"HOME": str(tmp_path), "COPIER_CACHE_DIR": str(tmp_path / "cache"), "NO_COLOR": "1"}
    git = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GIT_CONFIG_SYSTEM": os.devnull}
    (tmp_path / "gitconfig").write_text("[user]\n\tname = A\n\temail = a@example.org\n[init]\n\tdefaultBranch = main\n")
    env = {"PATH": os.environ["PATH"]} | user | git

    def run(*words: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=100)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def repository(template, tmp_path, shell) -> Path:
    """The templates as a git repository with the tag v1.0.0."""
    folder = shutil.copytree(template, tmp_path / "repository")
    shell("git", "init", "-q", cwd=folder)
    release(folder, "v1.0.0", shell)
    return folder


def release(repository: Path, tag: str, shell) -> None:
    shell("git", "add", "-A", cwd=repository)
    shell("git", "commit", "-qm", tag, cwd=repository)
    shell("git", "tag", tag, cwd=repository)


def next_release(repository: Path, shell) -> None:
    """Release v1.1.0, in which a shared function and the docstring of the utility are others."""
    block = repository / "templates" / "blocks" / "stop.py"
    block.write_text(block.read_text().replace("error: {found", "stopped: {found"))
    script = repository / "templates" / "utility" / "@{ script }@.jinja"
    script.write_text(script.read_text().replace("Writes nothing.", "Writes nothing at all."))
    release(repository, "v1.1.0", shell)


def copy(shell, source: str, folder: Path, *options: str) -> None:
    """Run `copier copy` and commit what it made."""
    shell(BIN / "copier", "copy", "--defaults", *options, source, str(folder), cwd=folder.parent)
    if not (folder / ".git").exists():
        shell("git", "init", "-q", cwd=folder)
    shell("git", "add", "-A", cwd=folder)
    shell("git", "commit", "-qm", "made", cwd=folder)


def data(**answers: str) -> list[str]:
    return [word for name, value in answers.items() for word in ("-d", f"{name}={value}")]


def test_copy_at_a_tag_then_check_and_update_with_the_edits_kept(repository, tmp_path, shell):
    source, folder = f"git+file://{repository}", tmp_path / "mine"
    next_release(repository, shell)
    options = ["-r", "v1.0.0", *data(name="count-words", kind="utility", extras="[]")]
    made = shell(BIN / "copier", "copy", "--defaults", *options, source, str(folder), cwd=tmp_path)
    assert PROMISE in made.stderr + made.stdout
    assert "uvx jobshelf vet --strict count-words.py" in made.stderr + made.stdout
    copy(shell, source, folder, "--overwrite", *options)
    script, answers = folder / "count-words.py", folder / ".copier" / "count-words.yml"
    assert yaml.safe_load(answers.read_text())["_commit"] == "v1.0.0"
    assert "error: {found" in script.read_text()
    edited = script.read_text().replace(
        'return {"columns": sorted({name for row in rows for name in row})}', "return {}"
    )
    option = '    add("--longest", action="store_true", help="print the longest row")\n'
    script.write_text(edited.replace("    args = parser", f"{option}    args = parser"))
    shell("git", "commit", "-qam", "edited", cwd=folder)

    which = ["-a", ".copier/count-words.yml"]
    told = shell(BIN / "copier", "check-update", *which, "--output-format", "json", cwd=folder)
    assert json.loads(told.stdout)["update_available"] is True
    shell(BIN / "copier", "update", "--defaults", *which, cwd=folder)

    updated = script.read_text()
    assert "return {}\n" in updated and "sorted({name" not in updated
    assert option in updated and "stopped: {found" in updated and "error: {found" not in updated
    assert "Writes nothing at all." in updated and "<<<<" not in updated
    assert yaml.safe_load(answers.read_text())["_commit"] == "v1.1.0"
    told = shell(BIN / "copier", "check-update", *which, "--output-format", "json", cwd=folder)
    assert json.loads(told.stdout)["update_available"] is False


def test_the_newest_tag_is_taken_of_a_clones_path(repository, tmp_path, shell):
    next_release(repository, shell)
    copy(shell, str(repository), tmp_path / "mine", *data(kind="utility"))
    assert yaml.safe_load((tmp_path / "mine" / ".copier" / "my-script.yml").read_text())["_commit"] == "v1.1.0"


def test_two_scripts_in_one_folder_are_updated_apart(repository, tmp_path, shell):
    source, folder = f"git+file://{repository}", tmp_path / "mine"
    for name in ("one", "two"):
        copy(shell, source, folder, *data(name=name, kind="utility"))
    before = {path: path.read_text() for path in folder.rglob("*two*") if ".git" not in path.parts and path.is_file()}
    assert len(before) == 3
    next_release(repository, shell)
    shell(BIN / "copier", "update", "--defaults", "-a", ".copier/one.yml", cwd=folder)
    assert "Writes nothing at all." in (folder / "one.py").read_text()
    assert {path: path.read_text() for path in before} == before
    answers = {name: yaml.safe_load((folder / ".copier" / f"{name}.yml").read_text()) for name in ("one", "two")}
    assert {name: given["_commit"] for name, given in answers.items()} == {"one": "v1.1.0", "two": "v1.0.0"}


def test_an_answer_can_be_changed_later(repository, tmp_path, shell):
    source, folder = f"git+file://{repository}", tmp_path / "mine"
    copy(shell, source, folder, *data(kind="utility"))
    options = ["-a", ".copier/my-script.yml", "-r", ":current:", *data(trigger="webhook")]
    shell(BIN / "copier", "update", "--defaults", *options, cwd=folder)
    assert "def webhook_is_about(" in (folder / "my-script.py").read_text()


def test_a_refused_answer_leaves_nothing_behind(repository, tmp_path, shell):
    options = data(kind="dataset", persistence="hub-dataset", token="none")
    source, folder = f"git+file://{repository}", tmp_path / "mine"
    done = shell(BIN / "copier", "copy", "--defaults", *options, source, str(folder), cwd=tmp_path, code=1)
    assert "the Hub takes nothing without a token that may write" in done.stderr
    assert not folder.exists() or not any(folder.iterdir())


def test_a_script_from_the_fenced_templates_shows_its_function_after_the_update(template, tmp_path, shell):
    repository = shutil.copytree(template, tmp_path / "repository")
    shell("git", "init", "-q", cwd=repository)
    current = repository / "templates" / "dataset" / "@{ script }@.jinja"
    text = current.read_text()
    current.write_text((ROOT / "tests" / "jobs" / "square.py.txt").read_text())
    release(repository, "v1.0.0", shell)
    current.write_text(text)
    release(repository, "v1.1.0", shell)
    folder = tmp_path / "mine"
    copy(shell, f"git+file://{repository}", folder, "-r", "v1.0.0", *data(name="square", kind="dataset"))
    script = folder / "square.py"
    script.write_text(script.read_text().replace('str(row["number"] ** 2)', 'str(row["number"] ** 3)'))
    shell("git", "commit", "-qam", "edited", cwd=folder)
    shell(BIN / "copier", "update", "--defaults", "-a", ".copier/square.yml", cwd=folder)
    updated = script.read_text()
    assert 'str(row["number"] ** 3)' in updated and "class Output:" in updated
    assert "<<<<<<< before updating" in updated
