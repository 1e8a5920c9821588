"""Building the index: what it takes in, what it refuses, what it keeps, and that it is the same everywhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import date

import pytest

from jobshelf.errors import InputError, JobshelfError
from jobshelf.hardware import price_table
from jobshelf.index import build, build_index, check_index, load_index, write_index
from jobshelf.index.cache import Cache, cache_home, sha256
from jobshelf.record import Outcome, Record, Verdict, Versions
from support import ROOT, alive, children, until

PARSER = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("input", metavar="INPUT", help="what is read")
parser.add_argument("--rows", type=int, default=10, help="how many")
parser.add_argument("--mode", choices=["fast", "slow"])
parser.parse_args()
sys.exit(0)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def entry(shelf, name="a"):
    return json.loads(build(shelf).text)["entries"][[part.id for part in build_index(shelf).entries].index(name)]


def with_code(shelf, code, name="a"):
    path = shelf.catalog / f"{name}.py"
    path.write_text(path.read_text().replace(f'print("{name}")', code))


def put_record(shelf, name, digest, *, outcome=Outcome.PASSED):
    record = Record(
        name=name,
        sha256=digest,
        date=date(2026, 11, 21),
        arguments=("{input}",),
        versions=Versions(jobshelf="0.1.0", python="3.11.7", uv="0.13.8", packages={"polars": "2.1.0"}),
        seconds=12.3,
        peak_memory_mib=99,
        verdicts=(Verdict(step="kill", outcome=outcome, seconds=2.5, figures={"points": 10, "wrong": 0}),),
    )
    path = shelf.catalog / "records" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(record.to_text())
    return path


def test_the_interface_is_the_one_that_the_parser_has(make_shelf):
    shelf = make_shelf({"a": "1"})
    with_code(shelf, PARSER)
    said = entry(shelf)
    assert said["interface"]["usage"] == "a.py [--rows ROWS] [--mode {fast,slow}] INPUT"
    assert said["interface"]["arguments"] == [
        {
            "name": "input",
            "kind": "positional",
            "type": "str",
            "required": True,
            "help": "what is read",
            "metavar": "INPUT",
        },
        {
            "name": "rows",
            "kind": "option",
            "type": "int",
            "required": False,
            "help": "how many",
            "flags": ["--rows"],
            "default": 10,
        },
        {
            "name": "mode",
            "kind": "option",
            "type": "str",
            "required": False,
            "help": "",
            "flags": ["--mode"],
            "choices": ["fast", "slow"],
        },
    ]
    assert said["behaviour"] == {
        "inconclusive": None,
        "exit_codes": {"help": 0, "unknown_option": 2, "missing_required": 2, "no_token": 2},
    }


def test_a_script_without_a_parser_says_why_there_is_no_interface(make_shelf):
    said = entry(make_shelf({"a": "1"}))
    assert said["interface"] is None
    assert said["behaviour"]["inconclusive"].startswith("no argparse, click or typer parser was used")


def test_vetting_counts_and_names_what_is_ignored(make_shelf):
    shelf = make_shelf({"a": "1"})
    with_code(shelf, f"{PARSER.rstrip()}  # vet: ignore[UVS301] -- the reason\nassert input\n")
    (shelf.root / "pyproject.toml").write_text(
        (shelf.root / "pyproject.toml").read_text() + '\n[tool.jobshelf.vet]\nignore = ["UVS603"]\n'
    )
    said = entry(shelf)["vetting"]
    assert said["profile"] == "strict" and said["passed"] is False
    assert sum(said["counts"].values()) > 0
    assert said["ignored"] == [
        {"rule": "UVS603", "reason": "left out by [tool.jobshelf.vet] of the shelf"},
        {"rule": "UVS301", "reason": "the reason"},
    ]


def test_the_record_is_told_and_a_record_of_other_bytes_is_stale(make_shelf):
    shelf = make_shelf({"a": "1"})
    path = put_record(shelf, "a", sha256((shelf.catalog / "a.py").read_bytes()))
    built = build(shelf)
    said = json.loads(built.text)["entries"][0]["rehearsal"]
    assert (said["passed"], said["stale"], said["date"], said["seconds"]) == (True, False, "2026-11-21", 12.3)
    assert said["steps"][0] == {
        "name": "kill",
        "verdict": "passed",
        "reason": "",
        "seconds": 2.5,
        "figures": {"points": 10, "wrong": 0},
    }
    assert built.notes == ()
    put_record(shelf, "a", "0" * 64)
    built = build(shelf)
    said = json.loads(built.text)["entries"][0]["rehearsal"]
    # what to try is what the script says now, not what a version of it was given then
    assert (said["stale"], said["arguments"]) == (True, [])
    assert built.notes == ("catalog/a.py has changed since its rehearsal: jobshelf rehearse a --record",)
    put_record(shelf, "a", sha256((shelf.catalog / "a.py").read_bytes()), outcome=Outcome.FAILED)
    assert build(shelf).notes == ("catalog/a.py failed its rehearsal: jobshelf rehearse a --record",)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"catalog/records/a.json has no schema_version.*rehearse NAME --record"):
        build(shelf)
    path.unlink()
    assert build(shelf).notes == ("catalog/a.py has no rehearsal record: jobshelf rehearse a --record",)


def test_an_id_is_for_good(make_shelf):
    shelf = make_shelf({"old": "1", "other": "1"})
    (shelf.catalog / "old.py").rename(shelf.catalog / "new.py")
    assert any(note.startswith("'old' is gone: if another script") for note in build(shelf).notes)
    path = shelf.catalog / "new.py"
    path.write_text(path.read_text().replace("aliases = []", 'aliases = ["old"]'))
    assert not any("is gone" in note for note in build(shelf).notes)
    assert build_index(shelf).find("OLD").id == "new"


def test_a_deprecated_script_names_its_successor(make_shelf):
    shelf = make_shelf({"a": "1", "b_c": "1"})
    path = shelf.catalog / "a.py"
    text = path.read_text()
    path.write_text(text.replace('"stable"', '"deprecated"\n# replaced_by = "b_c"'))
    assert build_index(shelf).find("a").replaced_by == "b-c"
    path.write_text(text.replace('"stable"', '"disabled"\n# replaced_by = "gone"'))
    with pytest.raises(InputError, match=r"catalog/a.py: replaced_by = 'gone', expected the id of another script"):
        build(shelf)


def test_the_cost_is_the_dated_price_for_as_long_as_the_timeout(make_shelf):
    shelf = make_shelf({"a": "1"})
    prices = price_table()
    path = shelf.catalog / "a.py"
    text = path.read_text()
    path.write_text(text.replace('"cpu-basic"', '"a10g-large"').replace('"10m"', '"90m"'))
    price = prices.flavors["a10g-large"].usd_per_hour
    assert entry(shelf)["cost"] == {
        "flavor": "a10g-large",
        "usd_per_hour": price,
        "usd_at_timeout": pytest.approx(1.5 * price),
        "as_of": prices.date,
    }
    path.write_text(text.replace('"cpu-basic"', '"v5e-8"'))
    assert entry(shelf)["cost"] is None
    path.write_text(text.replace('# flavor = "cpu-basic"\n# timeout = "10m"', "#"))
    said = entry(shelf)
    assert said["needs"]["hardware"] == {"flavor": "cpu-basic", "timeout": "30m", "image": None}
    assert said["cost"]["usd_at_timeout"] == pytest.approx(prices.flavors["cpu-basic"].usd_per_hour / 2)


def test_text_that_utf8_or_json_cannot_hold_is_replaced(make_shelf):
    shelf = make_shelf({"a": "1"})
    path = shelf.catalog / "a.py"
    path.write_text(path.read_text().replace("Say a on standard output", "Say \\ud83d and \\x1b[31m"))
    with_code(
        shelf, PARSER.replace("default=10", "default=float('nan')").replace('"how many"', '"from \\udc80 to <x>"')
    )
    write_index(shelf)
    said = load_index(shelf).entries[0].data
    assert said["summary"] == "Say \ufffd and \x1b[31m"
    assert said["interface"]["arguments"][1] | {"help": ""} == {
        "name": "rows",
        "kind": "option",
        "type": "int",
        "required": False,
        "help": "",
        "flags": ["--rows"],
        "default": "nan",
    }


def fifo(path):
    os.mkfifo(path)


def bound(path):
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # a socket's path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.fchdir(here)
    os.close(here)


BAD = {
    "a folder": (lambda path: path.mkdir(), r"catalog/x.py is a folder, expected a regular file"),
    "a pipe": (fifo, r"catalog/x.py is a named pipe, expected a regular file"),
    "a socket": (bound, r"catalog/x.py cannot be read \(No such device or address\)"),
    "a link out": (
        lambda path: path.symlink_to("/etc/hostname"),
        r"x.py is a link to .*, expected a file of the shelf",
    ),
    "a link to nothing": (lambda path: path.symlink_to("gone.py"), r"catalog/x.py cannot be read \(No such file"),
    "a link to itself": (lambda path: path.symlink_to("x.py"), r"catalog/x.py cannot be read \(Too many levels"),
    "an LFS pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        r"catalog/x.py is a Git LFS pointer.* Fix: git lfs pull --include catalog/x.py",
    ),
    "11 MB": (lambda path: path.write_bytes(b"#" * 11_000_000), r"catalog/x.py has 11.0 MB, expected at most 10 MB"),
    "not UTF-8": (
        lambda path: path.write_bytes(b"# \xff\n"),
        r"catalog/x.py:1: found the byte 0xff, which is not UTF-8",
    ),
    "no header": (lambda path: path.write_text("print()\n"), r"catalog/x.py:1: found no line that is exactly"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_script_is_named_and_nothing_is_changed(make_shelf, kind):
    make, said = BAD[kind]
    shelf = make_shelf({"a": "1"})
    before = shelf.index_file.read_bytes()
    make(shelf.catalog / "x.py")
    with pytest.raises(InputError, match=said) as raised:
        write_index(shelf)
    assert raised.value.fix
    assert shelf.index_file.read_bytes() == before
    assert sorted(path.name for path in shelf.root.iterdir()) == ["catalog", "index.json", "pyproject.toml"]


def test_a_catalogue_that_lies_elsewhere_is_refused(make_shelf, tmp_path):
    shelf = make_shelf({"a": "1"})
    shelf.catalog.rename(tmp_path / "elsewhere")
    shelf.catalog.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"catalog is a link to .*elsewhere, expected a file of the shelf"):
        build(shelf)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a_b.py", "catalog/a-b.py and catalog/a_b.py both answer to 'a-b'"),
        ("A.B.py", "both answer to 'a-b'"),
        ("two words.py", "'two words.py' cannot be part of a URL"),
        ("new\nline.py", "cannot be part of a URL"),
        ("ü.py", "cannot be part of a URL"),
    ],
)
def test_a_name_that_will_not_do_is_refused(make_shelf, name, said):
    shelf = make_shelf({"a-b": "1"})
    make_shelf.put(shelf, name.removesuffix(".py"))
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        build(shelf)


def test_an_alias_that_is_taken_is_refused(make_shelf):
    shelf = make_shelf({"a": "1", "b": "1"})
    path = shelf.catalog / "b.py"
    path.write_text(path.read_text().replace("aliases = []", 'aliases = ["A"]'))
    with pytest.raises(InputError, match=r"catalog/a\.py and catalog/b.py both answer to 'a'"):
        build(shelf)


def test_an_edited_index_is_found_and_a_rebuild_mends_it(make_shelf):
    shelf = make_shelf({"a": "1"})
    text = shelf.index_file.read_text()
    shelf.index_file.write_text(text.replace('"required": false', '"required": true').replace("Say", "Shout"))
    with pytest.raises(JobshelfError, match=r"not what the catalogue says of a\. Fix: jobshelf index"):
        check_index(shelf)
    write_index(shelf)
    assert shelf.index_file.read_text() == text


def test_a_rebuild_is_the_same_wherever_and_under_whatever_it_runs(make_shelf, tmp_path):
    """Another path, locale, time zone, hash seed and cache."""
    shelf = make_shelf({"b": "1", "a": "1"})
    with_code(shelf, PARSER.replace("fast", "für"))
    put_record(shelf, "b", "0" * 64)
    expected = write_index(shelf).text
    copy = make_shelf.copy(shelf, "some where/else")
    for number, settings in enumerate(
        ({"LC_ALL": "C", "TZ": "Asia/Tokyo"}, {"LC_ALL": "tr_TR.UTF-8", "TZ": "UTC", "PYTHONUTF8": "0"})
    ):
        copy.index_file.unlink(missing_ok=True)
        env = os.environ | settings | {"PYTHONHASHSEED": str(number + 7), "XDG_CACHE_HOME": str(tmp_path / str(number))}
        subprocess.run([sys.executable, "-m", "jobshelf", "index"], cwd=copy.catalog, env=env, check=True, timeout=120)
        assert copy.index_file.read_bytes() == expected.encode()


def test_the_committed_index_is_that_of_a_clean_copy(tmp_path):
    """Elsewhere, with an empty cache: nothing of this machine is in it."""
    for name in ("catalog", "templates"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "clone")
    subprocess.run([sys.executable, "-m", "jobshelf", "index"], cwd=tmp_path / "clone", check=True, timeout=120)
    assert (tmp_path / "clone" / "index.json").read_bytes() == (ROOT / "index.json").read_bytes()


def test_what_is_known_is_not_found_out_again_and_what_changed_is(make_shelf):
    shelf = make_shelf({"a": "1", "b": "1"})
    first = build(shelf).text
    written = {path: path.stat().st_mtime_ns for path in cached()}
    assert len(written) == 4  # what was found out, and the entry, of each
    assert build(shelf).text == first
    assert {path: path.stat().st_mtime_ns for path in cached()} == written
    make_shelf.put(shelf, "b", "1.1")
    assert build(shelf).text != first
    assert len(cached()) == 6


def test_a_new_record_runs_no_script_again(make_shelf):
    shelf = make_shelf({"a": "1"})
    build(shelf)
    before = set(cached())
    put_record(shelf, "a", "0" * 64)
    build(shelf)
    assert len(set(cached()) - before) == 1  # the entry; what was found out is the same


def test_a_cache_that_is_broken_or_gone_or_in_the_way_changes_nothing(make_shelf):
    shelf = make_shelf({"a": "1", "b": "1"})
    first = build(shelf).text
    for path in cached():
        path.write_bytes(path.read_bytes()[:-20])
    assert build(shelf).text == first
    for path in cached():
        path.write_bytes(b"")
    assert build(shelf).text == first
    for path in cached():
        path.unlink()
        path.mkdir()
    assert build(shelf).text == first
    shutil.rmtree(cache_home())
    assert build(shelf).text == first
    shutil.rmtree(cache_home())
    cache_home().write_text("a file where the folder should be")
    assert build(shelf).text == first


def test_builds_at_the_same_time_and_killed_ones_leave_a_sound_cache(make_shelf):
    shelf = make_shelf({f"s{number}": "1" for number in range(40)})
    expected = build(shelf).text
    shutil.rmtree(cache_home())
    argv = [sys.executable, "-m", "jobshelf", "index"]
    copies = [make_shelf.copy(shelf, f"copy{number}") for number in range(2)]
    for kept in (1, 33):
        running = [subprocess.Popen(argv, cwd=copy.root, stdout=subprocess.DEVNULL) for copy in copies]
        until(lambda kept=kept: len(cached()) >= kept)
        workers = children(running[0].pid)
        running[0].kill()
        running[0].wait()
        until(lambda workers=workers: not any(alive(worker) for worker in workers))
        if kept == 1:
            running[1].kill()
        running[1].wait(120)
    assert copies[1].index_file.read_text() == expected
    shutil.copy(shelf.index_file, copies[0].index_file)
    assert (
        "wrote index.json: 40 scripts"
        in subprocess.run(argv, cwd=copies[0].root, capture_output=True, text=True).stdout
    )
    assert copies[0].index_file.read_text() == expected


def test_a_cached_value_is_what_was_put_or_nothing(tmp_path):
    cache = Cache(tmp_path / "c")
    assert cache.get("ab" * 32) is None
    cache.put("ab" * 32, b"x\ny")
    assert cache.get("ab" * 32) == b"x\ny"
    (file,) = (path for path in (tmp_path / "c").rglob("*") if path.is_file())
    for broken in (b"", file.read_bytes()[:-1], b"0" * 64 + b"\nx\ny"):
        file.write_bytes(broken)
        assert cache.get("ab" * 32) is None


def cached():
    return [path for path in cache_home().rglob("*") if path.is_file()]
