# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "huggingface-hub>=2.4,<3",
#     "matplotlib>=3.11,<4",
#     "polars>=2.1,<3",
#     "pyyaml>=6,<7",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "cpu-upgrade"
# timeout = "1h"
# secrets = ["HF_TOKEN"]
# env = { HF_XET_HIGH_PERFORMANCE = "1" }
#
# [tool.jobshelf]
# version = "0.2.0"
# title = "Statistics of FinePDFs, or of any dataset by a column"
# task = "dataset-statistics"
# tags = ["dataset", "statistics", "polars", "finepdfs"]
# inputs = ["dataset"]
# outputs = ["dataset"]
# persists = "hub-dataset"
# token = "write"
# shardable = true
# license = "Apache-2.0"
# aliases = ["finepdfs_stats"]
# status = "stable"
# rehearse = ["{input:finepdfs}", "{output}"]
# ///
"""Count rows and average and rank a size and a score by crawl dump and by year, or by any column.

Made for FinePDFs (dump, token_count, fw_edu_scores); any dataset with --group-by, --value (a size or weight) and --score.
Streams only these columns, once; every mean is given by rows and weighted by the value. Prints the tables; with an OUTPUT
it also writes them, a card and plots as a dataset, in one commit. The default input has about 50 million documents:
minutes on the CPU flavor of the header, cents; --limit for a taste. A killed run goes on where it was.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py --limit 10000
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py ./rows.parquet ./stats --group-by source --value length
    hf jobs uv run --secrets HF_TOKEN --attempts 3 https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py HuggingFaceFW/finepdfs-edu user/finepdfs-edu-stats

No token is needed to read public data and print. An OUTPUT on the Hub needs one with write access.
Exit codes: 0 done; 2 usage; 3 token; 4 input data; 5 network or machine; 6 computed, saved locally, but not on the Hub.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fnmatch
import hashlib
import io
import itertools
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import httpx2
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from tqdm import tqdm

SCRIPT_NAME = "finepdfs-stats.py"
SCRIPT_URL = f"https://huggingface.co/datasets/jobshelf/scripts/resolve/main/{SCRIPT_NAME}"
VERSION = "0.2.0"
RESULT_VERSION = 2  # part of every request: raise it when the same input gives other figures
DEFAULT_INPUT = "HuggingFaceFW/finepdfs-edu"
DEFAULT_LANGUAGE = "eng_Latn"
SAMPLED_FILES = 32
FILES_AT_ONCE = 8
SMALL_BYTES = 2**20  # what is smaller is fetched whole: its footer alone comes as 256 KiB
COMMIT_EVERY_S = 300.0
PERCENTS = (5, 25, 50, 75, 95)
SCALE = 2**50  # sums are whole numbers of 2**-50: they do not depend on the order of threads, files and shards
LARGEST_VALUE, LARGEST_SCORE, LARGEST_SUM = 2.0**40, 2.0**20, 2**56  # no sum of products leaves 128 bits
MOST_BINS, MOST_APART = 3_000_000, 4  # rows of histograms in memory; queries whose results are not merged yet
PARTS_FOLDER = ".parts"
PLOTTED_GROUPS = 40
SHOWN_ROWS, SHOWN_CHARACTERS = 60, 80  # of a table, of a name of a group
FIGURES = ("rows", "with_", "value_", "score_", "high_")  # what the names of figures begin with
SHOWN = ("rows", "value_sum", "value_mean", "value_p50", "score_mean", "score_mean_weighted", "score_p50", "high_share")
UNUSABLE = {
    "value": "negative, not finite or above 2 to the 40",
    "score": "not finite or beyond 2 to the 20",
}
BIAS = (
    "Scores describe the rows that the input kept. Where rows were kept by this very score, its mean says nothing about "
    "what was dropped."
)
FINEPDFS_BIAS = (
    "FinePDFs-Edu was filtered by this very score, so its mean says nothing about how educational the web, or PDF files "
    "at large, are or have become. The year is that of the crawl, not of the document."
)
QUANTILES = (
    "Quantiles (p05 to p95) are nearest ranks by rows in a histogram of 256 steps for each factor of two: within 0.2 % "
    "of a value of the data, and exact for whole numbers up to 512."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns to read, and the score from which a row counts as high; None where it is not asked for."""

    group: str
    value: str | None
    score: str | None
    high: float | None

    @property
    def names(self) -> list[str]:
        """Each column once."""
        return list(dict.fromkeys(name for name in (self.group, self.value, self.score) if name is not None))

    @property
    def measured(self) -> list[str]:
        """Which of value and score there are."""
        return [name for name in ("value", "score") if getattr(self, name) is not None]

    @property
    def key(self) -> str:
        """What the tables call the group: the name of its column, or one that is none of theirs."""
        is_taken = self.group.startswith(("year", "language", *FIGURES))
        return f"by_{self.group}" if is_taken else self.group


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file of the input, or `rows` rows of it from `start` on. `number` counts the pieces from 0."""

    number: int
    source: Source
    file: str
    start: int = 0
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the pieces with the numbers in `done` add up to; adding is exact, so the order does not matter.

    `sums` has a row for each language and group: counts, and sums in units of 1 / SCALE. `bins` has the histograms:
    language, group, `of` (value or score), bin, rows. `identity` is that of the input.
    """

    identity: str
    done: frozenset[int]
    sums: pl.DataFrame
    bins: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is read: `columns` of the pieces of `sources`, in a fixed order; `identity` names the input's content."""

    columns: Columns
    score_is_list: bool
    sources: tuple[Source, ...]
    identity: str
    pieces: tuple[Piece, ...]
    token: str | None


FINEPDFS = Columns(group="dump", value="token_count", score="fw_edu_scores", high=3.0)
Row = dict[str, Any]
Table = list[Row]
_Answer = TypeVar("_Answer")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog=SCRIPT_NAME, description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add(
        "input",
        nargs="?",
        type=_word,
        metavar="INPUT",
        help=f"Hub dataset, hf:// path, local file or folder ({DEFAULT_INPUT})",
    )
    add(
        "output",
        nargs="?",
        type=_word,
        metavar="OUTPUT",
        help="Hub dataset (user/name) or folder (./out); default: print only",
    )
    add("--source-dataset", type=_word, metavar="INPUT", help="the same as INPUT")
    add("--output-repo", type=_word, metavar="OUTPUT", help="the same as OUTPUT")
    add(
        "--group-by", type=_word, metavar="COLUMN", help=f"column whose values are compared (default: {FINEPDFS.group})"
    )
    add("--value", type=_word, metavar="COLUMN", help=f"size or weight of a row, 0 or more (default: {FINEPDFS.value})")
    add(
        "--score",
        type=_word,
        metavar="COLUMN",
        help=f"number, or list to be averaged, of a row (default: {FINEPDFS.score})",
    )
    add("--high", type=_finite, metavar="SCORE", help=f"rows from this score on are high (default: {FINEPDFS.high:g})")
    add(
        "--config",
        "--lang",
        type=_word,
        metavar="NAME",
        help=f"config, here a language (default: {DEFAULT_LANGUAGE} if there)",
    )
    add("--all-languages", action="store_true", help="read every config, with a table by config")
    add("--split", type=_word, metavar="NAME", help="split (default: train, else the first)")
    add("--revision", type=_word, metavar="REV", help="branch, tag or commit of a Hub dataset")
    add("--limit", "--max-samples", type=_positive, metavar="N", help="rows, taken evenly from at most 32 files")
    add("--list-languages", action="store_true", help="print the configs of the input and stop")
    add("--show-plan", action="store_true", help="also print the plan of the query that runs")
    add(
        "--shard",
        type=_word,
        metavar="I/N",
        help="do the I-th of N parts of the files; the last to end writes the result",
    )
    add(
        "--commit-every", type=_finite, default=COMMIT_EVERY_S, metavar="S", help="seconds between saves (default: 300)"
    )
    visibility = parser.add_mutually_exclusive_group()
    visibility.add_argument("--private", action="store_true", help="make the output private (it is, if the input is)")
    visibility.add_argument("--public", action="store_true", help="make the output public even if the input is private")
    add("--overwrite", action="store_true", help="compute again, and write to an output that holds something else")
    add("--dry-run", action="store_true", help="check everything, print what would be done, write nothing")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)
    for place, alias in (("input", "source_dataset"), ("output", "output_repo")):
        given, other = getattr(args, place), getattr(args, alias)
        if given is not None and other is not None:
            parser.error(f"{place.upper()} is given twice: as {given} and as --{alias.replace('_', '-')} {other}")
        setattr(args, place, given if given is not None else other)
    if args.group_by is None and (args.value is not None or args.score is not None):
        parser.error("--value and --score need --group-by COLUMN")
    if args.all_languages and args.config is not None:
        parser.error("--all-languages reads every config: leave --config away")
    if args.output is None and args.shard is not None:
        parser.error("--shard needs an OUTPUT that the shards share")
    args.words = list(sys.argv[1:] if argv is None else argv)
    return run_to_exit(lambda: work(args))


def work(args: argparse.Namespace) -> int:
    """Find the input, then print its figures or persist them."""
    target = parse_target(args.output) if args.output else None
    token = (target_token(target) if target else None) or find_token()
    sources = resolve_inputs(args, token)
    if args.list_languages:
        names = sources[0].configs
        return show(json.dumps(list(names)) if args.json else "\n".join(names))
    return persist_figures(target, sources, args, token) if target else print_figures(sources, args, token)


def print_figures(sources: tuple[Source, ...], args: argparse.Namespace, token: str | None) -> int:
    """Add everything up and print it."""
    task = prepare(sources, args, token)
    if args.dry_run:
        return report(sources, args, status="dry run")
    totals = add_up(task, task.pieces, nothing_of(task.identity), None)
    return report(sources, args, status="computed", tables=tables_of(totals, task))


def persist_figures(target: Target, sources: tuple[Source, ...], args: argparse.Namespace, token: str | None) -> int:
    """Add up what is not added up yet, put the result into `target`, and clear away the unfinished work."""
    shard, place = parse_shard(args.shard), parts_place(target, request_of(sources, args))
    parts = load_parts(place, token)
    sources = as_begun(sources, parts, args, token)
    run = Run(script=SCRIPT_NAME, request=request_of(sources, args), source=identity_of(sources))
    held = look_for_output(target, sources, args, token)
    if not args.overwrite:
        if already_there(target, held, run, token):
            if parts and not args.dry_run:
                forget_parts(place, token)
            return report(sources, args, status="already there")
        refuse_foreign(target, held, run, overwrite=False)
    task = prepare(sources, args, token)
    if args.dry_run:
        return report(sources, args, status="dry run")
    create_target(target, held, token)
    try:
        whole = whole_of(task, shard, parts, place, args.commit_every)
    except Stop as stop:  # a sibling that has all of it clears away even what this shard was handing in
        if stop.code != EXIT_NOT_PERSISTED or not ended_by_another(target, sources, run, args, token):
            raise
        whole = None
    if whole is None:
        if not ended_by_another(target, sources, run, args, token):
            return report(sources, args, status="shard done")
        forget_parts(place, token)
        return report(sources, args, status="already there")
    tables = tables_of(whole, task)
    done = persist_files(
        target,
        {f"data/{name}.parquet": parquet(rows, task.columns) for name, rows in tables.items()}
        | plots(tables, task.columns),
        run=run,
        overwrite=args.overwrite,
        make_card=lambda existing: card(existing, task, tables, args),
        token=token,
    )
    forget_parts(place, token)
    return report(sources, args, status="written", tables=tables, commit=done.commit)


def ended_by_another(
    target: Target, sources: Sequence[Source], run: Run, args: argparse.Namespace, token: str | None
) -> bool:
    """Return whether a sibling shard has written the result meanwhile; where that cannot be seen, it has not."""
    try:
        return already_there(target, look_for_output(target, sources, args, token), run, token)
    except (Stop, OSError):
        return False


# --- what is asked ---


def columns_of(args: argparse.Namespace) -> Columns:
    """Return the columns that were asked for, those of FinePDFs when none was."""
    if args.group_by is None:
        return FINEPDFS if args.high is None else replace(FINEPDFS, high=args.high)
    return Columns(group=args.group_by, value=args.value, score=args.score, high=args.high)


def resolve_inputs(args: argparse.Namespace, token: str | None, commit: str | None = None) -> tuple[Source, ...]:
    """Return the split to read: of one config, or of every config that has it; at `commit` when that is given."""
    given, revision = args.input or DEFAULT_INPUT, commit or args.revision
    how = {"split": args.split, "revision": revision, "token": token, "preferred_config": DEFAULT_LANGUAGE}
    if args.all_languages:
        return resolve_configs(given, **how)
    return (resolve_source(given, config=args.config, **how),)


def identity_of(sources: Sequence[Source]) -> str:
    """Return the commit, or the digest of all local files."""
    if len(sources) == 1 or sources[0].commit:
        return sources[0].identity
    joined = "\n".join(f"{source.config} {source.identity}" for source in sources)
    return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}"


def request_of(sources: Sequence[Source], args: argparse.Namespace) -> dict[str, Any]:
    """Return what changes the result besides the source's content."""
    columns = columns_of(args)
    return {
        "input": sources[0].repo_id or sources[0].given,
        "config": "*" if args.all_languages else sources[0].config,
        "split": sources[0].split,
        "columns": columns.names,
        "high": columns.high,
        "limit": args.limit,
        "result_version": RESULT_VERSION,
    }


def as_begun(
    sources: tuple[Source, ...], parts: dict[str, Totals], args: argparse.Namespace, token: str | None
) -> tuple[Source, ...]:
    """Return the input at the commit that unfinished work of the same request was begun with, else as it is.

    Work that cannot be gone on with (a local input has changed, a revision is asked for) is dropped from `parts`.
    """
    begun = {part.identity for part in parts.values()} - {identity_of(sources)}
    if not begun:
        return sources
    commit = next(iter(begun))
    adopt = sources[0].commit and len(begun) == 1 and args.revision is None and not args.overwrite
    if adopt and not sources[0].given.startswith("hf://"):
        note(f"{sources[0].given} has changed since this was begun: going on with revision {commit[:12]}")
        return resolve_inputs(args, token, commit)
    note("the input has changed since this was begun: beginning anew")
    for name in [name for name, part in parts.items() if part.identity in begun]:
        del parts[name]
    return sources


def look_for_output(target: Target, sources: Sequence[Source], args: argparse.Namespace, token: str | None) -> Held:
    """Return what the output holds, without the unfinished work that this script keeps there."""
    private = args.private or any(source.private for source in sources)
    held = look_at(target, token=token, private=private, public=args.public)
    return replace(held, names=tuple(name for name in held.names if not name.startswith(f"{PARTS_FOLDER}/")))


def prepare(sources: tuple[Source, ...], args: argparse.Namespace, token: str | None) -> Task:
    """Check the columns of the first file, show the plan when asked to, and return what is to be read.

    With --limit, a run of rows from each of up to SAMPLED_FILES files at even distances; from file to file the run moves
    from the first row to the last one, so that the sample is not made of beginnings.
    """
    columns, limit = columns_of(args), args.limit
    files = [(source, file) for source in sources for file in source.files]
    chosen = files if limit is None else evenly(files, min(SAMPLED_FILES, limit))
    pieces = [Piece(number=number, source=source, file=file) for number, (source, file) in enumerate(chosen)]
    schema = fetched(pieces[:1], lambda: schema_of(pieces[0], token))
    check_columns(schema, columns, sources[0])
    task = Task(
        columns=columns,
        score_is_list=columns.score is not None and schema[columns.score].is_nested(),
        sources=sources,
        identity=identity_of(sources),
        pieces=tuple(pieces if limit is None else sampled(pieces, limit, token)),
        token=token,
    )
    if args.show_plan:
        show_plan(task, to_stderr=args.json)
    return task


def schema_of(piece: Piece, token: str | None) -> Mapping[str, Any]:
    """Return the types of the columns; stop with 4 when there are but names, which say nothing about types."""
    frame = scan(piece, token)
    if piece.source.format == "csv" and frame.head(1).collect().is_empty():
        raise _no_rows(f"{piece.file} of {piece.source.given}")
    return frame.collect_schema()


def _no_rows(what: str) -> Stop:
    return Stop(EXIT_INPUT, f"{what} has no rows", fix="name another --config or --split")


def sampled(pieces: Sequence[Piece], limit: int, token: str | None) -> list[Piece]:
    """Return a run of rows of each piece, `limit` in all."""
    sizes = fetched(pieces, lambda: heights(pieces, token))
    last = max(1, len(pieces) - 1)
    return [
        replace(piece, start=(size - share) * piece.number // last, rows=share)
        for piece, size, share in zip(pieces, sizes, shares(sizes, limit), strict=True)
    ]


def heights(pieces: Sequence[Piece], token: str | None) -> list[int]:
    """Return the number of rows of each file; of parquet only the footers are read."""
    import polars as pl

    counts = [frame.select(pl.len()) for frame in scans(pieces, token)]
    return [count.item() for count in pl.collect_all(counts, engine="streaming")]


def evenly(files: Sequence[Any], count: int) -> list[Any]:
    """Return `count` of `files` at even distances, all of them when there are no more."""
    count = min(count, len(files))
    return [files[number * len(files) // count] for number in range(count)]


def shares(sizes: Sequence[int], limit: int) -> list[int]:
    """Return how many rows to take of each file: `limit` in all, as even as the sizes allow."""
    found, left = [0] * len(sizes), limit
    for done, number in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        found[number] = min(sizes[number], left // (len(sizes) - done))
        left -= found[number]
    return found


def check_columns(schema: Mapping[str, Any], columns: Columns, source: Source) -> None:
    """Stop with 4 when a needed column is missing or of a type that has no such statistics."""
    missing = [name for name in columns.names if name not in schema]
    if missing:
        close = [match for name in missing for match in difflib.get_close_matches(name, schema, n=2)]
        has = ", ".join(list(schema)[:20]) + (f" and {len(schema) - 20} more" if len(schema) > 20 else "")
        flags = "name the columns with --group-by, --value and --score"
        fix = f"did you mean {' or '.join(close)}? Then {flags}" if close else flags
        raise Stop(EXIT_INPUT, f"{source.given} has no column {', '.join(missing)}; it has: {has}", fix=fix)
    expected = {
        columns.group: ("text, numbers or dates", _is_key),
        columns.value: ("numbers", _is_number),
        columns.score: ("numbers, or lists of numbers", lambda kind: _is_number(getattr(kind, "inner", kind))),
    }
    for name, (what, is_sound) in expected.items():
        if name is not None and not is_sound(schema[name]):
            message = f"the column {name} of {source.given} is {str(schema[name])[:60]}, expected {what}"
            raise Stop(EXIT_INPUT, message, fix="convert the column, or name another one")


def _is_key(kind: pl.DataType) -> bool:
    return not kind.is_nested() and str(kind).partition("(")[0] not in {"Binary", "Duration", "Object", "Unknown"}


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_numeric() or str(kind) == "Null"


# --- the query ---


def fetched(pieces: Sequence[Piece], query: Callable[[], _Answer]) -> _Answer:
    """Return `query()`, tried again when the network fails; stop with 4 or 5 when Polars cannot read the pieces."""
    import polars as pl

    def attempt() -> _Answer:
        try:
            return query()
        except (pl.exceptions.PolarsError, OSError) as error:
            stop = unreadable(pieces[0].source, _files(pieces), error)
            if stop.code == EXIT_ENVIRONMENT:
                raise ConnectionError(one_line(error)) from error
            raise stop from error

    return retry(attempt, what=f"reading {_files(pieces)}")


def _files(pieces: Sequence[Piece]) -> str:
    more = f" and {len(pieces) - 1} more" if len(pieces) > 1 else ""
    return f"{pieces[0].file}{more}"


def scans(pieces: Sequence[Piece], token: str | None, names: Sequence[str] | None = None) -> list[pl.LazyFrame]:
    """Return a lazy frame for each piece; the Hub is asked for the places of several files at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return list(pool.map(lambda piece: scan(piece, token, names), pieces))


def scan(piece: Piece, token: str | None, names: Sequence[str] | None = None) -> pl.LazyFrame:
    """Return the rows of the piece: the columns `names`, or all of them."""
    import polars as pl

    source, place = piece.source, place_of(piece.source, piece.file, token)
    if "://" not in place and not Path(place).stat().st_size:
        raise _no_rows(f"{piece.file} of {source.given}")
    if source.format == "parquet":
        frame = pl.scan_parquet(place, glob=False)
    elif source.format == "jsonl":
        frame = pl.scan_ndjson(place, infer_schema_length=10_000)
    elif source.format == "csv":
        frame = pl.scan_csv(place, glob=False)
    else:
        message = f"the files of {source.given} are {source.format}"
        raise Stop(EXIT_INPUT, message, fix="convert them to parquet, jsonl or csv")
    remote = "://" in place and source.format == "parquet"
    if remote:
        frame.collect_schema()  # kept by the frame; else every scan of every query fetches the footer again
    if piece.rows is not None:
        frame = frame.slice(piece.start, piece.rows)
    if names is None:
        return frame
    by_name = pl.selectors.by_name
    if remote:
        # One scan of several columns fetches what lies between them too: 2.7 times the bytes instead of 1.1.
        return pl.concat([frame.select(by_name(name)) for name in names], how="horizontal")
    return frame.select(by_name(*names))


def place_of(source: Source, file: str, token: str | None) -> str:
    """Return the path or the signed address to read a file from.

    Asked through hf://, the Hub sees every range of every file and soon answers 429; of a signed address it sees one
    request a file, and the address ends after about an hour. Small files are fetched whole.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import disable_progress_bars

    if source.folder is not None:
        return str(source.folder / file)
    disable_progress_bars()
    where = {"repo_id": str(source.repo_id), "filename": file, "repo_type": "dataset", "revision": source.commit}
    url = hf_hub_url(**where)
    found = retry(lambda: get_hf_file_metadata(url, token=token), what=f"locating {file}")
    if found.location != url and (found.size or 0) > SMALL_BYTES:
        return str(found.location)
    return retry(lambda: hf_hub_download(**where, token=token), what=f"downloading {file}")


def rows_of(frame: pl.LazyFrame, columns: Columns, *, score_is_list: bool) -> pl.LazyFrame:
    """Return group, value and score of each row; a score that is a list is the mean of its numbers.

    `value` and `score` are null where there is none that can be added up: NaN, infinite, a negative value, a value above
    2**40, a score beyond 2**20. `value_given` and `score_given` have what the file has.
    """
    import polars as pl

    value, score = pl.col("value_given"), pl.col("score_given")
    return frame.select(
        group=_column(columns.group).cast(pl.String).cast(pl.Categorical),
        value_given=_column(columns.value).cast(pl.Float64),
        score_given=_column(columns.score).cast(pl.List(pl.Float64)).list.mean()
        if score_is_list
        else _column(columns.score).cast(pl.Float64),
    ).with_columns(
        value=pl.when(value.is_between(0, LARGEST_VALUE)).then(value),
        score=pl.when(score.abs() <= LARGEST_SCORE).then(score),
    )


def _column(name: str | None) -> pl.Expr:
    import polars as pl

    # Not pl.col(): it takes a name such as "*" or "^a.*$" for a pattern.
    return pl.lit(None) if name is None else pl.selectors.by_name(name).as_expr()


def sums(rows: pl.LazyFrame, high: float | None) -> pl.LazyFrame:
    """Return the sums of each group, those of numbers exact and in units of 1 / SCALE.

    Rows are added up by their traits, then these few sums: faster than eleven sums that each look at every row.
    """
    import polars as pl

    def exact(number: pl.Expr) -> pl.Expr:
        return (number * float(SCALE)).cast(pl.Int128).sum()

    value, score = pl.col("value"), pl.col("score")
    traits = {
        "value": value.is_not_null(),
        "score": score.is_not_null(),
        "value_missing": pl.col("value_given").is_null(),
        "score_missing": pl.col("score_given").is_null(),
        "high": score >= high if high is not None else pl.lit(False),
    }
    bits = [flag.cast(pl.UInt8) * 2**place for place, flag in enumerate(traits.values())]
    few = rows.group_by("group", traits=pl.sum_horizontal(bits)).agg(
        rows=pl.len().cast(pl.Int64),
        value_sum=exact(value),
        score_sum=exact(score),
        weighted=exact(score * value),
    )

    def those_with(trait: str) -> pl.Expr:
        return pl.col("traits") // 2 ** list(traits).index(trait) % 2 == 1

    count, value_sum = pl.col("rows"), pl.col("value_sum")
    return few.group_by("group").agg(
        rows=count.sum(),
        with_value=count.filter(those_with("value")).sum(),
        value_missing=count.filter(those_with("value_missing")).sum(),
        value_sum=value_sum.sum(),
        with_score=count.filter(those_with("score")).sum(),
        score_missing=count.filter(those_with("score_missing")).sum(),
        score_sum=pl.col("score_sum").sum(),
        weight=value_sum.filter(those_with("score")).sum(),
        weighted=pl.col("weighted").sum(),
        high_rows=count.filter(those_with("high")).sum(),
        high_weight=value_sum.filter(those_with("high")).sum(),
    )


def histogram(rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Return how many rows each group has in each bin of `column`, a bin being a number of nine binary digits.

    Group and bin are one 64-bit key (the group's code above, the bin as a float of 32 bits below), as grouping by two
    columns takes three times as long.
    """
    import polars as pl

    number = pl.col(column)
    bits = number.cast(pl.Float32).reinterpret(dtype=pl.Int32)
    rounded = (bits + 2**14) & -(2**15)
    return (
        rows.filter(number.is_not_null())
        .group_by(key=_code() * 2**32 + rounded.reinterpret(dtype=pl.UInt32).cast(pl.Int64))
        .agg(rows=pl.len().cast(pl.Int64))
    )


def _code() -> pl.Expr:
    import polars as pl

    return pl.col("group").to_physical().cast(pl.Int64).fill_null(-1)


def queries(pieces: Sequence[Piece], task: Task) -> list[pl.LazyFrame]:
    """Return the queries that run together, over one scan: the sums, the histogram of the values, that of the scores."""
    import polars as pl

    columns = task.columns
    rows = pl.concat(
        rows_of(frame, columns, score_is_list=task.score_is_list) for frame in scans(pieces, task.token, columns.names)
    )
    return [sums(rows, columns.high), *(histogram(rows, name) for name in columns.measured)]


def show_plan(task: Task, *, to_stderr: bool) -> None:
    """Print the optimised plan of the first query, without the signed part of URLs."""
    import polars as pl

    first = next(batches(task.pieces))
    plan = fetched(first, lambda: pl.explain_all(queries(first, task)))
    plan = re.sub(r"(https?://[^\s?,\]]+)\?[^\s,\]]+", r"\1", plan)
    title = f"PLAN for {len(first)} of {len(task.pieces)} files; that of the others is the same"
    print(f"{title}\n{plan}\n", file=sys.stderr if to_stderr else sys.stdout)


# --- adding up ---


def batches(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    """Yield up to FILES_AT_ONCE pieces of one config at a time, in order."""
    for _, same in itertools.groupby(pieces, key=lambda piece: piece.source.config):
        group = list(same)
        yield from (group[start : start + FILES_AT_ONCE] for start in range(0, len(group), FILES_AT_ONCE))


def add_up(task: Task, pieces: Sequence[Piece], totals: Totals, keeper: Keeper | None) -> Totals:
    """Return `totals` with `pieces` added; `keeper` is shown what is done so far after each query but the last."""
    progress = Progress(len(pieces), "files") if len(pieces) > FILES_AT_ONCE else None
    found = [totals]
    with progress or nullcontext(), keeper or nullcontext():
        for batch in batches(pieces):
            found.append(added_up(batch, task))
            if len(found) > MOST_APART or (keeper is not None and batch[-1] is not pieces[-1]):
                found = [plus(found)]
            if progress is not None:
                progress.add(len(batch))
            if keeper is not None and batch[-1] is not pieces[-1]:
                keeper.keep(found[0])
    return plus(found)


def added_up(pieces: Sequence[Piece], task: Task) -> Totals:
    """Return the totals of some pieces of one config."""
    import polars as pl

    try:
        found = fetched(pieces, lambda: pl.collect_all(queries(pieces, task), engine="streaming"))
    except Stop as stop:
        if stop.code == EXIT_INPUT and len(pieces) > 1:
            for piece in pieces:  # the one that is at fault names itself
                added_up([piece], task)
        raise
    language = pl.lit(pieces[0].source.config).cast(pl.Categorical).alias("language")
    groups = found[0].select("group", code=_code())
    bins = [
        histogram.select(
            "rows",
            code=pl.col("key") // 2**32,
            of=pl.lit(name),
            bin=(pl.col("key") & (2**32 - 1)).cast(pl.UInt32).reinterpret(dtype=pl.Float32),
        )
        for name, histogram in zip(task.columns.measured, found[1:], strict=True)
    ]
    nothing = nothing_of(task.identity)
    return replace(
        nothing,
        done=frozenset(piece.number for piece in pieces),
        sums=found[0].select(language, pl.all()),
        bins=pl.concat([nothing.bins, *(_named(frame, groups, language) for frame in bins)]),
    )


def _named(bins: pl.DataFrame, groups: pl.DataFrame, language: pl.Expr) -> pl.DataFrame:
    import polars as pl

    of = pl.col("of").cast(pl.Categorical)
    return bins.join(groups, on="code", how="left").select(language, "group", of, "bin", "rows")


def nothing_of(identity: str) -> Totals:
    """Return the totals of no pieces at all."""
    import polars as pl

    keys = {"language": pl.Categorical, "group": pl.Categorical}
    counts = dict.fromkeys(("rows", "with_value", "value_missing"), pl.Int64) | {"value_sum": pl.Int128}
    scores = dict.fromkeys(("with_score", "score_missing"), pl.Int64)
    exact = dict.fromkeys(("score_sum", "weight", "weighted"), pl.Int128)
    high = {"high_rows": pl.Int64, "high_weight": pl.Int128}
    bins = {"of": pl.Categorical, "bin": pl.Float32, "rows": pl.Int64}
    return Totals(
        identity=identity,
        done=frozenset(),
        sums=pl.DataFrame(schema=keys | counts | scores | exact | high),
        bins=pl.DataFrame(schema=keys | bins),
    )


def plus(parts: Sequence[Totals]) -> Totals:
    """Return the sum of totals of different pieces; stop with 4 when there are too many groups to go on."""
    import polars as pl

    keys, bin_keys = ["language", "group"], ["language", "group", "of", "bin"]
    sums = pl.concat(part.sums for part in parts).lazy().group_by(keys).agg(pl.exclude(keys).sum())
    bins = pl.concat(part.bins for part in parts).lazy().group_by(bin_keys).agg(pl.col("rows").sum())
    merged = pl.collect_all([sums, bins], engine="streaming")
    done = frozenset().union(*(part.done for part in parts))
    whole = replace(parts[0], done=done, sums=merged[0], bins=merged[1])
    if whole.bins.height > MOST_BINS:
        message = f"{whole.sums.height:,} groups after {len(whole.done)} files are too many to compare"
        raise Stop(EXIT_INPUT, message, fix="name a --group-by column with fewer different values")
    if whole.sums["value_sum"].sum() > LARGEST_SUM * SCALE:
        raise Stop(EXIT_INPUT, "the values add up to more than 2**56", fix="name a --value column of a larger unit")
    return whole


# --- unfinished work ---


def parts_place(target: Target, request: Mapping[str, Any]) -> BucketPlace:
    """Return where unfinished work of this request is kept: in the run's bucket, or in the output folder."""
    name = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:12]
    if target.folder is not None:
        return BucketPlace(bucket_id=None, prefix="", folder=target.folder / PARTS_FOLDER / name)
    return BucketPlace(bucket_id=f"{target.repo_id}-parts", prefix=name, folder=None)


def load_parts(place: BucketPlace, token: str | None) -> dict[str, Totals]:
    """Return the unfinished work at `place`, by file name; what is damaged, or just being removed, is left out."""
    import polars as pl

    found = {}
    names = [name for name in list_bucket(place, token) if name.endswith(".parquet")]
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            path = Path(folder, f"{number}.parquet")
            try:
                retry(lambda name=name, path=path: fetch_part(place, name, path, token), what=f"reading {name}")
                found[name] = from_bytes(path.read_bytes())
            except FileNotFoundError:  # a sibling shard has just written the result
                continue
            except (pl.exceptions.PolarsError, KeyError, ValueError) as error:
                note(f"{name} in {place} is damaged and is done again: {one_line(error)[:80]}")
    return found


def fetch_part(place: BucketPlace, name: str, path: Path, token: str | None) -> None:
    """Copy a file of `place` to `path`; what a sibling shard writes anew at this moment may be had a moment later."""
    try:
        fetch_from_bucket(place, {name: path}, token)
    except RuntimeError as error:  # of the Xet client, which has no class for it
        raise ConnectionError(one_line(error)) from error


def save_part(place: BucketPlace, name: str, totals: Totals, token: str | None) -> None:
    """Write unfinished work, for a restart to go on with. Errors of the Hub and the disk pass through."""
    if place.bucket_id is not None:
        create_bucket_once(place, str(token))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(to_bytes(totals))
        try:
            put_in_bucket(place, {name: path}, token)
        except RuntimeError as error:  # of the Xet client, which has no class for it
            raise ConnectionError(one_line(error)) from error


def hand_in(place: BucketPlace, name: str, totals: Totals, token: str | None) -> None:
    """Write what a shard has done; stop with 6 when that is not possible: it stays here, and the message tells where."""
    folder = Path(tempfile.mkdtemp(prefix="parts-"))
    path = folder / name
    path.write_bytes(to_bytes(totals))
    persist_in_bucket(place, {name: path}, token)
    shutil.rmtree(folder)


def forget_parts(place: BucketPlace, token: str | None) -> None:
    """Remove the unfinished work of a run whose result is persisted."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if place.folder is not None:
        shutil.rmtree(place.folder.parent, ignore_errors=True)
        return
    paths = [f"{place.prefix}/{name}" for name in list_bucket(place, token)]
    if paths:
        api = HfApi(token=token)
        try:
            retry(lambda: api.batch_bucket_files(str(place.bucket_id), delete=paths), what=f"cleaning {place}")
        except (Stop, HfHubHTTPError) as error:
            note(f"{place} still has {len(paths)} files that nobody needs any more: {one_line(error)}")


def to_bytes(totals: Totals) -> bytes:
    """Return the totals as one parquet file: the bins as rows, the rest as its metadata."""
    buffer = io.BytesIO()
    rest = {"identity": totals.identity, "done": sorted(totals.done), "sums": totals.sums.to_dicts()}
    totals.bins.write_parquet(buffer, metadata={"totals": json.dumps(rest)})
    return buffer.getvalue()


def from_bytes(data: bytes) -> Totals:
    """Return the totals that `to_bytes` wrote. Raises PolarsError, KeyError or ValueError for anything else."""
    import polars as pl

    rest = json.loads(pl.read_parquet_metadata(io.BytesIO(data))["totals"])
    nothing = nothing_of(rest["identity"])
    return replace(
        nothing,
        done=frozenset(rest["done"]),
        sums=pl.DataFrame(rest["sums"], schema=nothing.sums.schema),
        bins=pl.read_parquet(io.BytesIO(data)).cast(nothing.bins.schema),
    )


def whole_of(
    task: Task, shard: Shard, parts: Mapping[str, Totals], place: BucketPlace, commit_every: float
) -> Totals | None:
    """Do what is missing of this shard's pieces; return the totals of all pieces, None when other shards are not done."""
    name = f"{shard.rank:05d}-of-{shard.count:05d}.parquet"
    apart = disjoint(name, parts)
    begun = frozenset().union(*(part.done for part in apart.values()))
    mine = [piece for piece in task.pieces if shard.holds(piece.number) and piece.number not in begun]
    own = apart.get(name, nothing_of(task.identity))
    if shard.count > 1 and name not in apart:
        save_part(place, name, own, task.token)  # the other shards go by this commit
    own = add_up(task, mine, own, Keeper(place, name, task.token, commit_every))
    if shard.count == 1 and apart.keys() <= {name}:
        return own
    hand_in(place, name, own, task.token)
    everything = disjoint(name, load_parts(place, task.token))
    whole = plus(list(everything.values())) if everything else own
    missing = len(task.pieces) - len(whole.done)
    if missing == 0:
        return whole
    note(f"shard {shard} is done; {missing} of {len(task.pieces)} files are not, or are being put together")
    return None


def disjoint(first: str, parts: Mapping[str, Totals]) -> dict[str, Totals]:
    """Return the parts, that of `first` before the others, without those that repeat pieces of an earlier one."""
    kept: dict[str, Totals] = {}
    done: set[int] = set()
    for name in sorted(parts, key=lambda name: (name != first, name)):
        if done.isdisjoint(parts[name].done):
            kept[name] = parts[name]
            done |= parts[name].done
    return kept


class Keeper:
    """Saves unfinished work every `seconds`, and when it is stopped; that it cannot is no reason to stop."""

    def __init__(self, place: BucketPlace, name: str, token: str | None, seconds: float) -> None:
        self._place, self._name, self._token, self._seconds = place, name, token, seconds
        self._saved, self._unsaved = time.monotonic(), None

    def __enter__(self) -> None:
        self._saved = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind in {SystemExit, KeyboardInterrupt}:
            self._save()

    def keep(self, totals: Totals) -> None:
        """Take what is done so far, and save it when it is time to."""
        self._unsaved = totals
        if time.monotonic() - self._saved >= self._seconds:
            self._save()

    def _save(self) -> None:
        if self._unsaved is None:
            return
        try:
            save_part(self._place, self._name, self._unsaved, self._token)
        except (Stop, OSError) as error:
            note(f"a restart would begin anew, as this cannot be kept: {one_line(error)}")
        self._saved, self._unsaved = time.monotonic(), None


# --- the figures ---


def tables_of(totals: Totals, task: Task) -> dict[str, Table]:
    """Return the rows of each table, sorted; unknown keys come last."""
    import polars as pl

    if not totals.sums["rows"].sum():
        raise _no_rows(task.sources[0].given)
    text = totals.sums.with_columns(pl.col("language", "group").cast(pl.String))
    years = {group: year_of(group) for group in text["group"].unique()}
    year = pl.col("group").replace_strict(list(years), list(years.values()), return_dtype=pl.Int64).alias("year")
    by = {"global": []}
    if any(years.values()):
        by["per_year"] = ["year"]
    by["per_group"] = [*by.get("per_year", []), "group"]
    if len(task.sources) > 1:
        by["per_language"] = ["language"]
    sums = text.with_columns(year)
    bins = totals.bins.sort("bin").with_columns(pl.col("language", "group", "of").cast(pl.String)).with_columns(year)
    return {name: table_by(keys, sums, bins, task.columns) for name, keys in by.items()}


def year_of(group: str | None) -> int | None:
    """Return the year of a crawl (CC-MAIN-2019-30) or of a date (2019-07-01); None for anything else."""
    match = re.fullmatch(r"(?:CC-MAIN-)?((?:19|20)\d\d)(?!\d).*", group or "", re.DOTALL)
    return int(match[1]) if match else None


def table_by(keys: Sequence[str], sums: pl.DataFrame, bins: pl.DataFrame, columns: Columns) -> Table:
    """Return one row for each value of `keys`; `bins` are in the order of their numbers."""
    import polars as pl

    numbers = pl.selectors.numeric() - pl.selectors.by_name("year")
    dataset = pl.lit(0).alias("dataset")  # a key for the table that has none
    totals = sums.group_by(dataset, *keys).agg(numbers.sum()).sort(*keys or ["dataset"], nulls_last=True)
    below = pl.col("rows").cum_sum()
    ranked = bins.group_by(*keys, "of").agg(
        pl.col("bin").filter(below * 100 >= percent * pl.col("rows").sum()).first().alias(f"p{percent:02}")
        for percent in PERCENTS
    )
    quantiles = {tuple(row[key] for key in (*keys, "of")): row for row in ranked.to_dicts()}
    table = []
    for total in totals.to_dicts():
        names = {columns.key if key == "group" else key: total[key] for key in keys}
        ranks = {of: quantiles.get((*names.values(), of), {}) for of in columns.measured}
        table.append(names | figures(total, columns, ranks))
    return table


def figures(total: Mapping[str, int], columns: Columns, ranks: Mapping[str, Mapping[str, float]]) -> Row:
    """Return the figures of some groups together. A mean, share or quantile over nothing is None.

    `score_mean` counts every row that has a score alike, `score_mean_weighted` by its value; `high_share` likewise.
    """
    row: Row = {"rows": total["rows"]}
    for name in columns.measured:
        used, missing = total[f"with_{name}"], total[f"{name}_missing"]
        row |= {f"with_{name}": used, f"{name}_missing": missing, f"{name}_unusable": total["rows"] - used - missing}
        row |= {"value_sum": total["value_sum"] / SCALE} if name == "value" else {}
        row |= {f"{name}_mean": _ratio(total[f"{name}_sum"], SCALE * used)}
        row |= {f"{name}_p{percent:02}": ranks[name].get(f"p{percent:02}") for percent in PERCENTS}
    if columns.score is None:
        return row
    weighs = columns.value is not None
    row |= {"score_mean_weighted": _ratio(total["weighted"], total["weight"])} if weighs else {}
    if columns.high is not None:
        row |= {"high_rows": total["high_rows"], "high_share": _ratio(total["high_rows"], total["with_score"])}
        row |= {"high_share_weighted": _ratio(total["high_weight"], total["weight"])} if weighs else {}
    return row


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


# --- the output ---


def parquet(rows: Table, columns: Columns) -> bytes:
    """Return the rows as one parquet file; the same rows give the same bytes."""
    import polars as pl

    kinds = {int: pl.Int64, str: pl.String}
    schema: dict[str, Any] = {}
    for name in rows[0]:
        found = {type(row[name]) for row in rows if row[name] is not None}
        schema[name] = pl.String if name == columns.key else kinds.get(next(iter(found), float), pl.Float64)
    buffer = io.BytesIO()
    pl.DataFrame(rows, schema=schema).write_parquet(buffer)
    return buffer.getvalue()


def plots(tables: Mapping[str, Table], columns: Columns) -> dict[str, bytes]:
    """Return the plot of the years, or of the largest groups, as PNG and SVG; the same rows give the same bytes."""
    import logging

    import matplotlib as mpl
    from matplotlib.figure import Figure

    name, key = ("per_year", "year") if "per_year" in tables else ("per_group", columns.key)
    rows = sorted(tables[name], key=lambda row: -row["rows"])[:PLOTTED_GROUPS]
    rows = [row for row in tables[name] if row in rows]
    labels = [one_line("none" if row[key] is None else str(row[key])[:24]) for row in rows]
    # The fonts have no emoji, and say so on stderr; names of groups are no formulas; ids in SVG are random without salt.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    settings = {"svg.hashsalt": "jobshelf", "text.parse_math": False}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(9, 2 + 2.5 * len(columns.measured)), layout="constrained")
        axes = figure.subplots(1 + len(columns.measured), sharex=True, squeeze=False)[:, 0]
        axes[0].bar(range(len(rows)), [row["rows"] for row in rows], color="tab:gray")
        axes[0].set_ylabel("rows")
        for axis, of in zip(axes[1:], columns.measured, strict=True):
            _draw(axis, rows, of, str(getattr(columns, of)))
        axes[-1].set_xticks(range(len(rows)), labels, rotation=60, ha="right")
        return {
            f"plots/{name}.png": _saved(figure, "png", {"Software": None}),
            f"plots/{name}.svg": _saved(figure, "svg", {"Date": None, "Creator": None}),
        }


def _draw(axis: Axes, rows: Table, of: str, label: str) -> None:
    def numbers(figure: str) -> list[float]:
        return [math.nan if row.get(figure) is None else row[figure] for row in rows]

    places = range(len(rows))
    axis.fill_between(places, numbers(f"{of}_p25"), numbers(f"{of}_p75"), alpha=0.2, label="p25 to p75")
    axis.plot(places, numbers(f"{of}_p50"), ":", label="p50")
    axis.plot(places, numbers(f"{of}_mean"), "o-", markersize=3, label="mean by rows")
    if f"{of}_mean_weighted" in rows[0]:
        axis.plot(places, numbers(f"{of}_mean_weighted"), "s--", markersize=3, label="mean by value")
    axis.set_ylabel(one_line(label)[:32])
    axis.legend(fontsize="small")


def _saved(figure: Figure, form: str, metadata: Mapping[str, None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata=metadata)
    return buffer.getvalue()


def card(existing: str | None, task: Task, tables: Mapping[str, Table], args: argparse.Namespace) -> str:
    """Return the dataset card: figures, their limits, provenance."""
    source, columns, whole = task.sources[0], task.columns, tables["global"][0]
    name = source.repo_id or source.given
    config = "all configs" if args.all_languages else f"the config {md(source.config)}"
    sampled = f"a sample of {whole['rows']:,}" if args.limit else f"all {whole['rows']:,}"
    first = "per_year" if "per_year" in tables else "per_group"
    titles = {"per_year": "By year", "per_group": f"By {columns.group}", "per_language": "By config"}
    meant = [f"`{of}` is the column {md(getattr(columns, of))}" for of in columns.measured]
    sections = [
        f"# Statistics of {md(name)}",
        f"{'; '.join(['Rows by ' + md(columns.group), *meant])}; over {sampled} rows of {config}, split "
        f"{md(source.split)}. `mean` and `share` count every row alike, `weighted` by its value.",
        f"## {md(titles[first])}",
        md_table([readable(row) for row in tables[first][:SHOWN_ROWS]]),
        f"![Rows, means and quantiles](plots/{first}.png)\n\nThe same as [SVG](plots/{first}.svg).",
    ]
    if "per_language" in tables:
        largest = sorted(tables["per_language"], key=lambda row: -row["rows"])[:SHOWN_ROWS]
        sections += [f"## {titles['per_language']}", md_table([readable(row) for row in largest])]
    stamp = ScriptStamp(name=SCRIPT_NAME, url=SCRIPT_URL, version=VERSION)
    packages = ("polars", "huggingface-hub", "matplotlib")
    words = without_shard(args.words)
    sections += [
        "## Read with care\n\n" + "\n".join(f"- {text}" for text in cautions(whole, columns, args)),
        provenance(stamp, source=name, identity=task.identity, arguments=words, packages=packages),
    ]
    configs = [
        {"config_name": table, "data_files": [{"split": "train", "path": f"data/{table}.parquet"}]}
        | ({"default": True} if table == first else {})
        for table in tables
    ]
    front_matter = {"pretty_name": one_line(f"Statistics of {name}"), "tags": ["statistics"], "configs": configs}
    return render_card(existing, front_matter=front_matter, body="\n\n".join(sections))


def cautions(whole: Row, columns: Columns, args: argparse.Namespace) -> list[str]:
    """Return what a reader must know to not misread the figures."""
    found = [] if columns.score is None else [BIAS]
    if columns.names == FINEPDFS.names:
        found.append(FINEPDFS_BIAS)
    if columns.measured:
        found.append(QUANTILES)
    for of in columns.measured:
        missing, unusable = whole[f"{of}_missing"], whole[f"{of}_unusable"]
        found.append(
            f"{missing:,} rows have no {of} and {unusable:,} have one that is {UNUSABLE[of]}: they are left out."
        )
    if args.limit:
        found.append("The sample is a run of rows of each of some evenly spaced files, not a random one.")
    return found


def without_shard(words: Sequence[str]) -> list[str]:
    """Return the command line of the whole run, which any shard may end."""
    kept = [word for word in words if not word.startswith("--shard=")]
    return [word for place, word in enumerate(kept) if "--shard" not in kept[max(0, place - 1) : place + 1]]


def readable(row: Row) -> dict[str, str]:
    """Return the keys and main figures of the row with thousands separated, shares in percent, and None in words."""
    shown = [name for name in row if name in SHOWN or not name.startswith(FIGURES)]
    return {one_line(name).replace("_", " "): _readable(name, row[name]) for name in shown}


def _readable(name: str, value: float | str | None) -> str:
    if value is None:
        return "none"
    if name == "high_share":
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"
    return f"{value:,}" if name == "rows" else one_line(str(value)[:SHOWN_CHARACTERS])


def report(
    sources: Sequence[Source],
    args: argparse.Namespace,
    *,
    status: str,
    tables: Mapping[str, Table] | None = None,
    commit: str | None = None,
) -> int:
    """Print what was done: JSON for programs, tables for people."""
    source, files = sources[0], sum(len(source.files) for source in sources)
    config = "*" if args.all_languages else source.config
    facts = {
        "version": 2,
        "status": status,
        "input": source.given,
        "commit": source.commit,
        "identity": identity_of(sources),
        "config": config,
        "split": source.split,
        "files": files,
        "limit": args.limit,
        "output": args.output,
        "output_commit": commit,
        "tables": tables,
    }
    if args.json:
        return show(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    lines = [f"{source.label}: config {config}, split {source.split}, {files} {source.format} file(s)"]
    for name, rows in (tables or {}).items():
        lines += ["", name.replace("_", " ").upper(), *text_table([readable(row) for row in rows])]
    outcome = {
        "dry run": f"dry run: input{' and output' if args.output else ''} are fine; nothing was written",
        "already there": f"already there: {args.output} holds this result; nothing to do (--overwrite computes it again)",
        "shard done": f"shard {args.shard} is done; the last shard to end writes {args.output}",
        "computed": "printed only: name an OUTPUT (user/name or ./out) to keep it",
        "written": f"written to {args.output}" + (f" at commit {commit}" if commit else ""),
    }
    return show("\n".join([*lines, "", outcome[status]]))


def text_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the rows as aligned lines of text, names above."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def show(text: str) -> int:
    """Print `text` whatever the terminal's encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    print(text)
    return EXIT_DONE


def _word(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


# --- block: exits 1 (jobshelf) ---
EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_TOKEN = 3
EXIT_INPUT = 4
EXIT_ENVIRONMENT = 5
EXIT_NOT_PERSISTED = 6


class Stop(Exception):
    """Ends the script with `code`. `message` says what was found and where, `fix` what to type or change next."""

    def __init__(self, code: int, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{one_line(self.message).rstrip('.')}. Fix: {one_line(self.fix)}"


def one_line(text: object) -> str:
    """Return `text` on one line, control characters escaped, without the signed part of any URL."""
    joined = " ".join(re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", str(text)).split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in joined)


def note(text: str) -> None:
    """Write one line of progress or advice to stderr."""
    print(f"note: {one_line(text)}", file=sys.stderr, flush=True)


def run_to_exit(work: Callable[[], int]) -> int:
    """Run `work` and return its exit code, or the code of what stopped it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _terminate) if in_main_thread else None
    try:
        code = work()
        sys.stdout.flush()
        return code
    except Stop as stop:
        return _failed(stop.code, str(stop))
    except KeyboardInterrupt:
        return _failed(130, "interrupted. Fix: run the same command again")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _failed(EXIT_ENVIRONMENT, "out of memory. Fix: use a machine or a Job flavor with more memory")
    except OSError as error:
        return _failed(
            EXIT_ENVIRONMENT, f"{one_line(error).rstrip('.')}. Fix: check the network, the disk and the path"
        )
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _failed(code: int, text: str) -> int:
    print(f"error: {text}", file=sys.stderr, flush=True)
    return code


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


# --- end block ---
# --- block: retry 1 (jobshelf) ---
RETRY_ATTEMPTS = 5
RETRY_FIRST_PAUSE_S = 0.5
RETRY_LONGEST_PAUSE_S = 300.0
RETRY_SILENCE_S = 120.0
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_Answer = TypeVar("_Answer")


def retry(call: Callable[[], _Answer], *, what: str) -> _Answer:
    """Return `call()`. `what` names the work in messages, e.g. "reading user/name"."""
    attempt = 0
    while True:
        attempt += 1
        try:
            _end_silence()
            return call()
        except Exception as error:
            reason = transient(error)
            if reason is None:
                raise
            if attempt == RETRY_ATTEMPTS or _offline(error):
                raise _unreachable(what, reason, attempt) from error
            pause = retry_pause(error, attempt)
            note(f"{what}: {reason}; trying again in {pause:g} s ({attempt}/{RETRY_ATTEMPTS - 1})")
            time.sleep(pause)


def transient(error: BaseException) -> str | None:
    """Return why `error` may go away by itself, or None when it will not."""
    for link in _chain(error):
        status = http_status(link)
        if status is not None:
            return f"the server answered {status}" if status in RETRY_STATUSES else None
        if _is_connection_failure(link):
            return one_line(link) or type(link).__name__
    return None


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that `error` carries, if any."""
    return getattr(getattr(error, "response", None), "status_code", None)


def retry_pause(error: BaseException, attempt: int) -> float:
    """Return the seconds to wait after the 1-based `attempt`: Retry-After if given, else doubling."""
    for link in _chain(error):
        told = getattr(getattr(link, "response", None), "headers", {}).get("retry-after", "")
        if told.isdecimal():
            return min(float(told), RETRY_LONGEST_PAUSE_S)
    return RETRY_FIRST_PAUSE_S * 2 ** (attempt - 1)


def _end_silence() -> None:
    """Bound how long the Hub's client waits for a word: most of its calls would wait until the Job's own timeout."""
    if "huggingface_hub" in sys.modules:
        from huggingface_hub.utils import get_session

        hooks = get_session().event_hooks["request"]
        if _with_a_timeout not in hooks:
            hooks.append(_with_a_timeout)


def _with_a_timeout(request: httpx2.Request) -> None:
    asked = request.extensions.get("timeout") or {}
    if asked.get("read") is None:
        told = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        seconds = float(told) if told.isdecimal() and int(told) else RETRY_SILENCE_S
        waits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        request.extensions = {**request.extensions, "timeout": waits}


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _is_connection_failure(error: BaseException) -> bool:
    # huggingface_hub lets the errors of its HTTP client through; the client is its dependency, not the script's.
    of_http_client = any(base.__module__.partition(".")[0] in {"httpx", "httpx2"} for base in type(error).__mro__)
    return of_http_client or isinstance(error, ConnectionError | TimeoutError)


def _offline(error: BaseException) -> bool:
    return type(error).__name__ == "OfflineModeIsEnabled"


def _unreachable(what: str, reason: str, attempts: int) -> Stop:
    message = f"{what}: {reason} (attempt {attempts} of {RETRY_ATTEMPTS})"
    fix = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again"
    return Stop(EXIT_ENVIRONMENT, message, fix=fix)


# --- end block ---
# --- block: token 1 (jobshelf) ---
TOKEN_MISTAKEN_NAMES = ("TOKEN", "HUGGINGFACE_TOKEN", "HF_API_TOKEN", "HUGGINGFACEHUB_API_TOKEN")


def find_token() -> str | None:
    """Return the token of the environment or of `hf auth login`, None when there is none; stop when it is malformed."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import OIDCError

    try:
        token = get_token()
    except OIDCError as error:
        message = f"the identity of this CI run could not be exchanged for a token: {one_line(error)}"
        raise Stop(EXIT_TOKEN, message, fix="check the trusted publisher, or unset HF_OIDC_RESOURCE") from error
    if token is None:
        return None
    if not token.isascii() or not token.isprintable() or any(char in token for char in " $\"'"):
        message = (
            "the Hub token has characters that no token has (HF_TOKEN not substituted, or pasted with its quotes?)"
        )
        raise Stop(EXIT_TOKEN, message, fix=token_advice())
    return token


def require_token(why: str) -> str:
    """Return the token; stop with 3 when there is none. `why` completes "no Hub token, needed to ..."."""
    token = find_token()
    if token is not None:
        return token
    mistaken = next((name for name in TOKEN_MISTAKEN_NAMES if os.environ.get(name)), None)
    hint = f" ({mistaken} is set, but the name that counts is HF_TOKEN)" if mistaken else ""
    raise Stop(EXIT_TOKEN, f"no Hub token, needed to {why}{hint}", fix=token_advice())


def require_write(target: str) -> str:
    """Return a token that may write to the repo `target` ("namespace/name"); stop with 3 when there is none."""
    token = require_token(f"write to {target}")
    account = who_am_i(token)
    refused = write_refusal(account, target)
    if refused:
        raise Stop(EXIT_TOKEN, refused[0], fix=refused[1])
    return token


def who_am_i(token: str) -> dict[str, Any]:
    """Return what the Hub says about the owner of `token`; stop with 3 when the Hub does not accept it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return retry(lambda: HfApi().whoami(token=token, cache=True), what="checking the token")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403}:
            raise
        message = "the Hub does not accept the token: it is invalid, expired or revoked"
        fix = f"make one at https://huggingface.co/settings/tokens, then {token_advice()}"
        raise Stop(EXIT_TOKEN, message, fix=fix) from error


def write_refusal(account: Mapping[str, Any], target: str) -> tuple[str, str] | None:
    """Return (message, fix) when the account of `whoami` may not write to `target`, else None.

    Roles are those of the Hub's whoami answer: "read", "write" and "fineGrained" for a token; "read", "contributor",
    "write" and "admin" for a member of an organisation.
    """
    access = account.get("auth", {}).get("accessToken", {})
    namespace, user = target.partition("/")[0], account.get("name", "")
    settings = "https://huggingface.co/settings/tokens"
    if access.get("role") == "read":
        return f"the token of {user} can only read, {target} needs write", f"make a write token at {settings}"
    organisations = {org.get("name"): org.get("roleInOrg") for org in account.get("orgs", [])}
    if namespace != user and namespace not in organisations:
        mine = ", ".join([user, *sorted(filter(None, organisations))])
        return f"{user} is not {namespace} and no member of it, {target} needs that", f"write to one of: {mine}"
    if organisations.get(namespace) == "read":
        return f"{user} can only read in {namespace}", f"ask an admin of {namespace} for the role write"
    if access.get("role") == "fineGrained" and not _scoped_write(access, target):
        return f"the fine-grained token of {user} does not cover {target}", f"add write access to it at {settings}"
    return None


def _scoped_write(access: Mapping[str, Any], target: str) -> bool:
    scopes = access.get("fineGrained")
    if scopes is None:
        return True  # an old answer without scopes: creating the repository will tell
    covering = {target, target.partition("/")[0]}
    return any(
        scope.get("entity", {}).get("name") in covering and "repo.write" in scope.get("permissions", [])
        for scope in scopes.get("scoped", [])
    )


def token_advice() -> str:
    """Return how to hand a token over where this process runs: in a Job, in CI, or on someone's machine."""
    if os.environ.get("JOB_ID"):
        return "start the Job with `--secrets HF_TOKEN`"
    if os.environ.get("CI"):
        return "set HF_TOKEN from a secret of the CI"
    return "run `hf auth login` on this machine; for a Job add `--secrets HF_TOKEN`"


# --- end block ---
# --- block: source 3 (jobshelf) ---
SOURCE_FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
SOURCE_METADATA = frozenset({"dataset_infos.json", "dataset_info.json", "state.json", "jobshelf.json", "index.json"})
SOURCE_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SOURCE_SAMPLED_BYTES = 65536
# What Polars goes on with after it has said what is wrong: which of its own options would help, where it was.
_SOURCE_ADVICE = re.compile(r" (?:Consider setting|You might want to try|The current offset|This error occurred) ")
_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One split of a dataset. `files` are paths inside the repository `repo_id` at `commit`, or inside `folder`.

    `identity` is the commit, or "sha256:..." of local files (name, size, first and last 64 KiB of each).
    """

    given: str
    repo_id: str | None
    commit: str | None
    folder: Path | None
    identity: str
    private: bool
    config: str
    split: str
    configs: tuple[str, ...]
    splits: tuple[str, ...]
    format: str
    files: tuple[str, ...]

    @property
    def label(self) -> str:
        """The input as people name it, with the commit where there is one."""
        return f"{self.repo_id}@{self.commit[:12]}" if self.repo_id and self.commit else self.given


def resolve_source(
    given: str,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    preferred_config: str | None = None,
) -> Source:
    """Describe the input `given`; nothing but names and metadata is read.

    `preferred_config` is taken, where it exists, when `config` is not given. Stops with 2 for what cannot be an
    input, 3 for a gated one, 4 for one that is missing or holds nothing readable.
    """
    described, layout = _found(given, revision, token)
    return _choose(described, layout, config, split, preferred_config)


def resolve_configs(
    given: str,
    *,
    split: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    preferred_config: str | None = None,
) -> tuple[Source, ...]:
    """Describe the same split of every config that has it, in the order of the dataset, with the calls that one takes.

    `split` is by default that of the `preferred_config`, or of the first config. Stops as `resolve_source` does.
    """
    described, layout = _found(given, revision, token)
    having = [config for config, splits in layout.items() if split is None or split in splits]
    if not having:
        return (_choose(described, layout, None, split, preferred_config),)
    first = _choose(described, layout, preferred_config if preferred_config in having else having[0], split, None)
    others = [config for config, splits in layout.items() if first.split not in splits]
    if others:
        note(f"{len(others)} configs have no split {first.split} and are left out: {', '.join(others[:5])}")
    return tuple(_choose(described, layout, config, first.split, None) for config in layout if config not in others)


def _found(given: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    path = Path(given).expanduser()
    if not given.strip():
        raise Stop(EXIT_USAGE, "the input is empty", fix="name a Hub dataset (user/name), or ./path")
    if given.startswith("hf://"):
        return _from_hf_path(given, revision, token)
    if not path.exists() and _REPO_ID.fullmatch(given):
        return _from_hub(given, given, "", revision, token)
    if path.exists() and revision is not None:
        raise Stop(EXIT_USAGE, f"{given} is here and has no revision {revision!r}", fix="leave --revision away")
    return _from_local(given, path)


def locate(source: Source, files: Iterable[str], token: str | None) -> tuple[list[str], dict[str, str] | None]:
    """Return what polars reads `files` of `source` from: paths or URLs, and its storage options.

    polars asks huggingface.co whatever HF_ENDPOINT says and sends no token to plain URLs: with HF_ENDPOINT set, each
    file becomes a signed URL (large files) or a downloaded one (small files). Signed URLs expire: call this late.
    """
    if source.folder is not None:
        return [str(source.folder / file) for file in files], None
    if "HF_ENDPOINT" not in os.environ:
        base = f"hf://datasets/{source.repo_id}@{source.commit}"
        return [f"{base}/{file}" for file in files], {"token": token} if token else None
    return [_signed_or_downloaded(source, file, token) for file in files], None


def unreadable(source: Source, what: str, error: Exception) -> Stop:
    """Return the Stop for what Polars says about `what`: 5 when the network failed, 4 when the data is at fault."""
    said = _SOURCE_ADVICE.split(one_line(error), maxsplit=1)[0].rstrip(" .:")
    if re.search(
        r"error (sending request|following redirect)|object-store|HTTP status|timed out|too many requests",
        said,
        re.IGNORECASE,
    ):
        fix = "check the network, then run the same command again"
        return Stop(EXIT_ENVIRONMENT, f"{what} of {source.given} could not be fetched: {said}", fix=fix)
    fix = "mend the file, or name another config or split"
    return Stop(EXIT_INPUT, f"{what} of {source.given} is not readable {source.format}: {said}", fix=fix)


def _signed_or_downloaded(source: Source, file: str, token: str | None) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    where = {"repo_id": str(source.repo_id), "repo_type": "dataset", "revision": source.commit}
    url = hf_hub_url(filename=file, **where)
    location = retry(lambda: get_hf_file_metadata(url, token=token), what=f"locating {file}").location
    if location != url:
        return location
    return retry(lambda: hf_hub_download(filename=file, token=token, **where), what=f"downloading {file}")


_Layout = dict[str, dict[str, tuple[str, ...]]]  # config -> split -> files, in the order of the dataset


def _from_local(given: str, path: Path) -> tuple[Source, _Layout]:
    if path.is_file():
        folder, files, card = path.parent, (path.name,), None
    elif path.is_dir():
        folder, files = path, _files_below(path)
        card = path / "README.md"
    elif _REPO_ID.fullmatch(given) or "/" in given or Path(given).suffix in SOURCE_FORMATS:
        raise Stop(EXIT_INPUT, f"found no file or folder {given!r}", fix="check the path")
    else:
        message = f"the input {given!r} is no Hub dataset, hf:// path, file or folder"
        raise Stop(EXIT_USAGE, message, fix="write it as user/name, hf://datasets/user/name/..., or ./path")
    data = _data_files(given, files)
    # One file is one split: its name says nothing about a dataset around it.
    layout = {"default": {"train": data}} if path.is_file() else _layout(data, _front_matter(card))
    described = _described(given, None, None, folder, data)
    return described, layout


def _files_below(folder: Path) -> tuple[str, ...]:
    # Nothing but files: to open a pipe would wait for its other end.
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()))


def _from_hf_path(given: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    match = re.fullmatch(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*?))?/?", given)
    if match is None:
        message = f"{given!r} is no path in a Hub dataset"
        raise Stop(EXIT_USAGE, message, fix="write hf://datasets/user/name[@revision][/folder or file]")
    repo_id, pinned, inside = match.groups()
    if pinned and revision:
        raise Stop(EXIT_USAGE, f"{given!r} names a revision and so does --revision", fix="give one of the two")
    return _from_hub(given, repo_id, inside or "", revision or (pinned or "").replace("%2F", "/") or None, token)


def _from_hub(given: str, repo_id: str, inside: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.dataset_info(repo_id, revision=revision), what=f"reading {repo_id}")
        if info.gated:  # everybody may see what it is; only some may read its files
            retry(lambda: api.auth_check(repo_id, repo_type="dataset"), what=f"asking for access to {repo_id}")
    except HfHubHTTPError as error:
        raise _refusal(error, repo_id, revision, token) from error
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
    files = _inside(given, names, inside) if inside else names
    data = _data_files(given, files)
    front_matter = {} if inside or info.card_data is None else info.card_data.to_dict()
    described = _described(given, repo_id, info.sha, None, data)
    return replace(described, private=bool(info.private)), _layout(data, front_matter)


def _refusal(error: Exception, repo_id: str, revision: str | None, token: str | None) -> Stop:
    kind, status = type(error).__name__, http_status(error)
    if kind == "GatedRepoError":
        fix = f"ask for access at its page on the Hub, then {token_advice()}"
        return Stop(EXIT_TOKEN, f"{repo_id} is gated and this account has no access", fix=fix)
    if kind == "RevisionNotFoundError":
        return Stop(EXIT_INPUT, f"{repo_id} has no revision {revision!r}", fix="name a branch, tag or commit of it")
    if kind == "RepositoryNotFoundError":
        seen = "for this account" if token else "for anonymous readers"
        fix = f"check the spelling; if it is private, {token_advice()}"
        return Stop(EXIT_INPUT, f"there is no dataset {repo_id} {seen}", fix=fix)
    if status in {401, 403}:
        return Stop(EXIT_TOKEN, f"the Hub does not accept the token for {repo_id}: {status}", fix=token_advice())
    fix = "check HF_ENDPOINT and the proxy, then run the same command again"
    return Stop(EXIT_ENVIRONMENT, f"the Hub answered {status} for {repo_id}", fix=fix)


def _described(
    given: str, repo_id: str | None, commit: str | None, folder: Path | None, files: Sequence[str]
) -> Source:
    return Source(
        given=given,
        repo_id=repo_id,
        commit=commit,
        folder=folder,
        identity=commit or _fingerprint(folder or Path(), files),
        private=False,
        config="",
        split="",
        configs=(),
        splits=(),
        format="",
        files=(),
    )


def _fingerprint(folder: Path, files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            ends = [stream.read(SOURCE_SAMPLED_BYTES)]
            stream.seek(max(0, size - SOURCE_SAMPLED_BYTES))
            ends.append(stream.read())
        digest.update(f"{name}\0{size}\0".encode() + b"".join(ends))
    return f"sha256:{digest.hexdigest()}"


def _data_files(given: str, names: Iterable[str]) -> tuple[str, ...]:
    data = tuple(name for name in names if _format(name) and not _is_metadata(name))
    if not data:
        kinds = ", ".join(sorted(SOURCE_FORMATS))
        raise Stop(EXIT_INPUT, f"{given} holds no file ending in {kinds}", fix="name a dataset that has such files")
    return data


def _format(name: str) -> str | None:
    return SOURCE_FORMATS.get(PurePosixPath(name.lower()).suffix)


def _is_metadata(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in SOURCE_METADATA or any(part.startswith(".") for part in path.parts)


def _inside(given: str, names: Sequence[str], pattern: str) -> tuple[str, ...]:
    found = tuple(n for n in names if n == pattern or n.startswith(f"{pattern}/") or _matches(n, pattern))
    if not found:
        close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
        fix = f"did you mean {', '.join(close)}" if close else "list the files with `hf datasets info`"
        raise Stop(EXIT_INPUT, f"nothing at {given}", fix=fix)
    return found


def _front_matter(card: Path | None) -> Mapping[str, Any]:
    if card is None or not card.is_file():
        return {}
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}
    except Exception as error:
        message = f"the front matter of {card} is not YAML: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix="mend it, or name one file") from error


def _layout(files: Sequence[str], front_matter: Mapping[str, Any]) -> _Layout:
    """Return config -> split -> files: as the front matter says, else by the words in the paths, as `datasets` does."""
    declared = front_matter.get("configs")
    if not isinstance(declared, list):
        return {"default": _splits_by_name(files)}
    entries = [entry for entry in declared if isinstance(entry, dict) and "config_name" in entry]
    # The config that load_dataset() takes without a name comes first.
    entries.sort(key=lambda entry: not (entry.get("default") or entry["config_name"] == "default"))
    layout = {str(entry["config_name"]): _declared_splits(entry, files) for entry in entries}
    return {name: splits for name, splits in layout.items() if splits} or {"default": _splits_by_name(files)}


def _declared_splits(entry: Mapping[str, Any], files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    folder = str(entry.get("data_dir") or "").strip("/")
    within = [file for file in files if not folder or file.startswith(f"{folder}/")]
    declared = entry.get("data_files")
    if declared is None:
        return _splits_by_name(within)
    if isinstance(declared, dict):
        declared = [{"split": split, "path": path} for split, path in declared.items()]
    if isinstance(declared, str) or not all(isinstance(item, dict) for item in declared):
        declared = [{"split": "train", "path": declared}]
    prefix = f"{folder}/" if folder else ""
    splits = {str(item.get("split")): _matching(item.get("path"), prefix, files) for item in declared}
    return {split: found for split, found in splits.items() if found}


def _matching(patterns: object, prefix: str, files: Sequence[str]) -> tuple[str, ...]:
    wanted = [patterns] if isinstance(patterns, str) else list(patterns or ())
    return tuple(file for file in files if any(_matches(file, f"{prefix}{pattern}") for pattern in wanted))


def _matches(file: str, pattern: str) -> bool:
    """Match as the Hub does: `*` stays inside a folder, `**` does not."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]*\])", pattern.removeprefix("./"))
    regex = "".join(_glob_part(part) for part in parts)
    return re.fullmatch(regex, file) is not None


def _glob_part(part: str) -> str:
    if part.startswith("["):
        return fnmatch.translate(part).removeprefix("(?s:").partition(")")[0]
    return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))


def _splits_by_name(files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_split_of(file), []).append(file)
    if "" in found and len(found) > 1:  # files without a split word beside files that have one are not data of a split
        del found[""]
    named = {split or "train": tuple(names) for split, names in found.items()}
    order = list(SOURCE_SPLIT_WORDS)
    return dict(sorted(named.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 9, item[0])))


def _split_of(file: str) -> str:
    """Return the split that the path names, the file name counting before its folders; "" when it names none."""
    for part in reversed(PurePosixPath(file).with_suffix("").parts):
        sharded = re.fullmatch(r"(\w+)-\d{5}-of-\d{5}(?:-\w+)?", part)
        if sharded:
            return sharded[1]
        words = re.split(r"[^a-z0-9]+", part.lower())
        for split, synonyms in SOURCE_SPLIT_WORDS.items():
            if any(word in synonyms for word in words):
                return split
    return ""


def _choose(
    source: Source, layout: _Layout, config: str | None, split: str | None, preferred_config: str | None
) -> Source:
    preferred = preferred_config if preferred_config in layout else next(iter(layout))
    chosen_config = _pick("config", config, layout, preferred, source.given)
    splits = layout[chosen_config]
    chosen_split = _pick("split", split, splits, default_split(splits), source.given)
    files = splits[chosen_split]
    formats = sorted({str(_format(file)) for file in files})
    kind = "parquet" if "parquet" in formats else formats[0]
    read = tuple(file for file in files if _format(file) == kind)
    if len(formats) > 1:
        note(f"{source.given} mixes {', '.join(formats)}: reading the {kind} files")
    return replace(
        source,
        config=chosen_config,
        split=chosen_split,
        configs=tuple(layout),
        splits=tuple(splits),
        format=kind,
        files=read,
    )


def default_split(splits: Iterable[str]) -> str:
    """Return the split to take when none is named: train, else the first that begins so, else the first."""
    names = list(splits)
    return "train" if "train" in names else next((name for name in names if name.startswith("train")), names[0])


def _pick(what: str, asked: str | None, available: Iterable[str], default: str, given: str) -> str:
    names = list(available)
    if asked is None or asked in names:
        return asked or default
    close = difflib.get_close_matches(asked, names, n=1) or [default]
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    message = f"{given} has no {what} {asked!r}; it has: {listed}"
    raise Stop(EXIT_INPUT, message, fix=f"add --{what} {close[0]}")


# --- end block ---
# --- block: shard 1 (jobshelf) ---
SHARD_MARKERS = "completions"
SHARD_MOST = 99_999
_SHARD_FORM = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Number `index` of `count` shards, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def rank(self) -> int:
        """The number of this shard counted from 0, as in the names of its files."""
        return self.index - 1

    @property
    def marker(self) -> str:
        """Where the marker of this shard lies, relative to the output."""
        return f"{SHARD_MARKERS}/{self.rank:05d}"

    def holds(self, part_index: int) -> bool:
        """Whether the part of this number (from 0) is this shard's work."""
        return part_index % self.count == self.rank


def parse_shard(given: str | None) -> Shard:
    """Return the shard that `--shard` names, 1/1 for None; stop with 2 when it is not I/N with 1 <= I <= N."""
    if given is None:
        return Shard(index=1, count=1)
    match = _SHARD_FORM.fullmatch(given)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= SHARD_MOST:
        message = f"--shard {given!r} is not I/N with I from 1 to N and N up to {SHARD_MOST}"
        raise Stop(EXIT_USAGE, message, fix="write --shard 1/8 for the first of eight, --shard 8/8 for the last")
    return Shard(index=index, count=count)


def shard_marker(shard: Shard, *, parts_in_all: int) -> bytes:
    """Return what the marker of a finished shard says: which shard it was, and the parts that the whole run has."""
    return (json.dumps({"parts_in_all": parts_in_all, "shard": str(shard)}, sort_keys=True) + "\n").encode()


def parts_in_all(markers: Mapping[str, bytes]) -> int | None:
    """Return the number of parts of the whole run as the markers (name -> content) say; None when none says it.

    Stops with 4 when they do not agree: the shards did not read the same input.
    """
    told = {name: _shard_told(content) for name, content in sorted(markers.items())}
    totals = {total for total in told.values() if total is not None}
    if len(totals) > 1:
        listed = ", ".join(f"{name}: {total}" for name, total in told.items())
        message = f"the shards do not agree on the number of parts ({listed})"
        raise Stop(EXIT_INPUT, message, fix="run all shards on the same input and revision, with --overwrite")
    return totals.pop() if totals else None


def missing_parts(total: int, finished: Iterable[int]) -> list[int]:
    """Return the numbers below `total` that are not finished, in order."""
    return sorted(set(range(total)).difference(finished))


def _shard_told(content: bytes) -> int | None:
    try:
        said = json.loads(content)
    except ValueError:
        return None
    total = said.get("parts_in_all") if isinstance(said, dict) else None
    return total if isinstance(total, int) and total >= 0 else None


# --- end block ---
# --- block: persist_bucket 1 (jobshelf) ---
BUCKET_RACES = 20  # of those that write, and clear away, the same file in one folder
_BUCKET_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # a file being written, or left by a run killed just then
_BUCKET_URI = re.compile(r"hf://buckets/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(.*?))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlace:
    """Where files go: under `prefix` of the bucket `bucket_id`, or in the mounted `folder`; one of the two is set."""

    bucket_id: str | None
    prefix: str
    folder: Path | None

    def __str__(self) -> str:
        return str(self.folder) if self.folder else f"hf://buckets/{self.bucket_id}/{self.prefix}".rstrip("/")


def parse_bucket(given: str) -> BucketPlace:
    """Return the place that `given` names; stop with 2 when it is neither hf://buckets/user/name nor an absolute path."""
    if Path(given).is_absolute():
        return BucketPlace(bucket_id=None, prefix="", folder=Path(given))
    match = _BUCKET_URI.fullmatch(given)
    prefix = (match[2] or "") if match else ""
    if match is None or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        message = f"{given!r} is neither a bucket nor the absolute path of a mounted one"
        raise Stop(EXIT_USAGE, message, fix="write hf://buckets/user/name/folder, or /data/folder with `-v` on the Job")
    return BucketPlace(bucket_id=match[1], prefix=prefix, folder=None)


def open_bucket(place: BucketPlace, *, dry_run: bool) -> str | None:
    """Return the token that writes to `place` (None for a mount), after checking that it can be written to.

    Creates a bucket that does not exist yet, private; a dry run creates nothing. Stops with 3 or 5.
    """
    if place.folder is not None:
        _bucket_mount_is_writable(place.folder, dry_run=dry_run)
        return None
    token = require_write(str(place.bucket_id))
    if not dry_run:
        create_bucket_once(place, token)
    return token


def create_bucket_once(place: BucketPlace, token: str) -> None:
    """Create the bucket, private, unless it is there; stop with 3 when the Hub does not let this token."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(
            lambda: api.create_bucket(str(place.bucket_id), private=True, exist_ok=True),
            what=f"creating the bucket {place.bucket_id}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 402, 403, 404}:
            raise
        message = f"the Hub does not let this token create the bucket {place.bucket_id}: {one_line(error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def list_bucket(place: BucketPlace, token: str | None) -> dict[str, int]:
    """Return the files at `place`: name relative to it -> size in bytes.

    A folder or bucket that does not exist, or that this token may not see, holds none. What others are writing, or were
    when they were killed, is not there yet.
    """
    if place.folder is not None:
        return _bucket_files(place.folder)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    start = f"{place.prefix}/" if place.prefix else ""
    api = HfApi(token=token)
    try:
        items = retry(
            lambda: list(api.list_bucket_tree(str(place.bucket_id), prefix=start or None, recursive=True)),
            what=f"listing {place}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403, 404}:
            raise
        return {}
    return {item.path.removeprefix(start): item.size for item in items if item.type == "file"}


def put_in_bucket(place: BucketPlace, files: Mapping[str, Path], token: str | None) -> None:
    """Store `files` (name relative to `place` -> local file). Errors of the Hub and the disk pass through."""
    if place.folder is not None:
        for name, path in files.items():
            _bucket_copy(path, place.folder / name)
        return
    from huggingface_hub import HfApi

    start = f"{place.prefix}/" if place.prefix else ""
    add = [(str(path), f"{start}{name}") for name, path in files.items()]
    api = HfApi(token=token)
    retry(lambda: api.batch_bucket_files(str(place.bucket_id), add=add), what=f"writing to {place}")


def fetch_from_bucket(place: BucketPlace, wanted: Mapping[str, Path], token: str | None) -> None:
    """Copy files of `place` (name -> local path) to this machine. Raises FileNotFoundError where one is missing."""
    for path in wanted.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    if place.folder is not None:
        for name, path in wanted.items():
            shutil.copyfile(place.folder / name, path)
        return
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError

    start = f"{place.prefix}/" if place.prefix else ""
    pairs = [(f"{start}{name}", str(path)) for name, path in wanted.items()]
    api = HfApi(token=token)
    try:
        retry(
            lambda: api.download_bucket_files(str(place.bucket_id), pairs, raise_on_missing_files=True),
            what=f"reading {place}",
        )
    except EntryNotFoundError as error:
        raise FileNotFoundError(one_line(error)) from error


def persist_in_bucket(place: BucketPlace, files: Mapping[str, Path], token: str | None) -> str:
    """Store `files`, list them again, and return where they are; stop with 6 where that cannot be had."""
    try:
        put_in_bucket(place, files, token)
        there = list_bucket(place, token)
    except (Stop, OSError, RuntimeError) as error:
        raise _bucket_not_persisted(place, files, error.message if isinstance(error, Stop) else error) from error
    wrong = [name for name, path in files.items() if there.get(name) != path.stat().st_size]
    if wrong:
        raise _bucket_not_persisted(place, files, f"{', '.join(wrong[:3])} did not arrive whole")
    return str(place)


def _bucket_mount_is_writable(folder: Path, *, dry_run: bool) -> None:
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    # A folder at the root of the machine that nothing is mounted at is lost when the Job ends.
    if nearest == Path(folder.anchor) or not nearest.is_dir():
        message = f"nothing is mounted at {folder}"
        raise Stop(EXIT_ENVIRONMENT, message, fix="start the Job with `-v hf://buckets/user/name:/data`")
    try:
        if dry_run:
            writable = os.access(nearest, os.W_OK)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                writable = True
    except OSError:
        writable = False
    if not writable:
        raise Stop(EXIT_ENVIRONMENT, f"{folder} cannot be written to", fix="mount the bucket without `:ro`")


def _bucket_files(folder: Path) -> dict[str, int]:
    # not rglob, which fails when another run clears a folder away at this moment
    found = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names if not _BUCKET_PART.fullmatch(name)):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return dict(sorted(found.items()))


def half_written(path: Path) -> list[Path]:
    """Return what is beside `path` of attempts to write it that were killed, or are going on."""
    beside: list[Path] = []
    with contextlib.suppress(FileNotFoundError):
        beside = list(path.parent.iterdir())
    return [one for one in beside if one.name.startswith(f".{path.name}.") and _BUCKET_PART.fullmatch(one.name)]


def _bucket_copy(source: Path, destination: Path) -> None:
    # once, not at each race: two that write the same file would take away each other's for ever
    for path in half_written(destination):
        path.unlink(missing_ok=True)
    for race in range(1, BUCKET_RACES + 1):
        try:
            _bucket_copy_once(source, destination)
        except FileNotFoundError:  # another writer took ours for a leftover, or cleared the folder away
            if race == BUCKET_RACES or not source.exists():
                raise
        else:
            return


def _bucket_copy_once(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as target, source.open("rb") as data:
            shutil.copyfileobj(data, target)
            target.flush()
            os.fsync(target.fileno())
        Path(temporary).replace(destination)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _bucket_not_persisted(place: BucketPlace, files: Mapping[str, Path], reason: object) -> Stop:
    copy = ["cp"] if place.folder else ["hf", "cp"]
    commands = [shlex.join([*copy, str(path.absolute()), f"{place}/{name}"]) for name, path in files.items()]
    folders = ", ".join(sorted({str(path.parent.absolute()) for path in files.values()}))
    message = f"the result is not in {place} ({one_line(reason)}); it is in {folders}"
    return Stop(EXIT_NOT_PERSISTED, message, fix=" && ".join(commands))


# --- end block ---
# --- block: persist_file 1 (jobshelf) ---
PERSIST_MANIFEST = "jobshelf.json"
PERSIST_ATTEMPTS = 5
PERSIST_RACES = 20  # of runs that write the same result to one folder
PERSIST_NOT_FOREIGN = frozenset({".gitattributes", "README.md", "LICENSE"})
PERSIST_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # a file being written, or left by a run killed just then
_TARGET_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where results go: the Hub dataset `repo_id`, or `folder`; exactly one of the two is set."""

    repo_id: str | None
    folder: Path | None

    def __str__(self) -> str:
        return self.repo_id or str(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the target holds at `head` (None: nothing yet): its file names, its manifest, its card."""

    head: str | None
    private: bool
    names: tuple[str, ...]
    manifest: Mapping[str, Any]
    card: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What identifies a result: the script, the arguments that change it, and the source it was computed from."""

    script: str
    request: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """Where the result is. `commit` is None for a folder."""

    where: str
    commit: str | None


def parse_target(given: str) -> Target:
    """Return the target that `given` names; stop with 2 when it is neither `user/name` nor a path such as `./out`."""
    if given.startswith(("./", "../", "~")) or given in {".", ".."} or Path(given).is_absolute():
        return Target(repo_id=None, folder=Path(given).expanduser())
    if not _TARGET_ID.fullmatch(given) or ".." in given or "--" in given or given.endswith((".git", ".", "-")):
        fix = f"write user/{Path(given).name or 'name'} for a Hub dataset or ./{Path(given).name} for a local folder"
        raise Stop(EXIT_USAGE, f"the output {given!r} is neither a Hub dataset nor a path", fix=fix)
    if given != given.lower():
        note(f"{given} has upper case letters; names on the Hub are case-sensitive")
    return Target(repo_id=given, folder=None)


def look_at(target: Target, *, token: str | None, private: bool, public: bool) -> Held:
    """Return what `target` holds now; nothing is created. `token` may write to it.

    `private` is whether the result must not be public; `public` is the user's word that it may be all the same. Stops
    with 2 when a private result would go to a repository that is public.
    """
    if target.folder is not None:
        return _held_in_folder(target.folder)
    held = _held_on_hub(str(target.repo_id), str(token))
    hidden = private and not public
    if held is not None and hidden and not held.private:
        message = f"{target} is public, but this result is private (private source or --private)"
        raise Stop(EXIT_USAGE, message, fix="add --public to publish it, or name another output")
    return held or Held(head=None, private=hidden, names=(), manifest={}, card=None)


def create_target(target: Target, held: Held, token: str | None) -> None:
    """Create the Hub dataset when there is none yet, so that a refusal comes before the work."""
    if target.repo_id is not None and held.head is None:
        _create(target.repo_id, private=held.private, token=str(token))


def target_token(target: Target) -> str | None:
    """Return a token that may write to a Hub target, None for a folder; stop with 3 when there is none."""
    return require_write(target.repo_id) if target.repo_id else None


def already_there(target: Target, held: Held, run: Run, token: str | None) -> bool:
    """Return whether `target` holds the intact result of exactly this run."""
    if not _same(held.manifest, run) or held.manifest.get("source") != run.source:
        return False
    digests = held.manifest.get("files")
    return isinstance(digests, dict) and _digests(target, held.head, digests, token) == digests


def refuse_foreign(target: Target, held: Held, run: Run, *, overwrite: bool) -> None:
    """Stop with 4 when `target` holds files of somebody else, or the result of another request."""
    if overwrite or _same(held.manifest, run):
        return
    if held.manifest.get("script") == run.script:
        theirs, ours = dict(held.manifest.get("request") or {}), dict(run.request)
        changed = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
        message = f"{target} holds the result of another request (different: {', '.join(changed)})"
    else:
        foreign = [name for name in held.names if name not in PERSIST_NOT_FOREIGN]
        if not foreign:
            return
        message = f"{target} holds {len(foreign)} files that this script did not write ({', '.join(foreign[:3])})"
    raise Stop(EXIT_INPUT, message, fix="name another output, or add --overwrite to write beside and over them")


def persist_files(
    target: Target,
    files: Mapping[str, bytes],
    *,
    run: Run,
    overwrite: bool,
    make_card: Callable[[str | None], str],
    token: str | None,
) -> Persisted:
    """Write `files`, the manifest and the card to `target` and read them back.

    `make_card` gets the card that is there now (None: none) and returns the new one. On the Hub all of it is one
    commit on the head that was looked at; when somebody else commits in between, the target is looked at again.
    """
    if target.folder is not None:
        return _persist_in_folder(target.folder, files, run, make_card)
    try:
        return _persist_on_hub(target, files, run, overwrite, make_card, str(token))
    except Stop as stop:
        _save_and_stop(target, files, run, make_card, stop)
    except Exception as error:
        if not isinstance(error, OSError | RuntimeError) and http_status(error) is None:
            raise
        _save_and_stop(target, files, run, make_card, error)


def _same(manifest: Mapping[str, Any], run: Run) -> bool:
    return manifest.get("script") == run.script and manifest.get("request") == dict(run.request)


def _manifest(run: Run, files: Mapping[str, bytes]) -> bytes:
    content = {
        "script": run.script,
        "request": dict(run.request),
        "source": run.source,
        "files": _sha256s(files),
    }
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _parsed_manifest(text: bytes | None) -> Mapping[str, Any]:
    try:
        content = json.loads(text or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _held_in_folder(folder: Path) -> Held:
    if folder.exists() and not folder.is_dir():
        raise Stop(EXIT_USAGE, f"the output {folder} is a file", fix="name a folder, e.g. ./out")
    # not rglob, which fails when another run clears a folder away at this moment
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    files = (path for path in paths if path.is_file() and not PERSIST_PART.fullmatch(path.name))
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    manifest, card = folder / PERSIST_MANIFEST, folder / "README.md"
    return Held(
        head=None,
        private=True,
        names=tuple(names),
        manifest=_parsed_manifest(manifest.read_bytes() if manifest.is_file() else None),
        card=card.read_text(encoding="utf-8") if card.is_file() else None,
    )


def _persist_in_folder(
    folder: Path, files: Mapping[str, bytes], run: Run, make_card: Callable[[str | None], str]
) -> Persisted:
    held = _held_in_folder(folder)
    for name in _stale(held, files):
        (folder / name).unlink(missing_ok=True)
    # The manifest goes before the data: a run that is killed has left only files that the next one knows as its own,
    # and that it believes only when every digest agrees. The card goes first, as no digest covers it.
    content = {"README.md": make_card(held.card).encode(), PERSIST_MANIFEST: _manifest(run, files), **files}
    for name, data in content.items():
        _write_atomically(folder / name, data)
    _remove_parts(folder, content)
    wrong = [name for name, data in content.items() if (folder / name).read_bytes() != data]
    if wrong:
        raise Stop(EXIT_NOT_PERSISTED, f"{folder}: {', '.join(wrong)} changed while written", fix="run it again")
    return Persisted(where=str(folder), commit=None)


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for race in range(1, PERSIST_RACES + 1):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except FileNotFoundError:  # the same command at the same moment took ours for a leftover
            if race == PERSIST_RACES:
                raise
        else:
            return
        finally:
            Path(temporary).unlink(missing_ok=True)


def _remove_parts(folder: Path, names: Iterable[str]) -> None:
    for parent in {(folder / name).parent for name in names}:
        for path in parent.iterdir():
            if PERSIST_PART.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _stale(held: Held, files: Mapping[str, bytes]) -> list[str]:
    """Return the files that an earlier run of the same kind listed, that are still there and no longer made."""
    listed = held.manifest.get("files")
    return sorted(set(held.names) & set(listed) - set(files)) if isinstance(listed, dict) else []


def _held_on_hub(repo_id: str, token: str) -> Held | None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token)
    try:
        info = retry(lambda: api.dataset_info(repo_id), what=f"looking at {repo_id}")
    except RepositoryNotFoundError:
        return None
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
    wanted = [name for name in (PERSIST_MANIFEST, "README.md") if name in names]
    found = _read_from_hub(repo_id, str(info.sha), wanted, token)
    card = found.get("README.md")
    return Held(
        head=info.sha,
        private=bool(info.private),
        names=names,
        manifest=_parsed_manifest(found.get(PERSIST_MANIFEST)),
        card=card.decode("utf-8", "replace") if card is not None else None,
    )


def _read_from_hub(repo_id: str, commit: str, names: Iterable[str], token: str) -> dict[str, bytes]:
    from huggingface_hub import hf_hub_download

    found = {}
    with tempfile.TemporaryDirectory() as folder:  # not the cache: what is compared must come from the Hub

        def read(name: str) -> bytes:
            path = hf_hub_download(
                repo_id, name, repo_type="dataset", revision=commit, local_dir=folder, token=token, force_download=True
            )
            return Path(path).read_bytes()

        for name in names:
            found[name] = retry(lambda name=name: read(name), what=f"reading {name} of {repo_id}")
    return found


def _digests(target: Target, head: str | None, names: Iterable[str], token: str | None) -> dict[str, str] | None:
    """Return the sha256 of each of `names` in the target, None when one of them is missing."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        if target.folder is not None:
            found = {name: (target.folder / name).read_bytes() for name in names}
        else:
            found = _read_from_hub(str(target.repo_id), str(head), names, str(token))
    except (FileNotFoundError, EntryNotFoundError):
        return None
    return _sha256s(found)


def _create(repo_id: str, *, private: bool, token: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(
            lambda: api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True),
            what=f"creating {repo_id}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403, 404}:
            raise
        message = f"the Hub does not let this token create {repo_id}: {one_line(error.server_message or error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def _persist_on_hub(
    target: Target,
    files: Mapping[str, bytes],
    run: Run,
    overwrite: bool,
    make_card: Callable[[str | None], str],
    token: str,
) -> Persisted:
    repo_id = str(target.repo_id)
    for _ in range(PERSIST_ATTEMPTS):
        held = _held_on_hub(repo_id, token)
        if held is None:
            raise Stop(EXIT_INPUT, f"{repo_id} was deleted during the run", fix="run the same command again")
        refuse_foreign(target, held, run, overwrite=overwrite)
        content = {**files, "README.md": make_card(held.card).encode(), PERSIST_MANIFEST: _manifest(run, files)}
        commit = _commit_on(repo_id, held, content, run, token)
        if commit is not None:
            return _verified(target, commit, content, token)
        note(f"{repo_id} changed while this was written: looking at it again")
    message = f"{repo_id} changed {PERSIST_ATTEMPTS} times while this was written"
    raise Stop(EXIT_NOT_PERSISTED, message, fix="run the same command again when nobody else writes to it")


def _verified(target: Target, commit: str, content: Mapping[str, bytes], token: str) -> Persisted:
    if _digests(target, commit, content, token) != _sha256s(content):
        raise Stop(EXIT_NOT_PERSISTED, f"{target} at {commit} does not hold what was sent", fix="run it again")
    return Persisted(where=str(target), commit=commit)


def _commit_on(repo_id: str, held: Held, content: Mapping[str, bytes], run: Run, token: str) -> str | None:
    """Commit `content` on the head that was looked at; None when the head has moved since."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # a few small files: a bar would only fill the Job's log

    def commit() -> str:
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in content.items()]
        operations += [CommitOperationDelete(path_in_repo=name) for name in _stale(held, content)]
        message = f"Results of {run.script}"
        api = HfApi(token=token)
        done = api.create_commit(
            repo_id, operations, repo_type="dataset", commit_message=message, parent_commit=held.head
        )
        return str(done.oid)

    try:
        return retry(commit, what=f"writing to {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {409, 412}:
            raise
        return None


def _sha256s(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _save_and_stop(
    target: Target,
    files: Mapping[str, bytes],
    run: Run,
    make_card: Callable[[str | None], str],
    reason: Exception,
) -> NoReturn:
    folder = Path(f"{str(target.repo_id).replace('/', '--')}-not-pushed").absolute()
    _persist_in_folder(folder, files, run, make_card)
    command = shlex.join(["hf", "upload", str(target.repo_id), str(folder), ".", "--repo-type", "dataset"])
    why = reason.message if isinstance(reason, Stop) else reason
    message = f"the result is not on the Hub ({one_line(why)}); it is saved in {folder}"
    raise Stop(EXIT_NOT_PERSISTED, message, fix=command) from reason


# --- end block ---
# --- block: progress 1 (jobshelf) ---
PROGRESS_EVERY_S = 60.0


class Progress:
    """A count up to `total` (None: not known) of things called `what`. Use it as a context manager; threads may add.

    `start` of them were done by an earlier attempt: they count as done, but not for the speed.
    """

    def __init__(self, total: int | None, what: str, *, start: int = 0) -> None:
        self._total, self._what, self._start, self._done = total, what, start, start
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._bar: tqdm | None = None
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._begun = time.monotonic()
        self._bar = _progress_bar(self._total, self._what, self._start) if sys.stderr.isatty() else None
        if self._bar is None:
            note(self.line())
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.close()
            return
        self._ticker.join()
        note(self.line())

    def add(self, count: int = 1) -> None:
        """Count `count` more as done."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.update(count)

    def line(self) -> str:
        """Return where the work stands: `rows: 120 of 500 (24 %), 2.0 a second, about 3 min 10 s left`."""
        done, seconds = self._done, time.monotonic() - self._begun
        speed = (done - self._start) / seconds if seconds > 0 else 0.0
        share = f" of {self._total} ({100 * done // self._total} %)" if self._total else ""
        text = f"{self._what}: {done}{share}"
        if speed > 0:
            text += f", {speed:.1f} a second" if speed >= 0.1 else f", {speed * 3600:.1f} an hour"
            if self._total and done < self._total:
                text += f", about {progress_duration((self._total - done) / speed)} left"
        return text

    def _tick(self) -> None:
        while not self._ended.wait(PROGRESS_EVERY_S):
            note(self.line())


def progress_duration(seconds: float) -> str:
    """Return a span of time in its two largest units: `2 h 5 min`, `3 min 10 s`, `7 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    largest = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    shown = units[largest : largest + 2]
    return " ".join(f"{count} {unit}" for count, unit in shown if count) or "0 s"


def _progress_bar(total: int | None, what: str, start: int) -> tqdm | None:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=start, desc=what, unit="", file=sys.stderr, dynamic_ncols=True)


# --- end block ---
# --- block: card 2 (jobshelf) ---
CARD_BEGIN = "<!-- jobshelf: this part is rewritten by each run -->"
CARD_END = "<!-- jobshelf: end -->"
CARD_TAGS = ("uv-script", "jobshelf")
_FRONT_MATTER = re.compile(r"\A\ufeff?---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptStamp:
    """Which script ran: its name, the URL it is published at, its version."""

    name: str
    url: str
    version: str

    def sha256(self) -> str:
        """Return the digest of the file that runs, or why there is none (a script on stdin has no file)."""
        file = getattr(sys.modules["__main__"], "__file__", None)
        path = Path(file) if file else None
        if path is None or path.name != self.name or not path.is_file():
            return "not known (the script was not run from a file of its name)"
        return hashlib.sha256(path.read_bytes()).hexdigest()


def render_card(
    existing: str | None,
    *,
    front_matter: Mapping[str, Any],
    body: str,
) -> str:
    """Return `existing` with `body` in the part that belongs to the script, and `front_matter` merged in.

    Tags are united, `configs` are replaced by name, any other key that is already there stays as it is.
    """
    from huggingface_hub.utils import yaml_dump

    old, text = split_card(existing or "")
    merged = {**front_matter, **old}
    merged["tags"] = _united(old.get("tags"), [*CARD_TAGS, *front_matter.get("tags", ())])
    merged["configs"] = _replaced(old.get("configs"), front_matter.get("configs", ()))
    if not merged["configs"]:
        del merged["configs"]
    ours = f"{CARD_BEGIN}\n\n{body.strip()}\n\n{CARD_END}"
    before, begin, rest = text.partition(CARD_BEGIN)
    after = rest.partition(CARD_END)[2] if begin else ""
    parts = [part.strip() for part in (before, ours, after) if part.strip()]
    return f"---\n{yaml_dump(merged).strip()}\n---\n\n" + "\n\n".join(parts) + "\n"


def split_card(card: str) -> tuple[dict[str, Any], str]:
    """Return (front matter, text). Front matter that is no YAML mapping counts as text, so that nothing is lost."""
    import yaml

    match = _FRONT_MATTER.match(card)
    if match is None:
        return {}, card
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}, card
    return (data, card[match.end() :]) if isinstance(data, dict) else ({}, card)


def provenance(
    stamp: ScriptStamp, *, source: str, identity: str, arguments: Sequence[str], packages: Sequence[str]
) -> str:
    """Return the Markdown section that says what ran, on what, and how to run it again."""
    from importlib.metadata import version

    command = shlex.join(["uv", "run", stamp.url, *arguments])
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    rows = [
        ("Source", f"{md(source)} at `{md(identity)}`"),
        ("Script", f"[{md(stamp.name)}]({stamp.url}) {md(stamp.version)}"),
        ("Script sha256", md(stamp.sha256())),
        ("Versions", f"Python {sys.version.split()[0]}, {md(versions)}"),
    ]
    if os.environ.get("JOB_ID"):
        rows.append(("Ran as", "a Hugging Face Job" + _on_hardware()))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"## Provenance\n\n| | |\n|---|---|\n{table}\n\nRun it again:\n\n{fenced(command)}"


def _on_hardware() -> str:
    accelerator = os.environ.get("ACCELERATOR")
    return f" on {md(accelerator)}" if accelerator else ""


def md(text: object) -> str:
    """Return `text` as literal Markdown for one line or one table cell."""
    from html import escape

    escaped = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", escaped)


def fenced(text: str) -> str:
    """Return `text` in a code fence that it cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def md_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return `rows` as a Markdown table; the columns are those of the first row."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(c if c == "---" else md(c) for c in line) + " |" for line in lines)


def _united(old: object, new: Sequence[str]) -> list[str]:
    kept = [str(tag) for tag in old] if isinstance(old, list) else []
    return kept + [tag for tag in dict.fromkeys(new) if tag not in kept]


def _replaced(old: object, new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    names = {config["config_name"] for config in new}
    kept = [item for item in old if isinstance(item, dict)] if isinstance(old, list) else []
    return [item for item in kept if item.get("config_name") not in names] + list(new)


# --- end block ---


if __name__ == "__main__":
    raise SystemExit(main())
