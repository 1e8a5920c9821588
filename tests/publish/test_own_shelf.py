"""A shelf with no more than a name and a dataset: without scripts, without a GitHub repository, without a Space."""

from __future__ import annotations

import re

import pytest

from jobshelf.emit import emit
from jobshelf.index import load_index, write_index
from jobshelf.publish import publish, publish_page, verify
from jobshelf.shelf import own_shelf

PROJECT = """\
[project]
name = "mine"
version = "0.1.0"
description = "My scripts"

[tool.jobshelf.shelf]
name = "mine"
dataset = "{dataset}"
"""


def shelf_of(folder, dataset="alice/mine"):
    (folder / "catalog").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(dataset=dataset))
    return own_shelf(folder)


@pytest.fixture
def empty(tmp_path):
    return shelf_of(tmp_path / "mine")


def put(make_shelf, shelf, *names):
    """Write scripts that name the shelf's own dataset, and the index."""
    for name in names:
        make_shelf.put(shelf, name)
        path = shelf.catalog / f"{name}.py"
        path.write_text(path.read_text().replace("jobshelf/scripts", shelf.dataset))
        make_shelf.record(shelf, name)
    write_index(shelf)


def test_an_empty_shelf(empty, jobshelf, hub_environment):
    missing = jobshelf("publish", env=hub_environment, cwd=empty.root)
    assert missing.returncode == 1 and missing.stderr.endswith("Fix: jobshelf index\n")
    for words, said in (
        (["index"], "wrote index.json: 0 scripts\n"),
        (["list"], ""),
        (["vet", "--strict", "catalog"], "No UV scripts found"),
        (["publish"], "published "),
        (["publish"], "unchanged: "),
        (["verify"], "alice/mine at "),
        (["page"], "wrote shelf.html: 0 scripts\n"),
    ):
        done = jobshelf(*words, env=hub_environment, cwd=empty.root)
        assert done.returncode == 0 and done.stdout.startswith(said), (words, done.stdout, done.stderr)


def test_a_script_of_an_old_style_name(empty, make_shelf, jobshelf, hub_environment):
    put(make_shelf, empty, "Old_Name")
    for words in (["publish"], ["verify"], ["page"], ["show", "old-name"], ["index", "--check"]):
        done = jobshelf(*words, env=hub_environment, cwd=empty.root)
        assert done.returncode == 0, done.stderr
    shown = jobshelf("show", "old-name", cwd=empty.root).stdout
    assert "here     uv run https://huggingface.co/datasets/alice/mine/resolve/main/Old_Name.py" in shown
    told = jobshelf("command", "old-name", "--form", "jobs", cwd=empty.root).stdout
    assert told.startswith("hf jobs uv run https://huggingface.co/datasets/alice/mine/resolve/main/Old_Name.py")


def test_sources_are_where_it_says(empty, make_shelf):
    put(make_shelf, empty, "a")
    index = load_index(empty)
    (entry,) = index.entries
    assert index.repository == "https://huggingface.co/datasets/alice/mine"
    assert entry.data["source"]["urls"]["repository"] == f"{index.repository}/blob/main/a.py"
    files = {path: data.decode() for path, data in emit(index).items()}
    assert not [path for path, text in files.items() if "github.com/None" in text or "jobshelf/scripts" in text]
    assert "Made with [jobshelf](https://github.com/jobshelf/jobshelf)" in files["README.md"]


def test_guides_that_run_scripts_of_others_are_linked_to(empty, make_shelf):
    """What names an address that this shelf does not serve stays where it is; the rest comes along."""
    put(make_shelf, empty, "a")
    files = {path: data.decode() for path, data in emit(load_index(empty)).items()}
    assert "skills/mine/references/three_forms.md" not in files and "skills/mine/references/hub_saving.md" in files
    source = "https://github.com/jobshelf/jobshelf/blob/main/docs/three_forms.md"
    assert f"]({source})" in files["llms.txt"] and f"- <{source}>: " in files["skills/mine/SKILL.md"]
    for path, text in files.items():
        folder = path.rpartition("/")[0]
        for target in re.findall(r"\]\(([\w./-]+\.md)[)#]", text) if folder.startswith("skills/") else ():
            assert f"{folder}/{target}" in files, (path, target)
    table = files["skills/mine/references/hardware_guide.md"]
    assert "| `a` |" in table and "finepdfs-stats" not in table.partition("## ")[0]


def test_prune_keeps_what_another_shelf_published(tmp_path, make_shelf, client):
    """Neither has a GitHub repository: whose a script is, its own dataset says."""
    mine, theirs = shelf_of(tmp_path / "one"), shelf_of(tmp_path / "two", "alice/theirs")
    put(make_shelf, theirs, "c")
    publish(theirs, client, repo="alice/mine")
    put(make_shelf, mine, "a", "b")
    publish(mine, client)
    (mine.catalog / "b.py").unlink()
    write_index(mine)
    done = publish(mine, client, prune=True)
    assert "b.py" in done.removed and "c.py" not in done.removed
    assert done.kept == {"c": "it comes from https://huggingface.co/datasets/alice/theirs/blob/main/c.py"}
    assert not verify(client, "alice/mine").findings


def test_the_page_needs_the_name_of_a_space(empty, make_shelf, client, jobshelf, hub_environment):
    put(make_shelf, empty, "a")
    done = jobshelf("publish", "--space", env=hub_environment, cwd=empty.root)
    assert done.returncode == 2 and "names no Space" in done.stderr
    assert done.stderr.endswith("Fix: jobshelf publish --space alice/mine\n")
    publish(empty, client)
    assert publish_page(client, "alice/mine", "alice/mine").written
