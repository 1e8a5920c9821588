"""What a script's header must say for the index: `[tool.jobshelf]` whole, `[tool.hf-jobs]` as `hf jobs uv run` reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jobshelf.errors import ScriptError, UsageError
from jobshelf.index.entry import RELEASE
from jobshelf.launch import parse_volume
from jobshelf.script import Header, Script

TEXT_KEYS = ("version", "title", "task", "license", "persists", "token", "status")
LIST_KEYS = ("tags", "inputs", "outputs", "rehearse")
_TEXT, _TEXTS, _FLAG, _TABLE = "a string", "a list of strings", "true or false", "a table of strings"
_RETIRED = ("deprecated", "disabled")
_CHOICES = {
    "token": ("none", "read", "write"),
    "status": ("stable", "preview", *_RETIRED),
    "persists": ("none", "hub-dataset", "hub-model", "hub-file", "bucket", "s3", "gcs", "http"),
}
_DURATION = re.compile(r"\d+(\.\d+)?[smhd]?")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_duration(value: object) -> bool:
    if isinstance(value, str):
        return _DURATION.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


_Test = Callable[[Any], bool]
_TESTS: Mapping[str, _Test] = {
    _TEXT: lambda value: isinstance(value, str),
    _FLAG: lambda value: isinstance(value, bool),
    _TEXTS: _is_texts,
    _TABLE: _is_table,
    'a duration such as "90m"': _is_duration,
}
_JOBSHELF = {**dict.fromkeys(TEXT_KEYS, _TEXT), **dict.fromkeys(LIST_KEYS, _TEXTS)}
_OPTIONAL = {"aliases": _TEXTS, "shardable": _FLAG}
# The keys of huggingface_hub 2.4 `cli/_uv_script_header.py`: with any other, the command refuses the script.
_LAUNCH = {
    **dict.fromkeys(("image", "flavor", "python", "name", "namespace", "network_group"), _TEXT),
    **dict.fromkeys(("env", "labels"), _TABLE),
    **dict.fromkeys(("secrets", "volumes", "network_aliases"), _TEXTS),
    "timeout": 'a duration such as "90m"',
}


def require_tables(script: Script, header: Header) -> None:
    """Hold the tables of a header against what the index needs. Raises ScriptError that names the file line."""
    table = header.tool("jobshelf")
    for key, kind in _JOBSHELF.items():
        if key not in table:
            _refuse(script, header, "jobshelf", "", f"no '{key}' in [tool.jobshelf]", kind, key)
        _require(script, header, "jobshelf", key, kind)
    for key in _OPTIONAL.keys() & table.keys():
        _require(script, header, "jobshelf", key, _OPTIONAL[key])
    for key, choices in _CHOICES.items():
        if table[key] not in choices:
            _refuse(script, header, "jobshelf", key, f"{key} = {table[key]!r}", f"one of {', '.join(choices)}", key)
    if not RELEASE.fullmatch(table["version"]):
        found = f"version = {table['version']!r}"
        _refuse(script, header, "jobshelf", "version", found, "numbers and dots such as 1.0.0", "version")
    _require_replacement(script, header)
    for key in header.tool("hf-jobs"):
        if key not in _LAUNCH:
            _refuse(script, header, "hf-jobs", key, f"the unknown key '{key}'", f"one of {', '.join(_LAUNCH)}", key)
        _require(script, header, "hf-jobs", key, _LAUNCH[key])
    _require_volumes(script, header)
    if "exclude-newer" in header.tool("uv"):
        _require(script, header, "uv", "exclude-newer", _TEXT)


def _require_volumes(script: Script, header: Header) -> None:
    for spec in header.tool("hf-jobs").get("volumes", ()):
        try:
            parse_volume(spec)
        except UsageError as error:
            expected = "one such as hf://datasets/user/name:/input"
            _refuse(script, header, "hf-jobs", "volumes", f"the volume {spec!r} ({error.message})", expected, "volumes")


def _require_replacement(script: Script, header: Header) -> None:
    table = header.tool("jobshelf")
    if "replaced_by" not in table:
        return
    _require(script, header, "jobshelf", "replaced_by", _TEXT)
    if table["status"] not in _RETIRED:
        found = f"replaced_by with status = {table['status']!r}"
        _refuse(script, header, "jobshelf", "replaced_by", found, f"status {' or '.join(_RETIRED)}", "status")


def _require(script: Script, header: Header, name: str, key: str, kind: str) -> None:
    value = header.tool(name)[key]
    if not _TESTS[kind](value):
        _refuse(script, header, name, key, f"{key} = {value!r}", kind, key)


def _refuse(script: Script, header: Header, name: str, key: str, found: str, expected: str, mend: str) -> None:
    line = header.line_of(key, table=f"tool.{name}")
    raise ScriptError(script.path, line, found=found, expected=expected, fix=f"set {mend} there")
