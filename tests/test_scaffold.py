"""`jobshelf new`: what Copier gives, with flags for the answers, into any folder or into the shelf's own catalogue."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copier import run_copy

from jobshelf.errors import InputError, UsageError
from jobshelf.index import check_index, load_index
from jobshelf.scaffold import QUESTIONS, new, new_in_catalog
from jobshelf.shelf import Shelf, find_shelf
from support import ROOT

ANSWERS = {
    "name": "count-words",
    "title": "Count words (all of them)",
    "kind": "artifact",
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
    assert "uv run https://example.org/scripts/count-words.py user/model hf://buckets/user/results/result" in text


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


def test_an_installed_shelf_has_no_catalogue_to_add_to(shelf):
    with pytest.raises(InputError, match="no checkout"):
        new_in_catalog({"name": "count-words"}, shelf=shelf)
