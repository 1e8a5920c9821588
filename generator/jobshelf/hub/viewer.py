"""The dataset viewer: which configs and splits a dataset has, and what is in them.

As https://huggingface.co/docs/dataset-viewer describes it, for datasets of Parquet, CSV and JSON Lines files.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobshelf.hub.refusal import Refusal, not_implemented

if TYPE_CHECKING:
    import polars

DEFAULT = "default"
_READERS = {"parquet": "scan_parquet", "csv": "scan_csv", "jsonl": "scan_ndjson", "ndjson": "scan_ndjson"}
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
}
_SPLITS |= {"test": "test", "testing": "test", "eval": "test", "evaluation": "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One data file of a dataset and where its rows belong; `blob` is where its content lies."""

    config: str
    split: str
    path: str
    blob: Path
    size: int

    @property
    def suffix(self) -> str:
        """Its kind: `parquet`, `csv`, `jsonl`, `ndjson`."""
        return self.path.rpartition(".")[2].lower()


def is_data(path: str) -> bool:
    """Whether a file holds rows that can be shown."""
    return path.rpartition(".")[2].lower() in _READERS


def placed(paths: Iterable[str], card: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The (config, split, path) of each data file, in the card's order, else that of the paths.

    A card's `configs` decide; without them the folder is the config (`data/` is the default one) and the beginning of the
    file's name is the split, `train` when it is none of the usual words.
    """
    known = [path for path in paths if is_data(path)]
    configs = [config for config in _list(card.get("configs")) if isinstance(config, dict)]
    if configs:
        for config in configs:
            yield from _by_card(str(config.get("config_name", DEFAULT)), config.get("data_files"), known)
        return
    for path in known:
        folder, _, name = path.rpartition("/")
        config = folder.rpartition("/")[2]
        yield config if config not in ("", "data") else DEFAULT, _split_of(name), path


def scan(files: Sequence[DataFile]) -> polars.LazyFrame:
    """The rows of the files, one after the other. Raises Refusal (501) when polars is not installed."""
    try:
        import polars
    except ImportError as error:
        raise not_implemented("the dataset viewer without polars: uv add polars") from error
    frames = [getattr(polars, _READERS[file.suffix])(file.blob) for file in files]
    return polars.concat(frames, how="diagonal_relaxed")


def read(
    files: Sequence[DataFile], *, offset: int, length: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """The features, the rows from `offset` on, and how many there are in all.

    Raises Refusal: 501 when polars is not installed, 422 when the files cannot be read.
    """
    frame = scan(files)
    import polars
    from polars.exceptions import PolarsError

    try:
        total = frame.select(polars.len()).collect().item()
        page = frame.slice(offset, length).collect()
    except (PolarsError, OSError) as error:
        raise Refusal(422, f"The data files cannot be read: {str(error)[:300]}", code="FileFormatError") from error
    features = [
        {"feature_idx": number, "name": name, "type": _feature(dtype)}
        for number, (name, dtype) in enumerate(page.schema.items())
    ]
    rows = [
        {"row_idx": offset + number, "row": _plain(row), "truncated_cells": []}
        for number, row in enumerate(page.iter_rows(named=True))
    ]
    return features, rows, total


def _by_card(config: str, data_files: object, known: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    if isinstance(data_files, str):
        data_files = [{"split": "train", "path": data_files}]
    for entry in _list(data_files):
        if isinstance(entry, dict):
            for pattern in _list(entry.get("path")):
                yield from (
                    (config, str(entry.get("split", "train")), path) for path in known if fnmatch(path, str(pattern))
                )


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _split_of(name: str) -> str:
    sharded = re.match(r"(\w+)-\d{5}-of-\d{5}", name)
    if sharded:  # the writer of the shards has named the split
        return sharded[1]
    word = name.partition(".")[0].replace("_", "-").partition("-")[0].lower()
    return _SPLITS.get(word, "train")


def _feature(dtype: polars.DataType) -> dict[str, Any] | list[Any]:
    import polars

    if isinstance(dtype, polars.List | polars.Array):
        return {"feature": _feature(dtype.inner), "_type": "List"}
    if isinstance(dtype, polars.Struct):
        return {field.name: _feature(field.dtype) for field in dtype.fields}
    return {"dtype": _DTYPES.get(str(dtype.base_type()), str(dtype).lower()), "_type": "Value"}


_DTYPES = {"String": "string", "Boolean": "bool", "Datetime": "timestamp[us]", "Date": "date32", "Binary": "binary"}


def _plain(value: object) -> object:
    """A value as JSON has it; bytes as base64, times as ISO 8601."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
        return value
    if value is None or isinstance(value, str | int):
        return value
    return None if isinstance(value, float) else str(value)
