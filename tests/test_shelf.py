"""Where a shelf is: what reads falls back to the installed one, what writes acts on the one around the working folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from jobshelf.errors import InputError, UsageError
from jobshelf.shelf import find_shelf, installed_shelf, own_shelf
from support import ROOT

# Each acts on the shelf around the working folder.
ACTS = (
    ("index",),
    ("index", "--check"),
    ("publish",),
    ("publish", "--repo", "me/mine"),
    ("publish", "--dry-run"),
    ("verify",),
    ("rollback", "v1.0.0"),
    ("page",),
    ("new", "--catalog", "--defaults"),
    ("rehearse", "dataset-inspector", "--record"),
)
READS = (("list",), ("show", "dataset-inspector"), ("search", "parquet"), ("command", "dataset-inspector"))


def snapshot(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder, by its relative path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("words", ACTS, ids=" ".join)
def test_what_acts_on_a_shelf_refuses_in_the_folder_above_one(jobshelf, hub_environment, make_shelf, hub, words):
    folder = make_shelf({"a": "1"}, name="elsewhere/shelf").root.parent
    before, own = snapshot(folder), snapshot(ROOT / "catalog")
    done = jobshelf(*words, env=hub_environment, cwd=folder)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"jobshelf: no shelf here: neither {folder} nor a folder above it has")
    assert done.stderr.endswith("Fix: jobshelf init\n") and done.stderr.count("\n") == 1
    assert (snapshot(folder), snapshot(ROOT / "catalog")) == (before, own)
    assert not [entry for entry in hub.journal() if entry.wrote]


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_what_only_reads_falls_back_to_the_installed_shelf(jobshelf, tmp_path, words):
    done = jobshelf(*words, cwd=tmp_path)
    assert done.returncode == 0 and "dataset" in done.stdout, done.stderr


def test_a_folder_of_a_checkout_is_in_its_shelf(tmp_path):
    assert own_shelf(ROOT / "tests" / "docs").root == ROOT
    with pytest.raises(UsageError, match="no shelf here"):
        own_shelf(tmp_path)
    assert find_shelf(tmp_path) == installed_shelf()


def test_the_nearest_shelf_counts(make_shelf):
    shelf = make_shelf({})
    inner = shelf.catalog / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert own_shelf(inner) == find_shelf(inner) == shelf


def write(folder: Path, table: str) -> Path:
    text = f'[project]\nversion = "0.1.0"\ndescription = "Mine"\n\n[tool.jobshelf.shelf]\n{table}'
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_github_and_space_may_be_left_out(tmp_path):
    shelf = own_shelf(write(tmp_path, 'name = "mine"\ndataset = "me/scripts"\n'))
    assert (shelf.github, shelf.space) == (None, None)
    assert shelf.repository == "https://huggingface.co/datasets/me/scripts"
    shelf = own_shelf(write(tmp_path, 'name = "mine"\ndataset = "me/scripts"\ngithub = "me/shelf"\n'))
    assert shelf.repository == "https://github.com/me/shelf"


def test_a_name_and_a_dataset_may_not(tmp_path):
    with pytest.raises(InputError, match=r"has no 'dataset' in \[tool\.jobshelf\.shelf\]\. Fix: add dataset there"):
        own_shelf(write(tmp_path, 'name = "mine"\n'))
