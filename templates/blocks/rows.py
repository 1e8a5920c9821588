# block: rows 2
"""The first rows of a source as plain Python values, with the types that are really in the file.

Promises: reads the beginning of the first files only (one streamed request a file for text formats), never a whole
dataset; JSON values keep their own types; a line that is not JSON, a broken footer or an unreadable CSV stops with 4.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .exits import one_line
from .retry import retry
from .source import Source, locate, unreadable

if TYPE_CHECKING:
    import polars as pl

ROWS_CHUNK_BYTES = 262_144
ROWS_CSV_BYTES = 4_194_304
ROWS_LONGEST_ITEM = 268_435_456
_JSON_BETWEEN = " \t\r\n,"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first rows of a split. `features` maps a column to its type in the file's own words, where it has any.

    `total` is the number of rows of the split when the files say so, or when all of them were read.
    """

    rows: tuple[Mapping[str, Any], ...]
    features: Mapping[str, str]
    total: int | None


def read_head(source: Source, count: int, token: str | None) -> Head:
    """Return the first `count` rows of `source`, over as many files as that takes."""
    rows: list[Mapping[str, Any]] = []
    features: dict[str, str] = {}
    total = 0
    for file in source.files:
        part = _file_head(source, file, count - len(rows), token)
        rows.extend(part.rows)
        features = features or dict(part.features)
        if part.total is None or (len(rows) >= count and file != source.files[-1]):
            return Head(rows=tuple(rows), features=features, total=None)
        total += part.total
    return Head(rows=tuple(rows), features=features, total=total)


def _file_head(source: Source, file: str, count: int, token: str | None) -> Head:
    try:
        if source.format in {"parquet", "arrow"}:
            return _columnar_head(source, file, count, token)
        return _text_head(source, file, count, token)
    except (ValueError, RecursionError) as error:
        raise unreadable(source, file, error) from error


def _columnar_head(source: Source, file: str, count: int, token: str | None) -> Head:
    import polars as pl

    places, options = locate(source, [file], token)
    try:
        frame = _scan(source.format, places[0], options)
        schema = frame.collect_schema()
        total = frame.select(pl.len()).collect().item()
        rows = frame.head(count).collect().to_dicts()
    except pl.exceptions.PolarsError as error:
        raise ValueError(one_line(error)) from error
    return Head(rows=tuple(rows), features={name: str(kind) for name, kind in schema.items()}, total=total)


def _scan(kind: str, place: str, options: dict[str, str] | None) -> pl.LazyFrame:
    import polars as pl

    if kind == "parquet":
        return pl.scan_parquet(place, storage_options=options, glob="://" in place)
    try:
        frame = pl.scan_ipc(place, storage_options=options, glob="://" in place)
        frame.collect_schema()
    except pl.exceptions.ComputeError:
        return pl.read_ipc_stream(place).lazy()  # what `datasets` writes: the stream form of Arrow, not the file form
    return frame


def _text_head(source: Source, file: str, count: int, token: str | None) -> Head:
    def read() -> Head:
        with closing(_chunks(source, file, token)) as chunks:
            if source.format == "csv":
                return _csv_head(chunks, count, "\t" if file.lower().endswith(".tsv") else ",")
            return _json_head(chunks, count)

    return retry(read, what=f"reading {file}")


def _chunks(source: Source, file: str, token: str | None) -> Iterator[bytes]:
    if source.folder is not None:
        with (source.folder / file).open("rb") as stream:
            while chunk := stream.read(ROWS_CHUNK_BYTES):
                yield chunk
        return
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(str(source.repo_id), file, repo_type="dataset", revision=source.commit)
    headers = build_hf_headers(token=token or False)
    with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=30) as response:
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        yield from response.iter_bytes(ROWS_CHUNK_BYTES)


def _csv_head(chunks: Iterable[bytes], count: int, separator: str) -> Head:
    import polars as pl

    data = bytearray()
    complete = True
    for chunk in chunks:
        if len(data) >= ROWS_CSV_BYTES:
            complete = False
            break
        data += chunk
    try:
        frame = pl.read_csv(io.BytesIO(bytes(data)), n_rows=count + 1, separator=separator, infer_schema_length=None)
    except pl.exceptions.NoDataError:
        return Head(rows=(), features={}, total=0)
    except pl.exceptions.PolarsError as error:
        raise ValueError(one_line(error)) from error
    total = frame.height if complete and frame.height <= count else None
    features = {name: str(kind) for name, kind in frame.schema.items()}
    return Head(rows=tuple(frame.head(count).to_dicts()), features=features, total=total)


def _json_head(chunks: Iterable[bytes], count: int) -> Head:
    rows: list[Mapping[str, Any]] = []
    for value in _json_records(_decoded(chunks)):
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise ValueError(f"record {len(rows) + 1} is a {kind}, expected an object")  # noqa: TRY004
        if len(rows) == count:
            return Head(rows=tuple(rows), features={}, total=None)
        rows.append(value)
    return Head(rows=tuple(rows), features={}, total=len(rows))


def _decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    yield from (decoder.decode(chunk) for chunk in chunks)
    yield decoder.decode(b"", final=True)


def _json_records(texts: Iterator[str]) -> Iterator[object]:
    """Yield the items of one JSON array, or the values of JSON lines; reads no further than the caller takes."""
    start = ""
    for text in texts:
        start = (start + text).lstrip()
        if start:
            break
    if start.startswith("["):
        yield from _array_items(itertools.chain([start[1:]], texts))
    else:
        yield from _line_values(itertools.chain([start], texts))


def _line_values(texts: Iterable[str]) -> Iterator[object]:
    pieces: list[str] = []  # of the line that is not yet whole
    number = 0
    for text in itertools.chain(texts, ["\n"]):
        first, *others = text.split("\n")
        pieces.append(first)
        for following in others:
            number += 1
            line, pieces = "".join(pieces), [following]
            if line and not line.isspace():
                yield _parsed(line, f"line {number}")


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON ({error.msg})") from error


def _array_items(texts: Iterable[str]) -> Iterator[object]:
    parser = json.JSONDecoder(strict=False)
    buffer, taken, enough = "", 0, 0
    for text in itertools.chain(texts, [""]):
        buffer += text
        if text and len(buffer) < enough:
            continue
        start = 0
        while item := _next_item(parser, buffer, start):
            value, start = item
            taken += 1
            yield value
        buffer = buffer[start:].lstrip(_JSON_BETWEEN)
        if buffer.startswith("]"):
            return
        if len(buffer) > ROWS_LONGEST_ITEM:
            break
        # An item longer than a chunk is tried again only when the text has doubled, not at every chunk.
        enough = 2 * len(buffer)
    raise ValueError(f"the array breaks off, or is not JSON, after item {taken}")


def _next_item(parser: json.JSONDecoder, buffer: str, start: int) -> tuple[object, int] | None:
    """Return (value, its end) of the item after `start`, None when the buffer ends before the item does."""
    while start < len(buffer) and buffer[start] in _JSON_BETWEEN:
        start += 1
    if buffer[start : start + 1] in {"", "]"}:
        return None
    try:
        value, end = parser.raw_decode(buffer, start)
    except json.JSONDecodeError:
        return None
    return (value, end) if end < len(buffer) else None
