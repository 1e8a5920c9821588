"""The JSON Schema of index.json, which ships with the tool, and what of JSON Schema is needed to hold an index against it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

SCHEMA_FILE: Final = "index.schema.json"
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NAMES: Final = {"object": "an object", "array": "a list", "string": "a string", "integer": "a whole number"}
_SHOWN: Final = 80


def schema_text() -> str:
    """Return the text of the schema (JSON Schema 2020-12)."""
    return Path(__file__).with_name(SCHEMA_FILE).read_text(encoding="utf-8")


def problem(document: object) -> str | None:
    """Return the first thing that is wrong with an index, as `path is VALUE, expected WHAT`; None when it is one.

    Formats are not looked at, and properties that the schema does not name are none of its business.
    """
    return _problem(document, _schema(), "")


@cache
def _schema() -> dict[str, Any]:
    return json.loads(schema_text())


def _problem(value: Any, schema: Mapping[str, Any], path: str) -> str | None:  # noqa: ANN401 (any JSON data)
    if "$ref" in schema:
        return _problem(value, _schema()["$defs"][schema["$ref"].rpartition("/")[2]], path)
    if "oneOf" in schema:
        # Every choice here is null or one other thing.
        return None if value is None else _problem(value, schema["oneOf"][-1], path)
    return (
        _value_problem(value, schema, path)
        or _object_problem(value, schema, path)
        or _items_problem(value, schema, path)
    )


def _value_problem(value: object, schema: Mapping[str, Any], path: str) -> str | None:
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is(value, kind) for kind in kinds):
        return _wrong(value, path, " or ".join(_NAMES.get(kind, kind) for kind in kinds))
    if "const" in schema and (value != schema["const"] or isinstance(value, bool)):
        return _wrong(value, path, repr(schema["const"]))
    if "enum" in schema and value not in schema["enum"]:
        return _wrong(value, path, f"one of {', '.join(schema['enum'])}")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        return _wrong(value, path, f"what matches {schema['pattern']}")
    if "minimum" in schema and value < schema["minimum"]:
        return _wrong(value, path, f"at least {schema['minimum']}")
    return None


def _object_problem(value: object, schema: Mapping[str, Any], path: str) -> str | None:
    if not isinstance(value, dict):
        return None
    for key in schema.get("required", ()):
        if key not in value:
            return f"{path}{'.' if path else ''}{key} is missing"
    named, other = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        inner = named.get(key, other)
        found = _problem(item, inner, f"{path}{'.' if path else ''}{key}") if inner is not None else None
        if found:
            return found
    return None


def _items_problem(value: object, schema: Mapping[str, Any], path: str) -> str | None:
    if not isinstance(value, list) or "items" not in schema:
        return None
    found = (_problem(item, schema["items"], f"{path}[{number}]") for number, item in enumerate(value))
    return next((one for one in found if one), None)


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())


def _wrong(value: object, path: str, expected: str) -> str:
    text = repr(value)
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return f"{path or 'the document'} is {shown}, expected {expected}"
