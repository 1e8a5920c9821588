# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "polars>=2.1,<3",
#     "tenacity>=9.1,<10",
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
# version = "0.3.0"
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
# rehearse = ["{input:finepdfs}", "{output}", "--part-files", "1", "--commit-every", "0"]
# ///
"""Count rows and average and rank a size and a score by crawl dump and by year, or by any column.

Made for FinePDFs (dump, token_count, fw_edu_scores); any dataset with --group-by, --value (a size or weight) and --score.
Streams only these columns. Prints the tables; with an OUTPUT it also writes them and a card. The default input has about
50 million documents: minutes on the CPU flavor of the header, cents. Run again, it computes only the missing parts.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py --limit 10000
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py ./rows.parquet ./stats --group-by source --value length
    hf jobs uv run --secrets HF_TOKEN https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py HuggingFaceFW/finepdfs-edu user/finepdfs-edu-stats

No token is needed to read public data and print. An OUTPUT on the Hub needs one with write access.
Exit codes: 0 done; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 computed, saved here, not persisted.
"""

from __future__ import annotations

import argparse
import ast
import glob
import hashlib
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import polars as pl

SCRIPT_URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py"
DEFAULT_INPUT, DEFAULT_CONFIG = "HuggingFaceFW/finepdfs-edu", "eng_Latn"
FINEPDFS = {"group_by": "dump", "value": "token_count", "score": "fw_edu_scores", "high": 3.0}
NUMBER = r"(U?Int|Float|Decimal|Null)"
EXPECTED = {
    "group_by": ("text, numbers or dates", r"(?!missing|List|Array|Struct|Binary|Duration|Object)"),
    "value": ("numbers", rf"{NUMBER}|String"),  # text files have nothing but strings
    "score": ("numbers, or lists of numbers", rf"{NUMBER}|String|(List|Array)\({NUMBER}"),
}
SMALL_BYTES = 2**20  # what is smaller is downloaded whole: its footer alone comes as 256 KiB
MOST_BINS = 3_000_000  # rows of histograms in memory
PERCENTS = (5, 25, 50, 75, 95)
SHOWN = ("rows", "value_sum", "value_mean", "value_p50", "score_mean", "score_mean_weighted", "score_p50", "high_share")
FIGURES = ("year", "rows", "with_", "value_", "score_", "high_")  # what the names of other columns begin with
NETWORK = re.compile(r"error (sending request|following redirect)|object-store|HTTP status|timed out|too many requests")


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = parse_arguments(argv)
    if args.output is not None:
        require_write(args.output)
    files, commit, private = find_files(args)
    check_files(args, files)
    parts = [files[start : start + args.part_files] for start in range(0, len(files), args.part_files)]
    names = {f"data/parts/{number:05}-of-{len(parts):05}.parquet": part for number, part in enumerate(parts)}
    if args.show_plan:
        print(f"PLAN for {len(parts[0])} files\n{plan_of(args, parts[0])}\n", file=sys.stderr if args.json else None)
    if args.output is None:
        tables = {} if args.dry_run else tables_of(args, add_up(compute(args, part) for part in parts))
        return show(args, commit, "dry run" if args.dry_run else "computed", tables)

    asked = {key: value for key, value in vars(args).items() if key not in {"json", "measured", "show_plan"}}
    output = Output(args, run_identity(argparse.Namespace(**asked), commit))
    if args.dry_run:
        return show(args, commit, "dry run", {})
    is_done = "README.md" in output.finished
    output.claim(private=private)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that finished parts are sent
    try:
        for name in list(names)[args.shard[0] - 1 :: args.shard[1]]:
            if name not in output.finished:
                output.write(name, to_parquet(compute(args, names[name])))
        output.send()
        if names.keys() - retrying(output.look)[0]:
            return show(args, commit, "shard done", {})
        tables = tables_of(args, add_up(read_part(output, name) for name in names))
        results = {f"data/{name}.parquet": to_parquet(table) for name, table in tables.items()}
        for name, data in (results | {"README.md": card(args, tables, output.run).encode()}).items():
            if not is_done or name not in output.finished:
                output.write(name, data)
    finally:
        output.send()
    return show(args, commit, "already there" if is_done else "written", tables)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return the command line `argv`; exit with 2 when it makes no sense."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("input", nargs="?", default=argparse.SUPPRESS, metavar="INPUT", help=f"Hub dataset or files ({DEFAULT_INPUT})")
    add("output", nargs="?", default=argparse.SUPPRESS, metavar="OUTPUT", help="Hub dataset, hf://buckets/... or ./out")
    add("--source-dataset", dest="input", default=DEFAULT_INPUT, metavar="INPUT", help="the same as INPUT")
    add("--output-repo", dest="output", metavar="OUTPUT", help="the same as OUTPUT; without: print only")
    add("--group-by", metavar="COLUMN", help="column whose values are compared (default: dump)")
    add("--value", metavar="COLUMN", help="size or weight of a row, 0 or more (default: token_count)")
    add("--score", metavar="COLUMN", help="number of a row, or list to average (default: fw_edu_scores)")
    add("--high", type=float, metavar="SCORE", help="rows from this score on are high (default: 3)")
    add("--config", "--lang", metavar="NAME", help=f"config, here a language (default: {DEFAULT_CONFIG} if there)")
    add("--split", default="train", metavar="NAME", help="split (default: %(default)s)")
    add("--limit", "--max-samples", type=int, metavar="N", help="at most N rows: the beginnings of at most 32 files")
    add("--show-plan", action="store_true", help="also print the plan of the query that runs")
    add("--part-files", type=int, default=8, metavar="N", help="files of one query (default: %(default)s)")
    add("--shard", default="1/1", metavar="I/N", help="do every N-th part; the shard that ends last adds them up")
    add("--commit-every", type=int, default=300, metavar="S", help="seconds between commits (default: %(default)s)")
    add("--private", action="store_true", help="make a new output private, as for private input")
    add("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="keep the parts of another version of this script or of the input")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    args = parser.parse_intermixed_args(argv)
    columns, shard = [args.group_by, args.value, args.score], re.fullmatch(r"(\d+)/(\d+)", args.shard, re.ASCII)
    if "" in {args.input, args.output, *columns} or not math.isfinite(args.high or 0):
        parser.error("INPUT, OUTPUT and columns are not empty, --high is finite")
    if args.part_files < 1 or args.commit_every < 0 or (args.limit is not None and args.limit < 1):
        parser.error("--limit and --part-files are at least 1, --commit-every is at least 0")
    if shard is None or not 1 <= int(shard[1]) <= int(shard[2]) or (args.output is None and args.shard != "1/1"):
        parser.error("--shard is a share such as 1/8, the first of eight, of an OUTPUT")
    if args.group_by is None and columns != [None] * 3:
        parser.error("--value and --score need --group-by COLUMN")
    here, there = Path(args.input).absolute(), Path(args.output or "-").absolute()
    if here.is_relative_to(there) or (args.output is not None and here.is_dir() and there.is_relative_to(here)):
        parser.error("OUTPUT is INPUT, or one lies in the other: name another place")
    defaults = FINEPDFS if args.group_by is None else {}
    vars(args).update({key: value for key, value in defaults.items() if getattr(args, key) is None})
    if int(shard[2]) > 1:  # all shards together make at most 60 commits an hour
        args.commit_every = max(args.commit_every, 60 * int(shard[2]))
    args.shard, args.measured = (int(shard[1]), int(shard[2])), [of for of in ("value", "score") if getattr(args, of)]
    return args


def find_files(args: argparse.Namespace) -> tuple[list[str], str, bool]:
    """Return the files of the split, their commit or digest, and whether they are private."""
    from datasets import get_dataset_config_names, load_dataset_builder
    from huggingface_hub import HfApi, get_token

    path = Path(args.input).absolute()
    options: dict[str, Any] = {"path": str(path)}
    try:
        if not path.exists():
            info = retrying(HfApi().dataset_info, args.input)
            options = {"path": args.input, "revision": info.sha}
        elif "::" in str(path) or (path.is_dir() and glob.has_magic(str(path))):
            raise ValueError("`datasets` takes the name for a pattern or an address: rename it")
        elif path.is_file():
            options = {"path": str(path.parent), "data_files": glob.escape(str(path))}  # a name, no pattern
        configs = retrying(get_dataset_config_names, **options)
        args.config = args.config or (DEFAULT_CONFIG if DEFAULT_CONFIG in configs else None)
        builder = retrying(load_dataset_builder, name=args.config, **options)
        args.config, splits = builder.config.name, builder.config.data_files
        if args.split not in splits:
            raise ValueError(f"it has no split {args.split}, only {', '.join(splits)}")
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 -- each kind of input fails in its own way
        code = 4 if get_token() or path.exists() else 3  # without a token the Hub does not say whether it exists
        fix = "check the name, --config and --split; a private dataset needs `hf auth login`, a Job --secrets HF_TOKEN"
        stop(code, f"cannot read {args.input}: {error}", fix)
    files = [str(file) for file in splits[args.split]]
    if args.limit is not None:
        files = files[:: math.ceil(len(files) / 32)][: args.limit]
    if not path.exists():
        return files, info.sha, bool(info.private)
    digest = hashlib.sha256()
    for file in files:
        with Path(file).open("rb") as opened:
            digest.update(Path(file).name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return files, digest.hexdigest(), False


def check_files(args: argparse.Namespace, files: Sequence[str]) -> None:
    """Stop with 4 when a file cannot be read as asked; of the Hub, up to the first that has rows."""
    args.share = args.limit and max(1, args.limit // len(files))
    count = 0
    for file in files:
        rows = run_query([file], lambda found: read(args, found[0]).head(1000).collect())
        for of in args.measured:
            if rows[f"{of}_given"].count() and rows[f"{of}_given"].max() == -math.inf:
                what = f"the column {getattr(args, of)} of {Path(file).name} begins with text"
                stop(4, f"{what}, expected {EXPECTED[of][0]}", "convert it, or name another column")
        count += rows.height
        if count and file.startswith("hf://"):
            return
    if not count:
        stop(4, f"{args.input} has no rows", "name another --config or --split")


def run_query(files: Sequence[str], query: Callable[[Sequence[str]], Any]) -> Any:
    """Return `query(files)`, repeated while the network fails; stop with 4 and its name when a file is at fault."""
    import polars as pl

    def attempt() -> Any:
        try:
            return query(files)
        except (pl.exceptions.PolarsError, OSError) as error:
            if NETWORK.search(str(error)):
                raise ConnectionError(error) from error
            if isinstance(error, OSError) and type(error) is not OSError:
                raise
            raise ValueError(str(error).split("\n\n")[0]) from None  # with an OSError as its cause it would be retried

    try:
        return retrying(attempt)
    except (TypeError, ValueError) as error:
        for file in files if len(files) > 1 else ():
            run_query([file], query)  # the one at fault stops
        stop(4, f"{Path(files[0]).name} is not readable: {error}", "correct it, or name another --config or --split")


def place_of(file: str) -> str:
    """Return the path or the signed address to read a file from.

    Asked through hf://, the Hub sees every range of every file and soon answers 429; of a signed address it sees one
    request a file, and the address ends after about an hour. Text and small files are downloaded.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    match = re.fullmatch(r"hf://datasets/([^/]+/[^/]+)@([^/]+)/(.*)", file, re.DOTALL)
    if match is None:
        return file
    where = {"repo_id": match[1], "revision": match[2], "filename": match[3], "repo_type": "dataset"}
    found = retrying(get_hf_file_metadata, url := hf_hub_url(**where))
    if file.endswith(".parquet") and found.location != url and (found.size or 0) > SMALL_BYTES:
        return str(found.location)
    return str(retrying(hf_hub_download, **where))


def scan(args: argparse.Namespace, file: str) -> pl.LazyFrame:
    """Return the file as a lazy frame; text files as strings, as types told from the first rows may be wrong."""
    import polars as pl

    place, kind = place_of(file), Path(re.sub(r"\.(gz|zst)$", "", file.lower())).suffix
    if kind == ".parquet":
        return pl.scan_parquet(place, glob=False)
    if kind not in {".csv", ".tsv", ".json", ".jsonl", ".ndjson"}:
        raise ValueError(f"{kind} files are neither parquet nor csv, tsv or jsonl (also .gz, .zst): convert it")
    head = pl.scan_lines(place, glob=False, n_rows=1000).collect()["line"].to_list() or [""]
    if kind in {".csv", ".tsv"}:
        separator = "\t" if kind == ".tsv" and "\t" in head[0] else max(",;\t|", key=head[0].count)
        return pl.scan_csv(place, glob=False, infer_schema=False, separator=separator)
    rows = [dict(json.loads(line)) for line in head if line.strip()]
    if any(isinstance(row.get(args.group_by), dict | list) for row in rows):
        raise ValueError(f"the column {args.group_by} is nested, expected {EXPECTED['group_by'][0]}")
    names = dict.fromkeys(name for row in rows for name in row)
    wanted = [name for name in (args.group_by, args.value, args.score) if name is not None]
    frame = pl.scan_ndjson(glob.escape(place), schema=dict.fromkeys([*names, *wanted], pl.String))
    late = [name for name in wanted if name not in names]  # a column may begin in any line
    found = frame.select(pl.selectors.by_name(late).is_not_null().any()).collect(engine="streaming") if late else frame
    return frame.drop([name for name in late if not found[name].any()])


def read(args: argparse.Namespace, file: str) -> pl.LazyFrame:
    """Return group, value and score of each row of a file.

    `value` and `score` are null where there is none that can be added up: NaN, infinite, a negative value, a value above
    2**40, a score beyond 2**20. `value_given` and `score_given` have what the file has.
    """
    import polars as pl

    by_name = pl.selectors.by_name  # pl.col() takes a name such as "*" or "^a.*$" for a pattern
    frame = scan(args, file)
    schema = frame.collect_schema()  # kept by the frame; else every scan of every query fetches the footer again
    wanted = {of: getattr(args, of) for of in EXPECTED if getattr(args, of) is not None}
    for of, name in wanted.items():
        kind = str(schema[name]) if name in schema else "missing"
        if not re.match(EXPECTED[of][1], kind):
            found = f"the column {name} of {Path(file).name} is {kind[:60]}, expected {EXPECTED[of][0]}"
            stop(4, found, f"convert it, or name another with --group-by, --value, --score: {', '.join(schema)[:300]}")
    if file.startswith("hf://"):
        # One scan of several columns fetches what lies between them too: 2.7 times the bytes instead of 1.1.
        frame = pl.concat([frame.select(by_name(name)) for name in set(wanted.values())], how="horizontal")
    value, score = pl.col("value_given"), pl.col("score_given")
    rows = frame.select(
        group=by_name(args.group_by).as_expr().cast(pl.String).cast(pl.Categorical),
        value_given=number_in(args.value, schema),
        score_given=number_in(args.score, schema),
    ).with_columns(
        value=pl.when(value.is_between(0, 2.0**40)).then(value),
        score=pl.when(score.abs() <= 2.0**20).then(score),
    )
    return rows if args.limit is None else rows.head(args.share)


def number_in(name: str | None, schema: pl.Schema) -> pl.Expr:
    """Return a column as numbers, of a list its mean; -inf for text that is neither a number nor empty."""
    import polars as pl

    if name is None:
        return pl.lit(None, pl.Float64)
    column = pl.selectors.by_name(name).as_expr()
    if schema[name].is_nested():
        return column.cast(pl.List(pl.Float64)).list.mean()
    if schema[name] != pl.String:
        return column.cast(pl.Float64)
    text = column.str.strip_chars()
    item = pl.element().str.strip_chars().cast(pl.Float64, strict=False)
    mean = text.str.strip_chars("[]").str.split(",").list.eval(item).list.mean()
    number = text.cast(pl.Float64, strict=False).fill_null(-math.inf)
    is_list = text.str.contains(r"^\[([-+.\deE, ]|null)*\]$")  # of numbers, as JSON writes it
    return pl.when(text != "").then(pl.when(is_list).then(mean).otherwise(number))


def queries(args: argparse.Namespace, files: Sequence[str]) -> list[pl.LazyFrame]:
    """Return the queries that run together over one scan: the sums of alike rows, and a histogram for each number.

    Sums are decimals: floats that are added in another order differ in their last digits, and a resumed run and shards
    must give the files of an uninterrupted run. A bin of a histogram is a number of nine binary digits.
    """
    from concurrent.futures import ThreadPoolExecutor

    import polars as pl

    def state(of: str) -> pl.Expr:
        """0: none, 1: one that cannot be added up, 2: a number."""
        return pl.col(f"{of}_given").is_not_null().cast(pl.Int8) + pl.col(of).is_not_null().cast(pl.Int8)

    def exact(number: pl.Expr) -> pl.Expr:
        return number.cast(pl.Decimal(38, 15)).sum()

    def histogram(of: str) -> pl.LazyFrame:
        bits = pl.col(of).cast(pl.Float32).reinterpret(dtype=pl.Int32)
        bins = rows.filter(pl.col(of).is_not_null()).group_by("group", bin=(bits + 2**14) & -(2**15))
        return bins.agg(rows=pl.len().cast(pl.Int64)).with_columns(of=pl.lit(of))

    with ThreadPoolExecutor(8) as pool:  # the Hub is asked for the places of several files at once
        rows = pl.concat(pool.map(lambda file: read(args, file), files))
    value, score, count = pl.col("value"), pl.col("score"), pl.len().cast(pl.Int64)
    is_high = (score >= (math.inf if args.high is None else args.high)).fill_null(value=False)
    alike = rows.group_by("group", has_value=state("value"), has_score=state("score") + is_high.cast(pl.Int8))
    sums = alike.agg(rows=count, value=exact(value), score=exact(score), weighted=exact(value * score))
    return [sums, *(histogram(of) for of in args.measured)]


def compute(args: argparse.Namespace, files: Sequence[str]) -> pl.DataFrame:
    """Return the sums and the histograms of some files, below each other: a part of the output."""
    import polars as pl

    frames = run_query(files, lambda found: pl.collect_all(queries(args, found), engine="streaming"))
    part = pl.concat([pl.DataFrame(schema={"of": pl.String, "bin": pl.Int32}), *frames], how="diagonal")
    part = part.with_columns(pl.col("group").cast(pl.String), pl.col("bin").reinterpret(dtype=pl.Float32))
    return part.sort("of", "group", "bin", "has_value", "has_score")


def plan_of(args: argparse.Namespace, files: Sequence[str]) -> str:
    """Return the optimised plan of a query, without the signed part of URLs."""
    import polars as pl

    plan = run_query(files, lambda found: pl.explain_all(queries(args, found)))
    return re.sub(r"(https?://[^\s?,\]]+)\?[^\s,\]]+", r"\1", plan)


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Return the frame as a parquet file; the same rows give the same bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def read_part(output: Output, name: str) -> pl.DataFrame:
    """Return a finished part."""
    import polars as pl

    return run_query([name], lambda found: pl.read_parquet(io.BytesIO(output.fs.cat_file(found[0]))))


def add_up(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the sum of all parts; stop with 4 when there are too many groups to go on."""
    import polars as pl

    keys, total = ["of", "group", "bin", "has_value", "has_score"], None
    for part in parts:
        both = part if total is None else pl.concat([total, part])
        total = both.lazy().group_by(keys).agg(pl.exclude(keys).sum()).select(part.columns).collect(engine="streaming")
        if total.height > MOST_BINS:
            found = f"{total['group'].n_unique():,} groups are too many to compare"
            stop(4, found, "name a --group-by column with fewer different values")
    return total


def tables_of(args: argparse.Namespace, totals: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the tables, sorted; unknown keys come last."""
    import polars as pl

    year = pl.col("group").str.extract(r"^(?:CC-MAIN-)?((?:19|20)\d\d)(?:\D|$)").cast(pl.Int64)  # of a crawl or date
    totals = totals.with_columns(year=year)
    years = ["year"] if totals["year"].count() else []
    by = {"global": [], **({"per_year": years} if years else {}), "per_group": [*years, "group"]}
    tables = {name: table_by(args, totals, keys) for name, keys in by.items()}
    key = f"by_{args.group_by}" if args.group_by.startswith(FIGURES) else args.group_by
    return tables | {"per_group": tables["per_group"].rename({"group": key})}


def table_by(args: argparse.Namespace, totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return a row of figures for each value of the columns `by`. A mean, share or quantile over nothing is null.

    `score_mean` counts every row that has a score alike, `score_mean_weighted` by its value; `high_share` likewise.
    """
    import polars as pl

    def ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
        return pl.when(whole > 0).then(part.cast(pl.Float64) / whole.cast(pl.Float64))

    rows, value, has_score = pl.col("rows"), pl.col("value"), pl.col("has_score")
    scored, weight, high = rows.filter(has_score >= 2).sum(), value.filter(has_score >= 2).sum(), has_score == 3
    found = {"rows": rows.sum()}
    for of in args.measured:
        has, total = pl.col(f"has_{of}"), pl.col(of).sum()
        found |= {f"with_{of}": rows.filter(has >= 2).sum(), f"{of}_missing": rows.filter(has == 0).sum()}
        found |= {
            f"{of}_unusable": rows.filter(has == 1).sum(),
            f"{of}_mean": ratio(total, rows.filter(has >= 2).sum()),
        }
    if args.value is not None:
        found["value_sum"] = value.sum().cast(pl.Float64)
    if args.score is not None and args.high is not None:
        found |= {"high_rows": rows.filter(high).sum(), "high_share": ratio(rows.filter(high).sum(), scored)}
    if len(args.measured) == 2:
        found["score_mean_weighted"] = ratio(pl.col("weighted").sum(), weight)
        found |= {} if args.high is None else {"high_share_weighted": ratio(value.filter(high).sum(), weight)}
    keys = [pl.lit(0).alias("dataset"), *by]
    counted = totals.lazy().filter(pl.col("of").is_null())
    table = counted.group_by(keys).agg(**found).collect(engine="streaming")  # which notices an overflow
    bins = totals.filter(pl.col("of").is_not_null()).group_by(*keys, "of", "bin").agg(rows.sum()).sort("bin")
    for of in args.measured:
        ranks = {
            f"{of}_p{p:02}": pl.col("bin").filter(rows.cum_sum() * 100 >= p * rows.sum()).first() for p in PERCENTS
        }
        ranked = bins.filter(pl.col("of") == of).group_by("dataset", *by).agg(**ranks)
        table = table.join(ranked, on=["dataset", *by], how="left", nulls_equal=True)
    return table.sort("dataset", *by, nulls_last=True).drop("dataset")


def text_of(table: pl.DataFrame, rows: int) -> str:
    """Return the keys and main figures of the first rows of a table as Markdown."""
    import polars as pl

    names = [name for name in table.columns if name in {"year", *SHOWN} or not name.startswith(FIGURES)]
    shown = table.head(rows)[names]
    if (key := names[names[0] == "year"]) not in SHOWN:
        shown = shown.with_columns(pl.Series(key, [group and plain(group) for group in shown[key]], pl.String))
    shape = {"tbl_formatting": "MARKDOWN", "tbl_hide_dataframe_shape": True, "tbl_hide_column_data_types": True}
    size = {"tbl_rows": rows, "tbl_cols": -1, "tbl_width_chars": 10_000, "fmt_str_lengths": 200, "float_precision": 4}
    with pl.Config(**shape, **size):
        return str(shown.rename(plain))


def plain(text: str) -> str:
    """Return the beginning of `text` on one line, without a meaning in Markdown, HTML or a terminal."""
    line = "".join(char if char.isprintable() else "?" for char in " ".join(text[:80].split()))
    return re.sub(r"([\\`*\[\]<>|#$~&])", r"\\\1", line)


def card(args: argparse.Namespace, tables: dict[str, pl.DataFrame], run: dict[str, Any]) -> str:
    """Return the dataset card: figures, their limits, provenance."""
    first, whole = "per_year" if "per_year" in tables else "per_group", tables["global"].row(0, named=True)
    files = [{"config_name": name, "data_files": f"data/{name}.parquet", "default": name == first} for name in tables]
    front = json.dumps({"tags": ["statistics", "uv-script", "jobshelf"], "configs": files})
    sample = "all" if args.limit is None else "the first rows of evenly spaced files, no random sample:"
    notes = [
        f"`{of}` is the column {plain(getattr(args, of))}. {whole[f'{of}_missing']:,} rows have none, and "
        f"{whole[f'{of}_unusable']:,} have one that is no number, negative or too large: they are left out."
        for of in args.measured
    ]
    notes += ["`mean` and `share` count every row alike, `weighted` by its value. Quantiles are within 0.2 %."]
    if args.score == FINEPDFS["score"]:
        notes += ["FinePDFs-Edu was filtered by this very score: its mean says nothing about the web or PDF files."]
    lines = [
        f"# Statistics of {plain(args.input)}",
        f"Over {sample} {whole['rows']:,} rows of config {plain(args.config)}, split {plain(args.split)}.",
        text_of(tables[first], 60),
        "\n".join(f"- {note}" for note in notes),
        f"Made by [finepdfs-stats.py]({SCRIPT_URL}):\n\n```json\n{json.dumps(run, indent=1)}\n```",
    ]
    return f"---\n{front}\n---\n" + "\n\n".join(lines) + "\n"


def show(args: argparse.Namespace, commit: str, status: str, tables: dict[str, pl.DataFrame]) -> int:
    """Print what was done: JSON for programs, tables for people; return the exit code."""
    sys.stdout.reconfigure(errors="backslashreplace")  # whatever the terminal's encoding
    if args.json:
        facts = {key: getattr(args, key) for key in ("input", "config", "split", "limit", "output")}
        found = {name: table.to_dicts() for name, table in tables.items()} or None
        print(json.dumps({"version": 3, "status": status, "commit": commit, **facts, "tables": found}, indent=2))
        return 0
    for name, table in tables.items():
        print(f"{name.replace('_', ' ').upper()}\n{text_of(table, table.height)}\n")
    print(f"{args.input}, config {args.config}, split {args.split}: {status}, {args.output or 'printed only'}")
    return 0


def stop(code: int, found: str, fix: str) -> NoReturn:
    """Print what was found and how to fix it on one line of stderr, and exit with `code`."""
    line = " ".join(f"error: {found[:500]}. Fix: {fix}".split())
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    raise SystemExit(code)


def retrying(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return `call(*args, **kwargs)`, repeated for two minutes while the failure may pass; then ConnectionError."""
    import httpx2
    from tenacity import RetryError, Retrying, retry_if_exception, stop_before_delay, wait_exception, wait_exponential

    def passes(error: BaseException | None) -> bool:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return status in {408, 409, 412, 425, 429} or (status >= 500 and status != 501)
        if isinstance(error, ConnectionError | TimeoutError | httpx2.TransportError):
            return type(error).__name__ not in {"OfflineModeIsEnabled", "LocalProtocolError", "UnsupportedProtocol"}
        unclear = type(error) in {OSError, RuntimeError} and getattr(error, "errno", None) is None
        return unclear or (error is not None and passes(error.__cause__))

    def asked(error: BaseException) -> float:
        seconds = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
        return float(seconds) if seconds.isdigit() else 0

    waits, limit = wait_exponential(0.5, max=30) + wait_exception(asked), stop_before_delay(120)
    try:
        return Retrying(retry=retry_if_exception(passes), wait=waits, stop=limit)(call, *args, **kwargs)
    except RetryError as error:
        failure = error.last_attempt.exception()
        raise ConnectionError(f"no success within two minutes: {failure}") from failure


def require_write(target: str, kind: str = "dataset") -> None:
    """Stop with 3 unless the token may write to `target`; a folder, s3:// and gs:// need none."""
    # The Hub's client gets a timeout, as it has none: a silent Hub would hold a Job until the Job's own.
    if not os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "").isdigit():
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = "60"
    import httpx2
    from huggingface_hub import HfApi, constants, get_session, get_token, set_client_factory
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    limit = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT).as_dict()
    hooks = [*get_session().event_hooks["request"], lambda request: request.extensions.update(timeout=limit)]
    set_client_factory(lambda: httpx2.Client(event_hooks={"request": hooks}, follow_redirects=True))
    match = re.fullmatch(r"(hf://buckets/)?((\w[\w.-]*)/[\w.-]+)(?(1)(?:/.*)?)", target)
    if match is None:
        return
    if not get_token():
        stop(3, f"no Hub token, needed to write to {target}", "run `hf auth login`; for a Job add `--secrets HF_TOKEN`")
    bucket, repo, owner = match.groups()
    fix = "make a write token at https://huggingface.co/settings/tokens, then run `hf auth login`"
    try:
        account = retrying(HfApi().whoami)
        access = account.get("auth", {}).get("accessToken") or {"role": "write"}
        owners = [account, *account.get("orgs", [])]
        writable = {one["name"] for one in owners if access["role"] == "write" and one.get("roleInOrg") != "read"}
        for scope in access.get("fineGrained", {}).get("scoped", []):
            writable |= {scope["entity"].get("name")} if "repo.write" in scope["permissions"] else set()
        if not writable & {owner, repo}:
            stop(3, f"the token may not write to {target}", fix)
        if not bucket:
            with suppress(RepositoryNotFoundError):  # it will be created
                retrying(HfApi().auth_check, repo, repo_type=kind, write=True)
    except (HfHubHTTPError, UnicodeError):  # refused, or characters that no token has
        stop(3, f"the Hub does not accept the token to write to {target}", fix)


def run_identity(args: argparse.Namespace, source: str) -> dict[str, str]:
    """Return what decides the result: this script's code, without comments, the arguments, the commit of the input."""
    words = sys.orig_argv  # with `uv run -` the script follows -c
    text = Path(__file__).read_text(encoding="utf-8") if "__file__" in globals() else words[words.index("-c") + 1]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    others = {"input", "output", "commit_every", "shard", "private", "public", "keep", "overwrite", "dry_run"}
    arguments = {key: value for key, value in vars(args).items() if key not in others}
    code = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
    return {"script": code, "arguments": json.dumps(arguments, sort_keys=True), "input": source}


class Output:
    """The place of a run's files: user/name on the Hub, hf://buckets/..., s3://..., gs://... or a folder.

    Its run.json says whose files they are; `finished` names those of this run. A new file waits in `folder`: in a
    repository for up to `--commit-every` seconds, as the Hub takes 128 commits an hour.
    """

    def __init__(self, args: argparse.Namespace, run: dict[str, Any], *, kind: str = "dataset") -> None:
        from fsspec import url_to_fs
        from fsspec.implementations.dirfs import DirFileSystem

        self.args, self.target, self.kind = args, args.output, kind
        self.repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", self.target) is not None
        prefix = {"dataset": "hf://datasets/", "model": "hf://"}[kind] if self.repo else ""
        store, self.root = url_to_fs(prefix + self.target)
        self.fs, self.local = DirFileSystem(self.root, store), "file" in store.protocol
        names, held = retrying(self.look)
        differs = [key for key, value in run.items() if held.get(key) != value]
        differs += ["kept"] if args.overwrite and "kept" in held else []
        self.run, self.finished, self.stale = run, set[str](), set[str]()
        if not differs:
            self.run, self.finished = held, names
        elif args.overwrite or not names:  # a repository has a history; elsewhere only files of a run are deleted
            made = re.compile("" if self.repo else r"(data|checkpoint-\d+)/|(README\.md|run\.json)$")
            self.stale = {name for name in names if made.match(name) and (self.repo or held)}
        elif args.keep and held:
            self.run, self.finished = {**run, "kept": held}, names - {"README.md", "run.json"}
        else:
            found = f"another run ({', '.join(differs)} differ)" if held else "files of another origin"
            also = "--keep to keep its parts, or " if held else ""
            stop(4, f"{self.target} holds {found}", f"name another output, or add {also}--overwrite")

    def look(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names of the files that are there now, those of other processes too, and what run.json says."""
        names, held = set(), {}
        self.fs.fs.invalidate_cache()  # all of it: for one path, the Hub would be asked
        with suppress(FileNotFoundError, TypeError, ValueError):
            names = {name for name in self.fs.find("") if "/." not in f"/{name}"}
            held = dict(json.loads(self.fs.cat_file("run.json"))) if "run.json" in names else {}
        return names, held

    def claim(self, *, private: bool) -> None:
        """Make the place if there is none, private like its input, and write whose it is."""
        from huggingface_hub import HfApi

        api, private = HfApi(), self.args.private or (private and not self.args.public)
        bucket = re.match(r"hf://buckets/([^/]+/[^/]+)", self.target)
        if self.repo:
            retrying(api.create_repo, self.target, repo_type=self.kind, private=private, exist_ok=True)
            if private:  # also one that was there
                retrying(api.update_repo_settings, self.target, repo_type=self.kind, private=True)
        elif bucket:
            retrying(api.create_bucket, bucket[1], private=private, exist_ok=True)
            if private:
                retrying(api.update_bucket_settings, bucket[1], private=True)
        self.waiting, self.sent = tempfile.TemporaryDirectory(), float("-inf")
        self.folder = Path(self.waiting.name)
        for name in () if self.repo else self.stale:
            retrying(self.fs.rm_file, name)
        if "run.json" not in self.finished:
            self.write("run.json", json.dumps(self.run).encode())

    def write(self, name: str, data: bytes) -> None:
        """Put a file there: at once, or in a repository with the next commit."""
        part, path = self.folder / ".part", self.folder / name
        part.write_bytes(data)  # under a hidden name, which is not sent: a full disk or SIGTERM may cut it short
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        self.finished.add(name)
        if not self.repo or time.monotonic() - self.sent >= self.args.commit_every:
            self.send()

    def send(self) -> None:
        """Send what waits; when it is refused for good, keep it here and stop with 6."""
        if not any(self.folder.glob("[!.]*")):
            return
        try:
            retrying(self.put)
        except Exception as error:
            if self.local:
                raise
            kept = shutil.move(self.folder, Path(f"unsaved-{os.getpid()}").absolute())
            here, there = shlex.quote(str(kept)), shlex.quote(self.target)
            sync = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r"}.get(self.target[:2], "hf buckets sync")
            push = f"hf upload {there} {here} . --repo-type {self.kind}" if self.repo else f"{sync} {here} {there}"
            stop(6, f"{self.target} refused the files now in {kept}: {error}", push)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.stale, self.sent = set(), time.monotonic()

    def put(self) -> None:
        """Put what waits in its place; into a repository in one commit. Repeated, it changes nothing."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        names, held = self.look()
        paths = sorted(filter(Path.is_file, self.folder.rglob("[!.]*")), key=lambda path: path.stat().st_mtime_ns)
        files = {path.relative_to(self.folder).as_posix(): path for path in paths}
        if held != self.run and files.keys() != {"run.json"}:
            self.waiting.cleanup()
            stop(4, f"another run has taken {self.target}", "name another output, or run this again with --overwrite")
        if self.repo:
            changes = [CommitOperationDelete(name) for name in self.stale & names - files.keys()]
            changes += [CommitOperationAdd(name, path) for name, path in files.items()]
            HfApi().create_commit(self.target, changes, repo_type=self.kind, commit_message=f"Add {len(files)} files")
            return
        for name, path in files.items():
            if self.local:
                self.place(path, Path(self.root, name))
            else:
                self.fs.put_file(str(path), name)

    def place(self, path: Path, there: Path) -> None:
        """Move a file into the folder, whole or not at all; another process may bring the same file."""
        there.parent.mkdir(parents=True, exist_ok=True)
        part = there.with_name(f".{there.name}.{self.folder.name}")
        try:
            shutil.move(path, part)  # a copy, if it comes from another disk
            part.replace(there)
        except FileNotFoundError:  # the other one was faster, and has cleaned up
            if not there.exists():
                raise
        finally:
            for left in there.parent.glob(f".{there.name}.*"):  # also what a killed run left
                left.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except OSError as error:
        stop(5, f"{error}", "check the network and the disk, then run the same command again")
