# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Print the columns and rows of parquet files as JSON: a path a line on standard input, an answer a line on standard output.

The rehearsal compares rows and has no parquet reader of its own. An answer is `{"columns": {name: type}, "rows": [...]}`
or `{"error": "..."}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import polars as pl


def read(path: str) -> dict[str, Any]:
    """Return a file's columns and rows, or why it has none."""
    try:
        table = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        return {"error": str(error)}
    return {"columns": {name: str(kind) for name, kind in table.schema.items()}, "rows": table.to_dicts()}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(read(line.rstrip("\n")), default=repr), flush=True)
