"""From arguments to scripts: files, folders, links, git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobshelf.errors import InputError, UsageError
from jobshelf.vet import collect
from jobshelf.vet.targets import load

SCRIPT = "# /// script\n# dependencies = []\n# ///\n"


def names(*typed: str, since: str | None = None) -> list[str]:
    return [target.path for target in collect(typed, since=since)]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_a_folder_only_what_looks_like_a_script_is_meant(folder: Path) -> None:
    for name, text in {
        "b.py": SCRIPT,
        "a.py": "#/// Script\n",
        "below.py": f"import sys\n{SCRIPT}",
        "broken.py": f"x = (\n{SCRIPT}",
        "library.py": "x = 1\n",
        "writes_scripts.py": f'TEXT = """\n{SCRIPT}"""\n',
        "documents_scripts.py": f'"""How to.\n\n    {SCRIPT}"""\n',
        "notes.txt": SCRIPT,
        "sub/c.py": SCRIPT,
        ".hidden/d.py": SCRIPT,
        "node_modules/e.py": SCRIPT,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert names(".") == ["a.py", "b.py", "below.py", "broken.py", "sub/c.py"]
    assert names("library.py", "b.py", ".") == ["library.py", "b.py", "a.py", "below.py", "broken.py", "sub/c.py"]


def test_a_link_back_to_the_folder_is_no_loop(folder: Path) -> None:
    (folder / "a.py").write_text(SCRIPT)
    (folder / "sub").mkdir()
    (folder / "sub" / "back").symlink_to(folder)
    (folder / "broken.py").symlink_to(folder / "nowhere.py")
    assert names(".") == ["a.py"]


def test_what_is_no_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")
    with pytest.raises(UsageError, match=r"missing\.py does not exist"):
        collect(["missing.py"])
    with pytest.raises(InputError, match=r"pipe\.py is a named pipe, expected a Python file"):
        load(*collect(["pipe.py"]))
    (folder / "loop").symlink_to("loop")
    for name in ("n" * 5000, "nul\0", "loop"):
        with pytest.raises(UsageError, match="cannot be read"):
            collect([name])
    assert names(".") == []


def test_changed_scripts_are_those_that_differ_from_the_base_or_are_new(folder: Path) -> None:
    for name in ("same.py", "edited.py", "gone.py"):
        (folder / name).write_text(SCRIPT)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / "edited.py").write_text(f"{SCRIPT}print(1)\n")
    (folder / "gone.py").unlink()
    (folder / "new one.py").write_text(SCRIPT)
    (folder / "library.py").write_text("x = 1\n")
    assert names(".", since="HEAD") == ["edited.py", "new one.py"]
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "second")
    assert names(".", since="HEAD") == []
    assert names(".", since="HEAD~1") == ["edited.py", "new one.py"]
    git(folder, "branch", "topic", "HEAD~1")
    git(folder, "checkout", "-q", "topic")
    (folder / "same.py").write_text(f"{SCRIPT}print(2)\n")
    assert names(".", since="main") == ["same.py"]
    with pytest.raises(UsageError, match="--changed nowhere: git says"):
        collect(["."], since="nowhere")
    with pytest.raises(UsageError, match="is a URL"):
        collect(["https://example.org/x.py"], since="HEAD")


def test_changed_outside_git_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    with pytest.raises(UsageError, match="git"):
        collect(["."], since="HEAD")


def test_an_option_like_revision_is_not_an_option_of_git(folder: Path) -> None:
    git(folder, "init", "-q")
    with pytest.raises(UsageError):
        collect(["."], since="--output=stolen")
    assert not (folder / "stolen").exists()


def test_a_folder_that_looks_like_a_file_is_read_as_a_folder(folder: Path) -> None:
    (folder / "a.py").mkdir()
    (folder / "a.py" / "b.py").write_text(SCRIPT)
    assert names("a.py") == ["a.py/b.py"]
    with pytest.raises(UsageError, match="names no host"):
        collect(["https://"])


def test_what_git_ignores_is_skipped_in_a_folder(folder: Path) -> None:
    for name in (
        "a.py",
        "data/b.py",
        "data/keep.py",
        "sub/c.py",
        "sub/made.py",
        ".hidden/d.py",
        "dist/e.py",
        "new/f.py",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(SCRIPT)
    (folder / ".gitignore").write_text("data/\n")
    (folder / "sub" / ".gitignore").write_text("made.py\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "add", "-f", "data/keep.py")
    (folder / "a.py").unlink()
    (folder / "new" / "g.py").write_text(SCRIPT)
    assert names(".") == ["data/keep.py", "new/f.py", "new/g.py", "sub/c.py"]
    assert names("sub") == ["sub/c.py"]
    assert names("data/b.py") == ["data/b.py"], "a file that is named is meant"


def test_a_folder_that_git_ignores_is_searched_when_it_is_named(folder: Path) -> None:
    (folder / "made").mkdir()
    (folder / "made" / "a.py").write_text(SCRIPT)
    (folder / ".gitignore").write_text("made/\n")
    git(folder, "init", "-q")
    assert names(".") == []
    assert names("made") == ["made/a.py"]


def test_repositories_inside_a_repository_are_searched(folder: Path) -> None:
    for inner in ("inner", "module"):
        (folder / inner).mkdir()
        (folder / inner / "a.py").write_text(SCRIPT)
        (folder / inner / "made.py").write_text(SCRIPT)
        (folder / inner / ".gitignore").write_text("made.py\n")
        git(folder / inner, "init", "-q")
        git(folder / inner, "add", "-A")
        git(folder / inner, "commit", "-qm", "first")
    git(folder, "init", "-q")
    git(folder, "add", "module")
    assert names(".") == ["inner/a.py", "module/a.py"]
    (folder / "module" / ".git").rename(folder / "module" / ".moved")
    assert "module/a.py" not in names("."), "what a submodule holds that is not there is not known"


def test_no_program_that_a_repository_names_is_run(folder: Path) -> None:
    (folder / "a.py").write_text(SCRIPT)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    git(folder, "config", "core.fsmonitor", f"touch {folder}/ran #")
    assert names(".") == ["a.py"]
    assert names(".", since="HEAD") == []
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.parquet", b"PAR1\x15\x04\x15\x80\xff"),
        ("rows.csv", b"import,requests\n1,2\n"),
        ("plot.png", b"\x89PNG\r\n\x1a\n\x00\x00"),
        ("notes.md", b"# Notes\n"),
        ("LICENSE", b"Apache License\n"),
    ],
)
def test_a_data_file_is_not_taken_for_python(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(UsageError, match=f"{name} is not a Python file"):
        collect([name])
    assert names(".") == []


def test_a_script_by_another_name_is_taken(folder: Path) -> None:
    for name, text in {
        "clean-up": "#!/usr/bin/env -S uv run --script\nprint(1)\n",
        "hook": "#!/usr/bin/python3\nprint(1)\n",
        "job.txt": SCRIPT,
        "empty.py": "",
        "window.pyw": "print(1)\n",
    }.items():
        (folder / name).write_text(text)
        assert names(name) == [name]
