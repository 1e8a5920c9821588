"""Make the entry of a script from what it says itself, what was found out about it, and its record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jobshelf.errors import ScriptError
from jobshelf.forms import example_arguments
from jobshelf.index.entry import addressed, normalise
from jobshelf.index.examine import Findings
from jobshelf.index.prices import Prices, cost
from jobshelf.index.table import TEXT_KEYS, require_tables
from jobshelf.record import Outcome, Record
from jobshelf.script import Header, Script
from jobshelf.shelf import Shelf

# What a Job gets when nothing is asked for (source: the Jobs documentation; huggingface_hub 2.4 `run_uv_job`).
DEFAULT_FLAVOR = "cpu-basic"
DEFAULT_TIMEOUT = "30m"
_COPYRIGHT = re.compile(r"^# SPDX-FileCopyrightText: (.+?)\s*$", re.MULTILINE)
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_script(script: Script) -> Header:
    """Return the header of a script that the index can take. Raises ScriptError at the first line that it cannot."""
    header = script.require()
    require_tables(script, header)
    if not script.summary:
        found, expected = "no docstring", "a docstring whose first line says what the script does"
        raise ScriptError(script.path, 1, found=found, expected=expected, fix="write one below the header")
    return header


def describe(script: Script, findings: Findings, record: Record | None, shelf: Shelf, prices: Prices) -> dict[str, Any]:
    """Return the entry of a script that `check_script` took, as JSON data."""
    header = script.require()
    table = header.tool("jobshelf")
    data = {
        "id": normalise(script.name),
        **{key: table[key] for key in TEXT_KEYS if key not in ("task", "persists", "token")},
        "replaced_by": normalise(table["replaced_by"]) if "replaced_by" in table else None,
        "summary": script.summary.rstrip("."),
        "description": script.docstring.partition("\n")[2].strip(),
        "authors": _COPYRIGHT.findall(script.text),
        "aliases": table.get("aliases", []),
        "classification": {"task": table["task"], "tags": table["tags"]},
        "source": _source(script, shelf),
        "runtime": _runtime(header),
        "io": {
            "inputs": table["inputs"],
            "outputs": table["outputs"],
            "persists": table["persists"],
            "resumable": _is_resumable(record, script),
        },
        "needs": _needs(header),
        "cost": cost(*_machine(header), prices),
        "arguments": list(example_arguments(script.docstring)),
        "interface": findings.interface,
        "behaviour": findings.behaviour,
        "vetting": findings.vetting,
        "rehearsal": _rehearsal(record, script) if record else None,
    }
    return addressed(_writable(data), shelf.dataset)


def _source(script: Script, shelf: Shelf) -> dict[str, Any]:
    name = script.path.rpartition("/")[2]
    return {
        "path": name,
        "sha256": script.sha256,
        "bytes": len(script.data),
        "lines": len(script.text.splitlines()),
        "urls": {"repository": _maintained_at(name, shelf)},
    }


def _maintained_at(name: str, shelf: Shelf) -> str:
    folder = "" if shelf.github is None else "catalog/"
    return f"{shelf.repository}/blob/main/{folder}{name}"


def _runtime(header: Header) -> dict[str, Any]:
    uv = header.tool("uv")
    indexes = uv.get("index", [])
    return {
        "requires_python": header.requires_python or "",
        "dependencies": list(header.dependencies),
        "exclude_newer": uv.get("exclude-newer", ""),
        "indexes": [str(index.get("url")) for index in indexes if isinstance(index, dict)],
    }


def _needs(header: Header) -> dict[str, Any]:
    launch, table = header.tool("hf-jobs"), header.tool("jobshelf")
    flavor, timeout = _machine(header)
    return {
        "token": table["token"],
        "secrets": launch.get("secrets", []),
        "environment": sorted(launch.get("env", {})),
        "hardware": {
            "flavor": flavor,
            "timeout": str(timeout),
            "image": launch.get("image"),
        },
        "shardable": table.get("shardable", False),
        "launch": dict(launch),
    }


def _machine(header: Header) -> tuple[str, str | int]:
    """Return flavor and timeout of the Job."""
    launch = header.tool("hf-jobs")
    return launch.get("flavor", DEFAULT_FLAVOR), launch.get("timeout", DEFAULT_TIMEOUT)


def _is_resumable(record: Record | None, script: Script) -> bool | None:
    """Return whether a rehearsal of these bytes that was killed went on to the same result; None where none shows it."""
    shown = {verdict.step: verdict.outcome for verdict in record.verdicts} if record else {}
    if record is None or record.sha256 != script.sha256 or shown.get("kill") not in (Outcome.PASSED, Outcome.FAILED):
        return None
    return shown["kill"] is Outcome.PASSED


def _rehearsal(record: Record, script: Script) -> dict[str, Any]:
    data = record.to_json()
    shown = {key: value for key, value in data.items() if key not in ("schema_version", "name")}
    stale = record.sha256 != script.sha256
    if stale and script.header is not None:  # what to try is what the script says now
        shown["arguments"] = list(script.header.tool("jobshelf").get("rehearse", record.arguments))
    return {**shown, "passed": record.passed, "stale": stale}


def _writable(value: Any) -> Any:  # noqa: ANN401 (any JSON data)
    """Return JSON data without halves of surrogate pairs, which a script can hold and UTF-8 cannot."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_writable(key): _writable(item) for key, item in value.items()}
    return [_writable(item) for item in value] if isinstance(value, list | tuple) else value
