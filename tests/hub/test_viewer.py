"""The dataset viewer: splits, rows, sizes, files."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime

import polars as pl
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from hub.contract import ADA, BOB, Ask
from jobshelf.hub import Hub

CARD = b"""\
---
configs:
- config_name: small
  data_files:
  - split: train
    path: data/train-*
  - {split: test, path: [data/test.csv]}
- config_name: other
  data_files: more.jsonl
---
"""


def parquet(rows: int, start: int = 0) -> bytes:
    frame = pl.DataFrame(
        {
            "n": range(start, start + rows),
            "text": [f"row {n}" for n in range(start, start + rows)],
            "tags": [["a", "b"]] * rows,
            "meta": [{"score": 0.5, "raw": b"\x00\xff"}] * rows,
            "at": [datetime(2026, 11, 20, tzinfo=UTC)] * rows,
        }
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def hub(shared_hub: Hub) -> Hub:
    return shared_hub


@pytest.fixture(scope="module", autouse=True)
def datasets(hub: Hub) -> None:
    """`ada/plain` (150 train rows in two files, 2 test rows), `ada/carded` and the private `ada/private`."""
    ada = HfApi(endpoint=hub.endpoint, token=ADA.token)
    files = {"data/train-00000-of-00002.parquet": parquet(100), "data/train-00001-of-00002.parquet": parquet(50, 100)}
    plain = {**files, "data/test-00000-of-00001.parquet": parquet(2), "extra/validation.parquet": parquet(1)}
    carded = {**files, "README.md": CARD, "data/test.csv": b"a,b\n1,x\n", "more.jsonl": b'{"k": 1}\n{"k": 2}\n'}
    for name, content in (("plain", plain), ("carded", carded), ("private", files)):
        ada.create_repo(f"ada/{name}", repo_type="dataset", private=name == "private")
        operations = [CommitOperationAdd(path, data) for path, data in content.items()]
        ada.create_commit(f"ada/{name}", operations, commit_message="data", repo_type="dataset")


def splits(ask: Ask, name: str) -> list[tuple[str, str]]:
    return [(item["config"], item["split"]) for item in ask("GET", f"/splits?dataset={name}").json["splits"]]


def test_splits_by_folders_and_names(ask: Ask):
    assert splits(ask, "ada/plain") == [("default", "test"), ("default", "train"), ("extra", "validation")]


def test_splits_say_which_commit_they_are_of(ada: HfApi, ask: Ask):
    answer = ask("GET", "/splits?dataset=ada/plain")
    assert answer.headers["x-revision"] == ada.dataset_info("ada/plain").sha


def test_shards_name_their_split(ada: HfApi, ask: Ask):
    ada.create_repo("ada/chats", repo_type="dataset")
    name = "data/train_sft-00000-of-00001.jsonl"
    ada.upload_file(path_or_fileobj=b'{"a": 1}\n', path_in_repo=name, repo_id="ada/chats", repo_type="dataset")
    assert splits(ask, "ada/chats") == [("default", "train_sft")]


def test_splits_by_the_card(ask: Ask):
    assert splits(ask, "ada/carded") == [("small", "train"), ("small", "test"), ("other", "train")]


def test_rows_across_files(ask: Ask):
    found = ask("GET", "/rows?dataset=ada/plain&config=default&split=train&offset=98&length=4").json
    assert [(row["row_idx"], row["row"]["text"]) for row in found["rows"]] == [
        (98, "row 98"),
        (99, "row 99"),
        (100, "row 100"),
        (101, "row 101"),
    ]
    assert (found["num_rows_total"], found["partial"]) == (150, False)
    row = found["rows"][0]["row"]
    assert (row["tags"], row["meta"]["score"], row["at"][:10]) == (["a", "b"], 0.5, "2026-11-20")
    types = {feature["name"]: feature["type"] for feature in found["features"]}
    assert types["n"] == {"dtype": "int64", "_type": "Value"}
    assert types["text"] == {"dtype": "string", "_type": "Value"}
    assert types["tags"] == {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    assert types["meta"]["score"] == {"dtype": "float64", "_type": "Value"}


def test_first_rows(ask: Ask):
    found = ask("GET", "/first-rows?dataset=ada/carded&config=small&split=test").json
    assert ([row["row"] for row in found["rows"]], found["truncated"]) == ([{"a": 1, "b": "x"}], False)
    found = ask("GET", "/first-rows?dataset=ada/plain&config=default&split=train").json
    assert (len(found["rows"]), found["truncated"], found["split"]) == (100, True, "train")


def test_size(ask: Ask):
    found = ask("GET", "/size?dataset=ada/plain").json["size"]
    assert found["dataset"]["num_rows"] == 153
    assert [(item["config"], item["num_rows"]) for item in found["configs"]] == [("default", 152), ("extra", 1)]
    assert [(item["split"], item["num_rows"], item["num_columns"]) for item in found["splits"]] == [
        ("test", 2, 5),
        ("train", 150, 5),
        ("validation", 1, 5),
    ]


def test_parquet_files_can_be_read(ask: Ask):
    found = ask("GET", "/parquet?dataset=ada/plain&config=default").json["parquet_files"]
    assert [item["filename"] for item in found] == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    assert pl.scan_parquet([item["url"] for item in found[1:]]).select(pl.len()).collect().item() == 150


def test_private_datasets_are_for_those_who_may_read_them(ask: Ask):
    for token, status, code in ((None, 401, "Unauthenticated"), (BOB.token, 404, "Authenticated")):
        for name in ("ada/private", "ada/missing"):
            answer = ask("GET", f"/splits?dataset={name}", token=token)
            assert (answer.status, answer.headers["x-error-code"]) == (status, f"External{code}Error")
            assert answer.json["error"].startswith("The dataset does not exist, or is not accessible")
    assert ask("GET", "/splits?dataset=ada/private", token=ADA.token).status == 200


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/splits", 422, "Parameter 'dataset' is required"),
        ("/rows?dataset=ada/plain&config=default", 422, "Parameter 'split' is required"),
        ("/rows?dataset=ada/plain&config=default&split=no", 404, "has no split 'default/no': there are default/test"),
        ("/rows?dataset=ada/plain&config=default&split=train&length=101", 422, "must not be greater than 100"),
        ("/rows?dataset=ada/plain&config=default&split=train&offset=-1", 422, "must be a number of 0 or more"),
        ("/search?dataset=ada/plain", 501, "does not implement the dataset viewer's /search"),
    ],
)
def test_errors(ask: Ask, path: str, status: int, message: str):
    answer = ask("GET", path)
    assert answer.status == status
    assert message in answer.json["error"]


def test_a_file_that_is_not_what_it_is_called(ada: HfApi, ask: Ask):
    ada.create_repo("ada/broken", repo_type="dataset")
    ada.upload_file(path_or_fileobj=b"nothing", path_in_repo="a.parquet", repo_id="ada/broken", repo_type="dataset")
    answer = ask("GET", "/rows?dataset=ada/broken&config=default&split=train")
    assert (answer.status, answer.headers["x-error-code"]) == (422, "FileFormatError")


WITHOUT_POLARS = """
import sys
sys.modules["polars"] = None
from jobshelf.hub.refusal import Refusal
from jobshelf.hub.viewer import scan
try:
    scan([])
except Refusal as refusal:
    print(refusal.status, refusal.message)
"""


def test_without_polars_it_says_so():
    done = subprocess.run([sys.executable, "-c", WITHOUT_POLARS], capture_output=True, text=True)
    assert done.stdout == (
        "501 The embedded Hub does not implement the dataset viewer without polars: uv add polars\n"
    ), done.stderr
