"""Doubles that a run with a token has beside those of `hub`: they call through, so that a script gets as far as its writes.

A retry calls what it is given, once. A dataset has a few rows, with a text in every column that is asked for. A file system of `fsspec`
is empty, and takes what is written. YAML is read as far as it is JSON or plain `name: value` lines.
"""

from __future__ import annotations

import io
import json
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobshelf.stub.hub import DOUBLES as HUB
from jobshelf.stub.modules import Stub, call_through

_LISTS = frozenset({"expand_path", "find", "glob", "listdir", "ls", "walk"})
_ROWS = 3
_COLUMNS = ("text", "prompt", "question", "answer", "chosen", "rejected", "messages")
_CONVERSATIONS = frozenset({"conversation", "conversations", "messages"})
_MESSAGES = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": "an answer"}]
_TRANSFORMS = frozenset(
    {
        "add_column", "batch", "cast", "cast_column", "class_encode_column", "filter", "flatten", "map", "remove_columns",
        "rename_column", "rename_columns", "repeat", "select", "select_columns", "shard", "shuffle", "skip", "sort",
        "take", "to_iterable_dataset", "train_test_split", "with_format", "with_transform",
    }
)  # fmt: skip
_TESTS = frozenset({"exists", "isdir", "isfile", "lexists"})
_READS = frozenset(
    {"cat", "cat_file", "checksum", "get", "get_file", "head", "info", "modified", "read_text", "size", "tail", "ukey"}
)


class Retrying(Stub):
    """`tenacity.Retrying`: one attempt, whose error is the caller's."""

    def __init__(self, **options: object) -> None:
        super().__init__("tenacity.Retrying")

    def __call__(self, call: Callable[..., Any], *arguments: object, **keywords: object) -> object:
        return call(*arguments, **keywords)

    def __iter__(self) -> Iterator[Stub]:
        yield Stub("tenacity.AttemptManager")

    async def __aiter__(self) -> object:
        yield Stub("tenacity.AttemptManager")

    def wraps(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is."""
        return call


class Columns(list[str]):
    """Names of columns: every name that is asked for is one."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


class Row(dict[str, Any]):
    """A row of a dataset, or all rows of a batch in lists: something in every column that is asked for."""

    def __init__(self, number: int, *, batched: bool = False) -> None:
        self._number, self._batched = number, batched
        super().__init__({name: self[name] for name in _COLUMNS})

    def __missing__(self, name: str) -> object:
        found = _MESSAGES if name in _CONVERSATIONS else f"text {self._number} of {name}"
        return [found] if self._batched else found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def get(self, name: str, default: object = None) -> object:
        """Return what a column has."""
        return self[name]


class Rows(Stub):
    """A dataset of a few rows, streamed or not; what gives another dataset gives this one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.column_names = Columns(_COLUMNS)
        self.features = {name: Stub(f"{self.stub_name}.features[]") for name in _COLUMNS}
        self.num_rows = _ROWS

    def __getattr__(self, name: str) -> object:
        return _transform(self, name) if name in _TRANSFORMS else super().__getattr__(name)

    def __len__(self) -> int:
        return _ROWS

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Row]:
        yield from map(Row, range(_ROWS))

    def __getitem__(self, key: object) -> object:
        if isinstance(key, int):
            return Row(key)
        return Row(0, batched=True) if isinstance(key, slice) else [row[key] for row in self]


class Splits(dict[str, Rows]):
    """A dataset with all its splits."""

    def __init__(self, name: str) -> None:
        super().__init__(train=Rows(name))
        self.stub_name = name

    def __missing__(self, split: str) -> Rows:
        return self["train"]

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self["train"], name)


class FileSystem(Stub):
    """A file system of `fsspec` with nothing on it: what is written is recorded, and gone."""

    def __init__(self, name: str, protocol: str) -> None:
        super().__init__(name)
        self.protocol = (protocol, "local") if protocol == "file" else (protocol,)
        self.fs = self

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        return _method(f"{self.stub_name}.{name}")


class Written(io.BytesIO):
    """A file on such a file system; what it has when it is closed is recorded."""

    def __init__(self, name: str, path: object) -> None:
        super().__init__()
        self._written = name, path

    def close(self) -> None:
        """Record what was written, once."""
        if not self.closed:
            name, path = self._written
            Stub.trace.call(f"{name}.write", path, self.getvalue())
        super().close()


def _transform(rows: Rows, name: str) -> Callable[..., Any]:
    made = f"{rows.stub_name}.{name}"

    def call(*arguments: object, **keywords: object) -> object:
        Stub.trace.call(made, *arguments, **keywords)
        call_through((*arguments, *keywords.values()), Row(0, batched=bool(keywords.get("batched"))))
        return {"train": Rows(made), "test": Rows(made)} if name == "train_test_split" else Rows(made)

    return call


def _load_dataset(*arguments: object, **keywords: object) -> object:
    Stub.trace.call("datasets.load_dataset", *arguments, **keywords)
    return Rows("datasets.load_dataset()") if keywords.get("split") else Splits("datasets.load_dataset()")


def _builder(*arguments: object, **keywords: object) -> Stub:
    Stub.trace.call("datasets.load_dataset_builder", *arguments, **keywords)
    made = Stub("datasets.load_dataset_builder()")
    made.config.__dict__.update(name=keywords.get("name") or "default", data_files={"train": ["data/train.parquet"]})
    made.info.__dict__.update(features=dict.fromkeys(_COLUMNS, "string"), splits={"train": Stub("datasets.SplitInfo")})
    return made


def _names(function: str, *names: str) -> Callable[..., list[str]]:
    def call(*arguments: object, **keywords: object) -> list[str]:
        Stub.trace.call(f"datasets.{function}", *arguments, **keywords)
        return list(names)

    return call


def _fill_datasets(module: types.ModuleType) -> None:
    names = {"get_dataset_config_names": "default", "get_dataset_split_names": "train"}
    listed = {function: _names(function, name) for function, name in names.items()}
    module.__dict__.update(load_dataset=_load_dataset, load_dataset_builder=_builder, **listed)


def _read_yaml(text: object, *_: object, **options: object) -> object:
    data = text.read() if hasattr(text, "read") else text
    words = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
    try:
        return json.loads(words)
    except ValueError:
        pairs = [line.partition(":") for line in words.splitlines() if line[:1].strip() and ":" in line]
        return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _write_yaml(data: object, stream: object = None, **options: object) -> str | None:
    text = json.dumps(data, default=str)
    if stream is None:
        return text
    stream.write(text)
    return None


def _fill_yaml(module: types.ModuleType) -> None:
    read = dict.fromkeys(("full_load", "load", "safe_load"), _read_yaml)
    module.__dict__.update(read, dump=_write_yaml, safe_dump=_write_yaml)


def _method(name: str) -> Callable[..., Any]:
    last = name.rpartition(".")[2]

    def call(*arguments: object, **keywords: object) -> object:
        mode = keywords.get("mode", arguments[1] if len(arguments) > 1 else "rb")
        Stub.trace.call(name, *arguments, **keywords)
        if last == "open" and set(str(mode)) & set("wax"):
            return _opened(name, arguments[0] if arguments else keywords.get("path"), str(mode))
        if last in _READS or last == "open":
            raise FileNotFoundError(arguments[0] if arguments else name)
        if last in _TESTS:
            return False
        return [] if last in _LISTS else None

    return call


def _opened(name: str, path: object, mode: str) -> io.IOBase:
    written = Written(name.rpartition(".")[0], path)
    return written if "b" in mode else io.TextIOWrapper(written, encoding="utf-8")


def _file_system(protocol: str, *arguments: object, **options: object) -> FileSystem:
    return FileSystem(f"fsspec.{protocol}", protocol)


def _url_to_fs(url: object, **options: object) -> tuple[FileSystem, str]:
    protocol, separator, path = os.fspath(url).partition("://")
    return (_file_system(protocol), path) if separator else (_file_system("file"), str(Path(protocol).absolute()))


def _open(url: object, mode: str = "rb", **options: object) -> object:
    if "://" not in os.fspath(url):
        Path(url).parent.mkdir(parents=True, exist_ok=True)
        return Path(url).open(mode.replace("t", ""), encoding=None if "b" in mode else "utf-8")
    system, path = _url_to_fs(url)
    return system.open(path, mode)


def _inside(path: str = "", fs: object = None, **options: object) -> FileSystem:
    return fs if isinstance(fs, FileSystem) else _file_system("file")


def _hub_file_system(*arguments: object, **options: object) -> FileSystem:
    return FileSystem("huggingface_hub.HfFileSystem", "hf")


def _fill_root(module: types.ModuleType) -> None:
    HUB["huggingface_hub"](module)
    module.__dict__.update(HfFileSystem=_hub_file_system, hffs=_hub_file_system())


def _fill_fsspec(module: types.ModuleType) -> None:
    module.__dict__.update(filesystem=_file_system, url_to_fs=_url_to_fs, open=_open)


DOUBLES: dict[str, Callable[[types.ModuleType], None]] = {
    "datasets": _fill_datasets,
    "fsspec": _fill_fsspec,
    "fsspec.core": _fill_fsspec,
    "fsspec.implementations.dirfs": lambda module: module.__dict__.update(DirFileSystem=_inside),
    "huggingface_hub": _fill_root,
    "tenacity": lambda module: module.__dict__.update(Retrying=Retrying, AsyncRetrying=Retrying),
    "yaml": _fill_yaml,
}
