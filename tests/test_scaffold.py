"""`jobshelf new`: what Copier gives, with flags for the answers, into any folder or into the shelf's own catalogue."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copier import run_copy

from jobshelf.derive import check_derived
from jobshelf.errors import UsageError
from jobshelf.index import check_index, load_index
from jobshelf.scaffold import QUESTIONS, init, new, new_in_catalog
from jobshelf.shelf import Shelf, find_shelf
from support import ROOT, written

ANSWERS = {
    "kind": "artifact",
    "name": "count-words",
    "title": "Count words (all of them)",
    "persistence": "bucket",
    "token": "write",
    "flavor": "cpu-basic",
    "timeout": "90m",
    "trigger": "webhook",
    "extras": ["test", "ci"],
    "base": "https://example.org/scripts",
}


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    """The shelf as an installed package holds it: no repository, no tests."""
    root = tmp_path / "data"
    for folder in ("catalog", "templates"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("copier.yml", "pyproject.toml"):
        shutil.copy(ROOT / file, root)
    return find_shelf(root)


@pytest.fixture
def checkout(shelf) -> Shelf:
    """The shelf as a checkout: with tests, and an index that is up to date."""
    (shelf.root / "tests").mkdir()
    return shelf


def test_it_gives_what_copier_copy_gives(shelf, tmp_path):
    made = new(tmp_path / "ours", ANSWERS, shelf=shelf)
    run_copy(str(shelf.root), tmp_path / "theirs", data=ANSWERS, defaults=True, quiet=True)
    theirs = [path.relative_to(tmp_path / "theirs") for path in (tmp_path / "theirs").rglob("*") if path.is_file()]
    assert sorted(made.files) == sorted(theirs)
    assert (made.name, made.script, made.folder) == ("count-words", Path("count-words.py"), tmp_path / "ours")
    for file in set(made.files) - {made.answers_file}:
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes(), file


def test_every_answer_can_be_given(shelf, tmp_path):
    assert list(ANSWERS) == list(QUESTIONS)
    made = new(tmp_path / "ours", ANSWERS, shelf=shelf, ask=True)  # with nothing left to ask
    given = yaml.safe_load((tmp_path / "ours" / made.answers_file).read_text())
    assert {name: given[name] for name in ANSWERS} == ANSWERS
    text = (tmp_path / "ours" / made.script).read_text()
    url = "https://example.org/scripts/count-words.py"
    assert f"uv run {url} ./model ./out\n" in text
    assert f"hf jobs uv run --secrets HF_TOKEN {url} user/model hf://buckets/user/results/result\n" in text


def test_the_defaults_do(shelf, tmp_path):
    made = new(tmp_path, {}, shelf=shelf)
    assert sorted(map(str, made.files)) == [".copier/my-script.yml", "my-script.py", "tests/test_my_script.py"]


def test_a_script_from_a_wheel_can_be_updated_from_its_release(shelf, tmp_path):
    made = new(tmp_path, {"kind": "utility"}, shelf=shelf)
    text = (tmp_path / made.answers_file).read_text()
    given = yaml.safe_load(text)
    assert (given["_src_path"], given["_commit"]) == ("gh:jobshelf/jobshelf", f"v{shelf.version}")
    assert text.startswith("# What `copier update` goes by")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"name": "Count Words"}, "--name: use lower-case words"),
        ({"kind": "utility", "persistence": "s3"}, "--persistence: a script of the kind utility cannot"),
        ({"kind": "dataset", "token": "none"}, "--token: the Hub takes nothing without a token"),
        ({"kind": "cake"}, "--kind: 'cake' is not in"),
        ({"extras": "["}, "did not find expected|while parsing|expected"),
        ({"name": "a" * 10_000}, "--name: use 60 characters or fewer"),
        ({"name": "../outside"}, "--name: use lower-case words"),
    ],
)
def test_a_refused_answer_is_a_usage_error_of_one_line(shelf, tmp_path, answers, said):
    with pytest.raises(UsageError, match=said) as caught:
        new(tmp_path / "made", answers, shelf=shelf)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not (tmp_path / "made").exists() or not any((tmp_path / "made").iterdir())


def test_what_is_there_already_is_not_touched(shelf, tmp_path):
    made = new(tmp_path, {"kind": "utility"}, shelf=shelf)
    (tmp_path / made.script).write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        new(tmp_path, {"kind": "utility"}, shelf=shelf)
    assert (tmp_path / made.script).read_text() == "mine"
    new(tmp_path, {"kind": "utility", "name": "another"}, shelf=shelf)


@pytest.mark.parametrize("kind", ["utility", "dataset"])
def test_a_script_test_and_index_entry_for_the_catalogue(checkout, kind):
    made = new_in_catalog({"name": "count-words", "kind": kind}, shelf=checkout)
    assert sorted(map(str, made.files)) == ["catalog/count-words.py", "tests/catalog/test_count_words.py"]
    assert not (checkout.root / ".copier").exists()
    assert check_index(checkout).find("count_words").id == "count-words"
    assert len(load_index(checkout).entries) == len(checkout.scripts())
    compile((checkout.root / "tests/catalog/test_count_words.py").read_text(), "test", "exec")
    assert "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/count-words.py" in (
        checkout.root / made.script
    ).read_text(encoding="utf-8")
    command = [sys.executable, "-m", "jobshelf", "vet", "--strict", "--output-format", "json", "catalog/count-words.py"]
    vetted = subprocess.run(command, cwd=checkout.root, capture_output=True, text=True)
    assert [finding["code"] for finding in json.loads(vetted.stdout)["findings"]] == ["UVS603"], vetted.stdout


@pytest.mark.parametrize("name", ["dataset-inspector", "finepdfs-stats"])
def test_a_name_of_the_shelf_is_refused(checkout, name):
    before = sorted(checkout.root.rglob("*"))
    with pytest.raises(UsageError, match="on the shelf"):
        new_in_catalog({"name": name, "kind": "utility"}, shelf=checkout)
    assert sorted(checkout.root.rglob("*")) == before


class TestAShelf:
    """`jobshelf init`, and `jobshelf new` in what it made."""

    def test_its_files(self, tmp_path):
        made = init(tmp_path / "my-scripts", {"repo": "me/scripts", "github": "me/shelf", "space": "me/page"})
        assert sorted(map(str, made.files)) == [
            ".copier-answers.yml",
            ".github/workflows/publish.yml",
            ".github/workflows/vet.yml",
            ".gitignore",
            "README.md",
            "catalog/.gitkeep",
            "index.json",
            "pyproject.toml",
            "tests/test_shelf.py",
        ]
        shelf = find_shelf(tmp_path / "my-scripts" / "catalog")
        assert shelf == made.shelf and shelf.root == tmp_path / "my-scripts"
        assert (shelf.name, shelf.dataset, shelf.github, shelf.space) == (
            *("my-scripts", "me/scripts"),
            *("me/shelf", "me/page"),
        )
        assert check_index(shelf).entries == ()
        check_derived(shelf, load_index(shelf))

    def test_github_and_space_need_not_be(self, tmp_path):
        shelf = init(tmp_path, {"name": "mine", "repo": "me/scripts"}).shelf
        assert (shelf.github, shelf.space) == (None, None)
        assert "trusted publisher" not in (tmp_path / "README.md").read_text()
        assert "--space" not in (tmp_path / ".github/workflows/publish.yml").read_text()

    @pytest.mark.parametrize(
        ("answers", "said"),
        [
            ({}, "--repo: use owner/name"),
            ({"repo": "scripts"}, "--repo: use owner/name"),
            ({"repo": "me/scripts/more"}, "--repo: use owner/name"),
            ({"repo": "me/a--b"}, "--repo: use owner/name"),
            ({"repo": 'me/"x'}, "--repo: use owner/name"),
            ({"repo": "me/scripts", "github": "me"}, "--github: use owner/name"),
            ({"repo": "me/scripts", "space": "me/x y"}, "--space: use owner/name"),
            ({"repo": "me/scripts", "name": "My Scripts"}, "--name: use lower-case words"),
            ({"repo": "me/scripts", "name": "my_scripts"}, "--name: use '-' in the name of a shelf"),
            ({"repo": "me/scripts", "description": 'A "b"'}, "--description: use letters"),
        ],
    )
    def test_a_refused_answer_leaves_nothing(self, tmp_path, answers, said):
        with pytest.raises(UsageError, match=said) as caught:
            init(tmp_path / "made", answers)
        assert "\n" not in str(caught.value) and not (tmp_path / "made").exists()

    def test_a_readme_that_is_there_stays_and_another_file_is_in_the_way(self, tmp_path):
        (tmp_path / "README.md").write_text("mine")
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "test_shelf.py").write_text("mine")
        with pytest.raises(UsageError, match=r"tests/test_shelf\.py is there already"):
            init(tmp_path, {"name": "mine", "repo": "me/scripts"})
        assert not (tmp_path / "pyproject.toml").exists()
        (tmp_path / "tests" / "test_shelf.py").unlink()
        init(tmp_path, {"name": "mine", "repo": "me/scripts"})
        assert (tmp_path / "README.md").read_text() == "mine"

    def test_a_shelf_or_a_project_is_not_made_one_again(self, tmp_path):
        init(tmp_path / "mine", {"repo": "me/scripts"})
        with pytest.raises(UsageError, match=r"is the shelf mine already\. Fix: jobshelf new"):
            init(tmp_path / "mine", {"repo": "me/scripts"})
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
        with pytest.raises(UsageError, match=r"names no shelf. Fix: add \[tool\.jobshelf\.shelf\]"):
            init(tmp_path, {"repo": "me/scripts"})

    def test_a_script_in_it_keeps_its_answers(self, tmp_path):
        shelf = init(tmp_path / "mine", {"repo": "me/scripts"}).shelf
        made = new_in_catalog({"name": "count-words", "kind": "utility"}, shelf=shelf)
        assert sorted(map(str, made.files)) == [
            *(".copier/count-words.yml", "catalog/count-words.py"),
            "tests/catalog/test_count_words.py",
        ]
        text = (shelf.root / made.script).read_text()
        assert "uv run https://huggingface.co/datasets/me/scripts/resolve/main/count-words.py user/rows" in text
        assert (
            check_index(shelf).find("count-words").url.startswith("https://huggingface.co/datasets/me/scripts/resolve/")
        )

    def test_it_is_no_kind_of_script(self, tmp_path):
        for make in (lambda: new(tmp_path, {"kind": "shelf"}), lambda: new_in_catalog({"kind": "shelf"})):
            with pytest.raises(UsageError, match=r"a shelf is not a script\. Fix: jobshelf init"):
                make()

    def test_the_workflows_name_the_release_of_the_tool(self, tmp_path):
        init(tmp_path / "mine", {"repo": "me/scripts"})
        for path in (tmp_path / "mine" / ".github" / "workflows").iterdir():
            found = re.findall(r"uvx (?:--with )?jobshelf(?:@|==)(\S+)", path.read_text())
            assert found and set(found) == {find_shelf(ROOT).version}


class TestWhatToTypeNext:
    """The commands that `init` and `new` end with, and the one that a name clash names: each does what it says."""

    @pytest.fixture
    def type_(self, hub_environment, tmp_path):
        """Type a command in a folder; `uvx` finds our own tools, where it would install them."""
        tools = tmp_path / "bin"
        tools.mkdir()
        (tools / "uvx").write_text('#!/bin/sh\nexec "$@"\n')
        (tools / "uvx").chmod(0o755)
        git = {
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@b.c",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@b.c",
        }
        env = hub_environment | git | {"PATH": f"{tools}:{hub_environment['PATH']}"}

        def typed(line, folder, code=0):
            done = subprocess.run(
                ["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=200
            )
            assert done.returncode == code, f"{line}\n{done.stdout}{done.stderr}"
            return done

        return typed

    def commands(self, done):
        return [line.strip() for line in done.stderr.splitlines() if line.startswith("  ")]

    def test_in_a_shelf(self, type_, tmp_path):
        made = type_("jobshelf init my-scripts --repo alice/scripts", tmp_path)
        enter, *rest = self.commands(made)
        assert rest == ["jobshelf new", "jobshelf index", "jobshelf publish --dry-run"]
        folder = tmp_path / enter.removeprefix("cd ")
        for line in rest:
            type_(line, folder)
        assert (folder / "catalog" / "my-script.py").is_file()

    @pytest.mark.parametrize("place", ["catalog", "flat"])
    def test_after_a_script(self, type_, tmp_path, place):
        if place == "catalog":
            type_("jobshelf init . --name mine --repo alice/scripts", tmp_path)
        made = type_("jobshelf new --name count-words --kind utility", tmp_path)
        script = tmp_path / ("catalog/count-words.py" if place == "catalog" else "count-words.py")
        assert ("TODO(jobshelf)" in made.stderr) == ("TODO(jobshelf)" in script.read_text())
        script.write_text(written(script.read_text()))
        commands = self.commands(made)
        assert len(commands) == 3
        for line in commands:
            type_(line, tmp_path)


def test_a_script_that_no_template_made_gets_another_name(shelf, tmp_path):
    (tmp_path / "my-script.py").write_text("mine")
    with pytest.raises(UsageError, match="Fix: give --name another value"):
        new(tmp_path, {"kind": "utility"}, shelf=shelf)
