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


def test_only_a_release_pins_urls(make_shelf):
    index = build_index(make_shelf({"a": "1"}, version="1.2.0"))
    assert "/resolve/v" not in index.to_text()
    released = index.entries[0].pinned("1.2.0")
    assert released.data["source"]["urls"]["release"] == released.url.replace("/main/", "/v1.2.0/")
    assert released.commands["pinned"]["local"]["argv"][2] == released.data["source"]["urls"]["release"]
    assert (released.release, released.pinned(None)) == ("1.2.0", index.entries[0])


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
    with pytest.raises(JobshelfError, match=r"index.json is not what the catalogue says of a\. Fix: jobshelf index"):
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
    base = load_index(make_shelf({"a": "1"})).entries[0].data

    def entry(id_: str, **changes: str) -> Entry:
        return Entry(data={**base, "id": id_, "title": "x", "summary": "x", "description": "x", **changes})

    entries = (entry("aa", summary="counts parquet rows"), entry("parquet-stats"), entry("zz", title="Parquet rows"))
    index = replace(load_index(make_shelf({"b": "1"}, name="other")), entries=entries)
    assert [found.id for found in index.search(["PARQUET"])] == ["parquet-stats", "zz", "aa"]
    assert [found.id for found in index.search(["rows", "parquet"])] == ["zz", "aa"]
    assert index.search(["nothing"]) == []


def test_search_finds_an_option(make_shelf):
    shelf = make_shelf({"a": "1", "b": "1"})
    path = shelf.catalog / "a.py"
    parser = 'import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument("--seldom", help="rare words")\n'
    path.write_text(path.read_text().replace('print("a")', f"{parser}parser.parse_args()"))
    index = load_index(make_shelf.index(shelf))
    assert [found.id for found in index.search(["seldom"])] == [found.id for found in index.search(["rare"])] == ["a"]


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
        ('tags = ["test"]', "tags = [1]", r"catalog/a.py:14: found tags = \[1\], expected a list of strings"),
        ('persists = "none"', 'persists = "disk"', r"found persists = 'disk', expected one of none, hub-dataset"),
        ('timeout = "10m"', 'timeout = "soon"', r"catalog/a.py:9: found timeout = 'soon', expected a duration"),
        ('timeout = "10m"', 'secrets = "HF_TOKEN"', r"found secrets = 'HF_TOKEN', expected a list of strings"),
        (
            'timeout = "10m"',
            'volumes = ["x"]',
            r"catalog/a.py:9: found the volume 'x' \(.*\), expected one such as hf://",
        ),
        ('timeout = "10m"', "since = 2026-01-01", r"catalog/a.py:9: found the unknown key 'since', expected one of"),
        (
            'exclude-newer = "2026-11-20T00:00:00Z"',
            "exclude-newer = 2026-11-20T00:00:00Z",
            r"catalog/a.py:6: found exclude-newer = datetime.*, expected a string",
        ),
        (
            'status = "stable"',
            'status = "stable"\n# replaced_by = "b"',
            r"found replaced_by with status = 'stable', expected status deprecated or disabled",
        ),
    ],
)
def test_a_table_that_is_not_as_it_must_be_is_named_by_line(make_shelf, old, new, message):
    shelf = make_shelf({"a": "1"})
    path = shelf.catalog / "a.py"
    line = f"# {new}" if new else "#"
    path.write_text(path.read_text().replace(f"# {old}", line))
    with pytest.raises(ScriptError, match=message):
        build_index(shelf)


def test_what_is_no_index_is_refused_with_the_way_to_rebuild_it(make_shelf):
    shelf = make_shelf({"a": "1"})
    text = shelf.index_file.read_text()
    for broken, said in (
        ("", "Expecting value"),
        ("[]", "list indices must be integers"),
        ("{}", "no 'schema_version'"),
        ('{"schema_version": 1, "name": 1}', "name is 1, expected a string"),
        (text.replace('"version": "1"', '"version": "x"'), r"entries\[0\].version is 'x', expected numbers and dots"),
        (text.replace('"path": "a.py"', '"path": "../a.py"'), r"source.path is '../a.py', expected the name of a .py"),
        (text.replace('"id": "a"', '"id": "../a"'), "id is '../a', expected lower-case letters"),
        (text.replace('"aliases": []', '"aliases": [1]'), r"aliases is \[1\], expected a list of strings"),
        (text.replace('"sha256": "', '"sha256": "x'), "source.sha256 is 'x.*, expected 64 hexadecimal digits"),
    ):
        shelf.index_file.write_text(broken)
        with pytest.raises(InputError, match=f"is not an index of this format: .*{said}.* Fix: jobshelf index"):
            load_index(shelf)
    shelf.index_file.write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not UTF-8"):
        load_index(shelf)
    shelf.index_file.write_text(text.replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(InputError, match=r"has schema_version 2, expected 1\. Fix: uv tool upgrade jobshelf"):
        load_index(shelf)


def test_an_entry_that_another_shelf_wrote_comes_out_as_it_went_in(make_shelf):
    """A newer tool may have said more, and its release is its own."""
    built = build_index(make_shelf({"b": "1"}, version="3.0.0"))
    released = replace(built, entries=tuple(entry.pinned("3.0.0") for entry in built.entries))
    theirs = json.loads(released.to_text())
    theirs["entries"][0] |= {"added_later": {"x": [1.5, None, "ü"]}}
    there = Index.from_text(json.dumps(theirs), "there")
    ours = build_index(make_shelf({"a": "1"}, name="ours", version="1.0.0"))
    merged = replace(ours, entries=(*ours.entries, *there.entries))
    again = json.loads(Index.from_text(merged.to_text(), "merged").to_text())
    assert again["entries"][1] == theirs["entries"][0]
    assert again["entries"][0] == json.loads(ours.to_text())["entries"][0]


def test_an_index_of_another_dataset_has_its_addresses(make_shelf):
    index = build_index(make_shelf({"a": "1"}))
    moved = replace(index, dataset="acme/other")
    entry = json.loads(moved.to_text())["entries"][0]
    assert "jobshelf/scripts/resolve" not in json.dumps([entry["commands"], entry["source"]])
    assert entry["commands"]["local"]["argv"][2] == "https://huggingface.co/datasets/acme/other/resolve/main/a.py"
    assert replace(moved, dataset=index.dataset).to_text() == index.to_text()


def test_the_committed_index_is_fresh():
    check_index(find_shelf())
