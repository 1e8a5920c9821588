from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def count(frame: pl.DataFrame) -> int:
    import polars as pl

    return frame.select(pl.len()).item()
