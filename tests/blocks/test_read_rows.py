"""`read_rows`: local files of each kind, as the promises of the scripts name them, and datasets of the embedded Hub."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from datasets import Dataset
from huggingface_hub import CommitOperationAdd, HfApi

from blocks.shared import Stopped, block
from jobshelf.hub import Hub
from support import READ_TOKEN, TOKEN

read_rows = block("read_rows").read_rows
NAMES = [
    "a b",
    "part [1]",
    "what?",
    "a*",
    "n#1",
    "50%20",
    "it's",
    'say "x"',
    "ünï 数",
    "{a,b}",
    "!x",
    "a..b",
    "~a",
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """`put("a.csv", "a,b")` writes a file and returns its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def columns(source: Path | str, split: str = "train") -> dict[str, Any]:
    rows, digest, private = read_rows(str(source), None, split)
    assert (len(digest), private) == (64, False)
    return rows[:]


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", f"a\n007\nNA\nnull\nNone\nnan\n{2**70}\n1.0\n1e5\ntrue\n", ["007", "NA", "null", "None", "nan", str(2**70), "1.0", "1e5", "true"]),
        ("a.csv", "a,b\n,x\n", [""]),
        ("a.csv", 'a,b\n"say ""x"", y",2\n', ['say "x", y']),
        ("a.csv", 'a,b\n"two\nlines",2\n', ["two\nlines"]),
        ("a.csv", "\ufeffa,b\nx,2\n", ["x"]),
        ("a.csv", '"a","b, c"\nx,2\n', ["x"]),
        ("a.csv", "a;b\n1,5;2\n", ["1,5"]),
        ("a.csv", "a\tb\n1,5\t2\n", ["1,5"]),
        ("a.csv", 'a;"b, c, d, e"\n1,5;2\n', ["1,5"]),
        ("a.csv", "a|b\nx|2\n", ["x"]),
        ("a.csv", "a,b\r\nx,y\r\n", ["x"]),
        ("a.csv", "a\nünï 数\n", ["ünï 数"]),
        ("a.csv", "a,b\n" + "1,2\n" * 40_000 + "1.5,2\n", ["1"] * 40_000 + ["1.5"]),
        ("a.tsv", "a\tb\n007\tx, y\n", ["007"]),
        ("a.csv.gz", gzip.compress(b"a,b\n007,x\n", mtime=0), ["007"]),
        ("a.csv.zst", zstandard.compress(b"a,b\n007,x\n"), ["007"]),
        ("a.tsv.gz", gzip.compress(b"a\tb\n007\tx\n", mtime=0), ["007"]),
        ("a.jsonl", lines({"a": 1}, {"a": None}), [1, None]),
        ("a.jsonl", lines({"b": 1}, {"a": "x"}), [None, "x"]),
        ("a.jsonl", "\ufeff" + lines({"a": "x"}), ["x"]),
        ("a.jsonl", lines({"a": {"b": [{"c": 1}]}}), [{"b": [{"c": 1}]}]),
        ("a.jsonl", lines({"a": "x"}, {"a": [{"t": "y"}]}), ["x", [{"t": "y"}]]),
        ("a.jsonl", lines({"a": 2**63 - 1}), [2**63 - 1]),
        ("a.jsonl.gz", gzip.compress(lines({"a": "x"}).encode(), mtime=0), ["x"]),
        ("a.jsonl.zst", zstandard.compress(lines({"a": "x"}).encode()), ["x"]),
        ("a.json", json.dumps([{"a": 1}, {"a": 2}], indent=1), [1, 2]),
        ("a.json.gz", gzip.compress(b'[{"a": 1}]', mtime=0), [1]),
        ("a.csv.old.jsonl", lines({"a": "007"}), ["007"]),
    ],
)  # fmt: skip
def test_text_files(name: str, content: str | bytes, expected: list[Any], put: Callable[..., Path]) -> None:
    assert columns(put(name, content))["a"] == expected


def test_types_that_show_late(put: Callable[..., Path]) -> None:
    """Over the 10 MB that datasets reads at once: nulls, then text, and a column that only the last row has."""
    early = lines({"a": None, "b": "x" * 60}) * 200_000
    rows = columns(put("a.jsonl", early + lines({"a": "late", "b": "y", "c": 1})))
    assert (rows["a"][-1], rows["c"][-1], rows["c"][0], len(rows["a"])) == ("late", 1, None, 200_001)


def test_types_that_show_late_in_a_compressed_file(put: Callable[..., Path]) -> None:
    text = lines({"a": None}) * 300_000 + lines({"a": "late"})
    for name, content in (
        ("a.jsonl.gz", gzip.compress(text.encode(), 1)),
        ("a.jsonl.zst", zstandard.compress(text.encode())),
    ):
        assert columns(put(name, content))["a"][-1] == "late"


def test_parquet_and_arrow(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([1, 2**63], pa.uint64())})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "data-1.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "in" / "data-0.parquet")
    assert columns(tmp_path / "in") == columns(tmp_path / "in" / "data-1.parquet") == {"a": [1, 2**63]}
    Dataset(table).save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    assert columns(arrow.rename(tmp_path / "a.arrow")) == {"a": [1, 2**63]}


@pytest.mark.parametrize("name", NAMES)
def test_names_beside_look_alikes(name: str, put: Callable[..., Path]) -> None:
    for other in ("a b", "part 1", "what1", "abc", "n", "50 ", "a", "x", "b", "ax"):
        put(f"{name} here/{other}.csv", "a\nother\n")
    assert columns(put(f"{name} here/{name}.csv", "a\nthis\n"))["a"] == ["this"]


def test_a_folder_whose_name_is_a_pattern(put: Callable[..., Path], stopped: Stopped) -> None:
    folder = put("run [1]/a.csv", "a\nthis\n").parent
    said = stopped(lambda: read_rows(str(folder), None, "train"), 4)
    assert f"cannot read {folder}" in said


def test_relative_and_home(put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("a.csv", "a\nx\n")
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    assert columns("a.csv") == columns("~/a.csv") == columns(".") == {"a": ["x"]}


def test_a_folder(put: Callable[..., Path]) -> None:
    for number in (10, 2, 1):
        put(f"rows-{number:02}.jsonl", lines({"a": number}))
    for hidden in (".b.jsonl", ".git/c.jsonl", ".cache/deep/d.csv"):
        put(hidden, lines({"a": 0}))
    assert columns(put("notes.md", "x").parent)["a"] == [1, 2, 10]


def test_splits_by_name(put: Callable[..., Path]) -> None:
    put("train.csv", "a\n1\n")
    put("test.csv", "a\n2\n")
    folder = put("validation.csv", "a\n3\n").parent
    assert [columns(folder, split)["a"] for split in ("train", "test", "validation")] == [["1"], ["2"], ["3"]]
    assert columns(folder, "train+test")["a"] == ["1", "2"]
    assert columns(folder, "test[:1]")["a"] == ["2"]


def test_the_output_of_a_script_is_an_input(put: Callable[..., Path]) -> None:
    folder = put("run.json", '{"script": "x"}').parent
    Dataset.from_list([{"a": 1}]).to_parquet(folder / "data" / "train-00000.parquet")
    assert columns(folder) == {"a": [1]}
    front = json.dumps({"configs": [{"config_name": "default", "data_files": "data/*.parquet"}]})
    put("README.md", f"---\n{front}\n---\n# x\n")
    assert columns(folder) == {"a": [1]}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.csv": "a\nx\n", "b.jsonl": '{"a": 1}\n'}, "several kinds"),
        ({"a.csv": "a\nx\n", "deep/b.parquet": "x"}, "several kinds"),
        ({"a.csv": "a\nx\n", "b.tsv": "a\nx\n"}, "several kinds"),
        ({"x/.hidden.csv": "a\n1\n"}, "any data files"),
        ({"a.csv": b"a\n\xe9t\xe9\n"}, "'utf-8' codec can't decode byte 0xe9"),
        ({"a.csv": "caf\xe9\nx\n".encode("latin-1")}, "'utf-8' codec can't decode byte 0xe9"),
        ({"a.csv": ""}, ""),
        ({"a.csv": "a,b\n"}, "no data"),
        ({"a.csv": "a,b\n1,2\n1,2,3\n"}, "Expected 2 fields in line 3, saw 3"),
        ({"a.csv": "a,a\n1,2\n"}, "two columns have the same name"),
        ({"a.csv": "a,b\n1,2\n", "b.csv": "c,d\n1,2\n"}, ""),
        ({"a.csv.gz": "no gzip"}, "Not a gzipped file"),
        ({"a.jsonl": ""}, "no rows"),
        ({"a.jsonl": '{"a": 1}\n{"a": \n'}, "row 1"),
        ({"a.json": "[1, "}, ""),
        ({"a.parquet": "no parquet"}, "Parquet magic bytes not found"),
        ({"a.arrow": "no arrow"}, ""),
        ({"a.xlsx": "x"}, ""),
    ],
)  # fmt: skip
def test_what_cannot_be_read(
    files: dict[str, str | bytes], said: str, put: Callable[..., Path], tmp_path: Path, stopped: Stopped
) -> None:
    paths = [put(name, content) for name, content in files.items()]
    sources = [tmp_path / "in"] + (paths if len(paths) == 1 and ".hidden" not in str(paths[0]) else [])
    for source in sources:
        line = stopped(lambda source=source: read_rows(str(source), None, "train"), 4)
        assert f"cannot read {source}: " in line
        assert said in line


def test_a_split_that_is_missing(put: Callable[..., Path], stopped: Stopped) -> None:
    path = put("a.csv", "a\nx\n")
    assert 'Unknown split "dev"' in stopped(lambda: read_rows(str(path), None, "dev"), 4)


def test_the_digest_is_of_the_content(put: Callable[..., Path], tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        return read_rows(str(folder), None, "train")[1]

    put("train.jsonl", lines({"a": 1}))
    folder = put("test.jsonl", lines({"a": 2})).parent
    first = digest(folder)
    assert digest(Path(shutil.copytree(folder, tmp_path / "copy"))) == first
    (folder / "test.jsonl").rename(folder / "x")
    (folder / "train.jsonl").rename(folder / "test.jsonl")
    (folder / "x").rename(folder / "train.jsonl")
    swapped = digest(folder)
    assert swapped != first
    assert columns(folder)["a"] == [2]
    put("train.jsonl", lines({"a": 3}))  # the same size
    assert digest(folder) not in {first, swapped}
    assert columns(folder)["a"] == [3]


@pytest.fixture
def dataset(client: HfApi) -> str:
    """A private dataset with two configurations; returns its commit."""
    client.create_repo("alice/rows", repo_type="dataset", private=True)
    front = {"configs": [{"config_name": name, "data_files": f"{name}/*.jsonl"} for name in ("one", "two")]}
    files = {
        "README.md": f"---\n{json.dumps(front)}\n---\n",
        "one/a.jsonl": lines({"a": 1}),
        "two/a.jsonl": lines({"a": 2}),
    }
    changes = [CommitOperationAdd(name, text.encode()) for name, text in files.items()]
    return client.create_commit("alice/rows", changes, repo_type="dataset", commit_message="rows").oid


def test_a_dataset_of_the_hub(here: Hub, dataset: str, client: HfApi) -> None:
    for config, expected in (("one", 1), ("two", 2)):
        rows, commit, private = read_rows("alice/rows", config, "train")
        assert (rows[:], commit, private) == ({"a": [expected]}, dataset, True)
    client.upload_file(
        path_or_fileobj=lines({"a": 3}).encode(), path_in_repo="two/a.jsonl", repo_id="alice/rows", repo_type="dataset"
    )
    client.update_repo_settings("alice/rows", repo_type="dataset", private=False)
    rows, commit, private = read_rows("alice/rows", "two", "train")
    assert (rows[:], private) == ({"a": [3]}, False)
    assert commit != dataset


@pytest.mark.parametrize(
    ("source", "config", "split", "said"),
    [
        ("alice/rows", None, "train", "Config name is missing"),
        ("alice/rows", "three", "train", "'three' not found"),
        ("alice/rows", "one", "dev", 'Unknown split "dev"'),
        ("alice/missing", None, "train", "the Hub answered 404 for alice/missing"),
        ("missing.jsonl", None, "train", ""),
        ("./missing.jsonl", None, "train", "cannot read ./missing.jsonl"),
        ("/no/such/file.csv", None, "train", "cannot read /no/such/file.csv"),
    ],
)
def test_what_the_hub_does_not_have(
    source: str,
    config: str | None,
    split: str,
    said: str,
    here: Hub,
    dataset: str,
    stopped: Stopped,
    pauses: list[float],
) -> None:
    assert said in stopped(lambda: read_rows(source, config, split), 4)
    assert pauses == []


@pytest.mark.parametrize(("token", "code"), [("", 3), ("hf_wrong", 4)])
def test_private_and_not_ours(
    token: str, code: int, here: Hub, dataset: str, stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    said = stopped(lambda: read_rows("alice/rows", "one", "train"), code)
    assert "the Hub answered 401 for alice/rows" in said
    assert "--secrets HF_TOKEN" in said


def test_a_member_reads(here: Hub, client: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_repo("acme/rows", repo_type="dataset", private=True)
    client.upload_file(path_or_fileobj=b'{"a": 1}\n', path_in_repo="a.jsonl", repo_id="acme/rows", repo_type="dataset")
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert read_rows("acme/rows", None, "train")[0][:] == {"a": [1]}
    assert TOKEN != READ_TOKEN


def test_failures_that_pass(here: Hub, dataset: str, pauses: list[float]) -> None:
    here.fail(path="/api/datasets/alice/rows", status=503, times=2)
    here.fail(path="/resolve/", kind="reset", times=2)
    assert read_rows("alice/rows", "one", "train")[0][:] == {"a": [1]}


def test_an_outage(here: Hub, dataset: str, pauses: list[float]) -> None:
    here.fail(path="/api/datasets", status=503, times=999)
    with pytest.raises(ConnectionError, match="no success within two minutes"):
        read_rows("alice/rows", "one", "train")
