# block: table 1
"""The rows of a source as one query, and as Arrow tables of a fixed number of rows.

Promises: one part is in memory, never the whole input; rows keep their order and their exact types; what `datasets` knows
of the input's columns (images, labels) stays known in the output.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .exits import EXIT_INPUT, Stop
from .parts import Part
from .source import Source, locate, unreadable

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

TABLE_GUESS_ROWS = 10_000  # of a text file, from which the types of its columns are told


def scan_rows(source: Source, limit: int | None, token: str | None) -> pl.LazyFrame:
    """Return the first `limit` rows of the input (None: all), in its order, as one query that has not run."""
    import polars as pl

    readers = {
        "parquet": pl.scan_parquet,
        "jsonl": partial(pl.scan_ndjson, infer_schema_length=TABLE_GUESS_ROWS),
        "csv": partial(pl.scan_csv, infer_schema_length=TABLE_GUESS_ROWS),
    }
    if source.format not in readers:
        fix = f"convert them to {' or '.join(readers)}"
        raise Stop(EXIT_INPUT, f"the files of {source.given} are {source.format}", fix=fix)
    places, options = locate(source, source.files, token)
    try:
        frames = [readers[source.format](place, storage_options=options) for place in places]
        frame = pl.concat(frames) if limit is None else pl.concat(frames).head(limit)
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise unreadable(source, "the data", error) from error
    return frame


def table_parts(frame: pl.LazyFrame, source: Source, size: int) -> Iterator[tuple[Part, pa.Table]]:
    """Yield the rows in parts of `size`, in the order of the input."""
    import polars as pl

    index, rest = 0, frame.head(0).collect()
    try:
        for batch in frame.collect_batches(chunk_size=size, maintain_order=True):
            rest = pl.concat([rest, batch])
            while rest.height >= size:
                yield Part(index=index, start=index * size, stop=(index + 1) * size), rest.head(size).to_arrow()
                index, rest = index + 1, rest.slice(size)
    except pl.exceptions.PolarsError as error:
        raise unreadable(source, "the data", error) from error
    if rest.height:
        yield Part(index=index, start=index * size, stop=index * size + rest.height), rest.to_arrow()


def count_rows(frame: pl.LazyFrame, source: Source) -> int | None:
    """Return the number of rows where the files say it, None where they would have to be read."""
    import polars as pl

    return frame.select(pl.len()).collect().item() if source.format == "parquet" else None


def table_schema(
    known: Sequence[pa.Field], added: Mapping[str, pa.Field], source: Source, token: str | None
) -> pa.Schema:
    """Return the schema of an output with the `known` columns of the input and the `added` ones."""
    import pyarrow as pa

    schema = pa.schema([*known, *added.values()])
    told = _table_features(source, token)
    if not told:
        return schema
    features = {**told, **{name: _table_feature(column.type) for name, column in added.items()}}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _table_features(source: Source, token: str | None) -> dict[str, Any]:
    """Return the features that `datasets` wrote into the first parquet file of the input, {} when there are none."""
    import polars as pl

    if source.format != "parquet":
        return {}
    places, options = locate(source, source.files[:1], token)
    try:
        told = pl.read_parquet_metadata(places[0], storage_options=options).get("huggingface")
        return dict(json.loads(told)["info"]["features"]) if told else {}
    except (pl.exceptions.PolarsError, ValueError, LookupError, TypeError):
        return {}


def _table_feature(kind: pa.DataType) -> dict[str, Any]:
    """Return a type in the words of `datasets`."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return {"feature": _table_feature(kind.value_type), "_type": "List"}
    return {"dtype": "int64" if pa.types.is_integer(kind) else "string", "_type": "Value"}
