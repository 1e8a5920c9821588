from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from jobshelf.errors import InputError, JobshelfError, ScriptError, UsageError
from jobshelf.index import Entry, Index, build_index, check_index, load_index, normalise
from jobshelf.shelf import find_shelf


def test_an_entry_says_what_the_script_says(make_shelf):
    shelf = make_shelf({"say_hello": "1.2.0"})
    entry = load_index(shelf).find("say-hello")
    data = (shelf.catalog / "say_hello.py").read_bytes()
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert (entry.bytes, entry.version, entry.file) == (len(data), "1.2.0", "say_hello.py")
    assert entry.summary == "Say say_hello on standard output"
    assert entry.arguments == ("--loud",)
    assert entry.launch == {"flavor": "cpu-basic", "timeout": "10m"}


def test_json_holds_pinned_urls_for_a_release_version_only(make_shelf):
    def urls(version):
        text = build_index(make_shelf({"a": "1"}, name=version, version=version)).to_text()
        return json.loads(text)["entries"][0]["source"]["urls"]

    released = urls("1.2.0")
    assert released["release"].endswith("/resolve/v1.2.0/a.py")
    assert urls("1.3.0.dev0") == {"latest": released["latest"]}


def test_an_index_read_back_is_the_same_text(make_shelf):
    text = build_index(make_shelf({"a": "1", "b-c": "2.0"})).to_text()
    assert Index.from_text(text, "here").to_text() == text


def test_a_rebuild_in_another_process_and_folder_is_byte_identical(make_shelf):
    shelf = make_shelf({"b": "1", "a": "1", "c": "1"})
    copy = make_shelf.copy(shelf, "elsewhere")
    code = "from jobshelf.index import build_index; from jobshelf.shelf import find_shelf; print(build_index(find_shelf()).to_text(), end='')"
    out = subprocess.run([sys.executable, "-c", code], cwd=copy.root, capture_output=True, check=True).stdout
    assert out == shelf.index_file.read_bytes()


def test_check_refuses_a_stale_and_a_hand_edited_index(make_shelf):
    shelf = make_shelf({"a": "1"})
    assert check_index(shelf).entries[0].id == "a"
    make_shelf.put(shelf, "a", "1.1")
    with pytest.raises(JobshelfError, match=r"index.json is not what the catalogue says. Fix: jobshelf index"):
        check_index(shelf)
    make_shelf.index(shelf)
    shelf.index_file.write_text(shelf.index_file.read_text().replace("stable", "preview"))
    with pytest.raises(JobshelfError, match="not what the catalogue says"):
        check_index(shelf)


@pytest.mark.parametrize("name", ["Finepdfs_Stats.py", "finepdfs.stats", "FINEPDFS-STATS", "finepdfs--stats"])
def test_names_are_compared_as_pypi_compares_them(name):
    assert normalise(name) == "finepdfs-stats"


def test_an_unknown_name_gets_the_nearest_one(make_shelf):
    index = load_index(make_shelf({"dataset_inspector": "1", "other": "1"}))
    with pytest.raises(UsageError, match=r"did you mean dataset-inspector\?.*Fix: jobshelf show dataset-inspector"):
        index.find("dataset-inspektor")
    with pytest.raises(UsageError, match="Fix: jobshelf list"):
        index.find("zzzz")


def test_search_wants_every_word_and_puts_names_first(make_shelf):
    base = load_index(make_shelf({"a": "1"})).entries[0]

    def entry(id_: str, **changes: str) -> Entry:
        return replace(base, **{"id": id_, "title": "x", "summary": "x", "description": "x", **changes})

    entries = (entry("aa", summary="counts parquet rows"), entry("parquet-stats"), entry("zz", title="Parquet rows"))
    index = replace(load_index(make_shelf({"b": "1"}, name="other")), entries=entries)
    assert [found.id for found in index.search(["PARQUET"])] == ["parquet-stats", "zz", "aa"]
    assert [found.id for found in index.search(["rows", "parquet"])] == ["zz", "aa"]
    assert index.search(["nothing"]) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('version = "1"', "version = 1", r"catalog/a.py:11: found version = 1, expected a string"),
        ('version = "1"', 'version = "one"', r"catalog/a.py:11: found version = 'one', expected numbers and dots"),
        (
            'token = "none"',
            'token = "some"',
            r"catalog/a.py:18: found token = 'some', expected one of none, read, write",
        ),
        ("shardable = false", 'shardable = "no"', r"catalog/a.py:19: found shardable = 'no', expected true or false"),
        ('title = "Say a"', "", r"catalog/a.py:10: found no 'title' in \[tool.jobshelf\], expected a string"),
        ('tags = ["test"]', 'tags = "test"', r"catalog/a.py:14: found tags = 'test', expected a list"),
    ],
)
def test_a_table_that_is_not_as_it_must_be_is_named_by_line(make_shelf, old, new, message):
    shelf = make_shelf({"a": "1"})
    path = shelf.catalog / "a.py"
    line = f"# {new}" if new else "#"
    path.write_text(path.read_text().replace(f"# {old}", line))
    with pytest.raises(ScriptError, match=message):
        build_index(shelf)


def test_two_scripts_with_one_name_are_refused(make_shelf):
    shelf = make_shelf({"a-b": "1"})
    make_shelf.put(shelf, "a_b")
    with pytest.raises(
        InputError, match=r"catalog/a-b.py and catalog/a_b.py both answer to 'a-b'|a_b.py and catalog/a-b.py"
    ):
        build_index(shelf)


def test_what_is_no_index_is_refused_with_the_way_to_rebuild_it(make_shelf):
    shelf = make_shelf({"a": "1"})
    for text in (
        "",
        "[]",
        "{}",
        '{"name": 1}',
        shelf.index_file.read_text().replace('"version": "1"', '"version": "x"'),
    ):
        shelf.index_file.write_text(text)
        with pytest.raises(InputError, match="not an index of this format"):
            load_index(shelf)


def test_the_committed_index_is_fresh():
    check_index(find_shelf())
