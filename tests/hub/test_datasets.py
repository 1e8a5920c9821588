"""The `datasets` library against the Hub, in a process with an empty cache."""

from __future__ import annotations

from huggingface_hub import HfApi

from hub.contract import Python

PUSH = """
    from datasets import Dataset, load_dataset
    rows = Dataset.from_dict({"id": list(range(50)), "text": [f"row {n}" for n in range(50)]})
    rows.push_to_hub("ada/rows", private=True)
    rows.select(range(5)).push_to_hub("ada/rows", split="test")
    loaded = load_dataset("ada/rows")
    print({name: split.num_rows for name, split in loaded.items()}, loaded["train"][49])
    streamed = load_dataset("ada/rows", split="test", streaming=True)
    print([row["id"] for row in streamed])
"""


def test_push_load_and_stream(python: Python, ada: HfApi):
    printed = python(PUSH).splitlines()
    assert printed[-2:] == ["{'train': 50, 'test': 5} {'id': 49, 'text': 'row 49'}", "[0, 1, 2, 3, 4]"]
    assert ada.dataset_info("ada/rows").private
    files = ada.list_repo_files("ada/rows", repo_type="dataset")
    assert files == [
        ".gitattributes",
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
