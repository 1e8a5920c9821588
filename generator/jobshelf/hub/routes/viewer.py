"""The dataset viewer's endpoints. The real Hub serves them on a host of their own, in TLS mode so does this one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub.call import Call, route
from jobshelf.hub.lookup import readable_repo, require_open
from jobshelf.hub.refusal import Refusal, not_implemented
from jobshelf.hub.repos import DEFAULT_BRANCH, Repo
from jobshelf.hub.routes.repos import read_card
from jobshelf.hub.viewer import DataFile, placed, read

_PAGE = 100
_DONE: dict[str, Any] = {"pending": [], "failed": []}


def splits(call: Call) -> Response:
    """The splits of a dataset."""
    repo, files = _files(call)
    found = [{"dataset": repo.full_name, "config": config, "split": split} for config, split in _splits(files)]
    commit = call.core.repos.resolve(repo, DEFAULT_BRANCH)
    return JSONResponse({"splits": found, **_DONE}, headers={"X-Revision": commit.oid})


def rows(call: Call) -> Response:
    """Up to 100 rows of a split."""
    features, found, total = read(_of_split(call), offset=_number(call, "offset", 0), length=_length(call))
    counts = {"num_rows_total": total, "num_rows_per_page": _PAGE, "partial": False}
    return JSONResponse({"features": features, "rows": found, **counts})


def first_rows(call: Call) -> Response:
    """The first 100 rows of a split."""
    features, found, total = read(_of_split(call), offset=0, length=_PAGE)
    named = {name: call.query.get(name) for name in ("dataset", "config", "split")}
    return JSONResponse({**named, "features": features, "rows": found, "truncated": total > len(found)})


def size(call: Call) -> Response:
    """How many rows and bytes a dataset, its configs and its splits have."""
    repo, files = _files(call)
    per_split = [_measured(repo, config, split, list(group)) for (config, split), group in _grouped(files)]
    per_config = [_summed(repo, list(group), config=config) for config, group in groupby(per_split, _config_of)]
    told = {"dataset": _summed(repo, per_split), "configs": per_config, "splits": per_split}
    return JSONResponse({"size": told, **_DONE, "partial": False})


def parquet(call: Call) -> Response:
    """The Parquet files of a dataset and where to get them."""
    repo, files = _files(call)
    base = f"{_hub_origin(call)}/datasets/{repo.full_name}/resolve/{DEFAULT_BRANCH}"
    wanted = call.query.get("config")
    found = [
        {
            "dataset": repo.full_name,
            "config": file.config,
            "split": file.split,
            "url": f"{base}/{file.path}",
            "filename": file.path.rpartition("/")[2],
            "size": file.size,
        }
        for file in files
        if file.suffix == "parquet" and wanted in (None, file.config)
    ]
    return JSONResponse({"parquet_files": found, **_DONE, "partial": False, "features": None})


def is_valid(call: Call) -> Response:
    """What can be shown of a dataset."""
    _, files = _files(call)
    there = bool(files)
    return JSONResponse({"preview": there, "viewer": there, "search": False, "filter": False, "statistics": False})


def missing(call: Call) -> Response:
    """Raises Refusal (501)."""
    raise not_implemented(f"the dataset viewer's {call.path}")


def _hub_origin(call: Call) -> str:
    return call.origin.replace("//datasets-server.", "//")


def _files(call: Call) -> tuple[Repo, list[DataFile]]:
    """The data files of the dataset that is asked for, sorted by config and split as they are first named."""
    namespace, _, name = _required(call, "dataset").partition("/")
    try:
        repo = readable_repo(call, "dataset", namespace, name)
        require_open(call, repo)
    except Refusal as refusal:
        raise Refusal(refusal.status, _HIDDEN, code=_HIDDEN_CODES[call.caller is None]) from refusal
    commit = call.core.repos.resolve(repo, DEFAULT_BRANCH)
    index, card = call.core.repos.index(commit), read_card(call, commit) or {}
    files = call.core.repos.files(item.oid for item in index.values() if not item.is_tree)
    return repo, [
        DataFile(
            config=config,
            split=split,
            path=path,
            blob=call.core.blobs.path(files[index[path].oid].sha256),
            size=files[index[path].oid].size,
        )
        for config, split, path in placed([path for path, item in index.items() if not item.is_tree], card)
    ]


_HIDDEN = (
    "The dataset does not exist, or is not accessible without authentication (private or gated). Please check the"
    " spelling of the dataset name or retry with authentication."
)
_HIDDEN_CODES = {True: "ExternalUnauthenticatedError", False: "ExternalAuthenticatedError"}


def _of_split(call: Call) -> list[DataFile]:
    config, split = _required(call, "config"), _required(call, "split")
    repo, files = _files(call)
    found = [file for file in files if (file.config, file.split) == (config, split)]
    if not found:
        known = ", ".join(f"{each}/{name}" for each, name in _splits(files)) or "none"
        raise Refusal(
            404, f"{repo.full_name} has no split '{config}/{split}': there are {known}", code="SplitNotFoundError"
        )
    return found


def _required(call: Call, name: str) -> str:
    value = call.query.get(name, "")
    if not value:
        raise Refusal(422, f"Parameter '{name}' is required", code="MissingRequiredParameterError")
    return value


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 15):
        raise Refusal(422, f"Parameter '{name}' must be a number of 0 or more", code="InvalidParameterError")
    return int(text)


def _length(call: Call) -> int:
    length = _number(call, "length", _PAGE)
    if length > _PAGE:
        raise Refusal(422, f"Parameter 'length' must not be greater than {_PAGE}", code="InvalidParameterError")
    return length


def _splits(files: Iterable[DataFile]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((file.config, file.split) for file in files))


def _grouped(files: Iterable[DataFile]) -> Iterable[tuple[tuple[str, str], Iterable[DataFile]]]:
    files = list(files)
    return [
        (key, [file for file in files if (file.config, file.split) == key])
        for key in sorted(_splits(files), key=lambda pair: pair[0])
    ]


def _config_of(item: dict[str, Any]) -> str:
    return item["config"]


def _measured(repo: Repo, config: str, split: str, files: list[DataFile]) -> dict[str, Any]:
    features, _, total = read(files, offset=0, length=1)
    stored = sum(file.size for file in files)
    named = {"dataset": repo.full_name, "config": config, "split": split}
    return {**named, "num_bytes_parquet_files": stored, "num_rows": total, "num_columns": len(features)}


def _summed(repo: Repo, items: list[dict[str, Any]], **named: str) -> dict[str, Any]:
    stored = sum(item["num_bytes_parquet_files"] for item in items)
    counts = {"num_bytes_original_files": stored, "num_bytes_parquet_files": stored}
    return {"dataset": repo.full_name, **named, **counts, "num_rows": sum(item["num_rows"] for item in items)}


ROUTES = [
    route("/splits", splits, "GET"),
    route("/rows", rows, "GET"),
    route("/first-rows", first_rows, "GET"),
    route("/size", size, "GET"),
    route("/parquet", parquet, "GET"),
    route("/is-valid", is_valid, "GET"),
    *(route(path, missing, "GET") for path in ("/info", "/search", "/filter", "/statistics")),
]
