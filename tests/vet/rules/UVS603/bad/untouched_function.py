from collections.abc import Mapping
from typing import Any


def look_into(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Another docstring, and no mark."""
    return {"columns": sorted({name for row in rows for name in row})}
