"""How fast finepdfs-stats adds up: beside DuckDB, pyarrow, plain Polars and mere decoding; its memory; what it fetches.

    uv run python bench/finepdfs_stats.py [--quick] [--data DIR] [--files 16] [--rounds 5] [--remote-files 3]

Writes parquet with FinePDFs-Edu's columns (300 MB a file; 16 files are 4.6 GB) into DIR, or into a temporary folder. All
compute the same: per dump the counts, sums, weighted sums and the two histograms that the quantiles come from. In turns,
in one process; prints seconds of CPU (all threads) and of the clock, best of the rounds. Exits 1 when a limit is broken.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "catalog" / "finepdfs-stats.py"
NEEDED = ["dump", "token_count", "fw_edu_scores"]
ROWS_A_FILE, ROWS_A_GROUP = 250_000, 10_000
SPLIT = 2.0**44 + 1  # Veltkamp's: x * SPLIT - (x * SPLIT - x) is x rounded to nine binary digits
# A process of its own, as a child counts what its parent held when it forked.
WATCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
LIMITS = {"beside the best peer": 0.75, "beside decoding": 1.25, "MiB": 400, "bytes fetched": 1.3, "--help, ms": 150}


def script() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("finepdfs_stats", SCRIPT)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{SCRIPT} is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# --- the data ---


def write_files(folder: Path, count: int) -> list[Path]:
    """Write what is not there yet of `count` files and return them; the same rows on every run."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = np.random.default_rng(0).integers(48, 122, 64_000_000, dtype=np.uint8)
    paths = [folder / f"{number:03d}_00000.parquet" for number in range(count)]
    for number, path in enumerate(paths):
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        partial = path.with_suffix(".part")
        groups = (row_group(rng, letters) for _ in range(ROWS_A_FILE // ROWS_A_GROUP))
        first = next(groups)
        with pq.ParquetWriter(partial, first.schema, compression="zstd", compression_level=1) as writer:
            writer.write_table(first)
            for table in groups:
                writer.write_table(table)
        partial.replace(path)
    return paths


def row_group(rng: np.random.Generator, letters: np.ndarray) -> pa.Table:
    """Return rows with the names, types and sizes of FinePDFs-Edu; the text is 1,400 letters of no meaning."""
    count = ROWS_A_GROUP
    dumps = np.array([f"CC-MAIN-{year}-{week:02d}" for year in range(2013, 2026) for week in range(2, 50, 6)])
    ends = np.concatenate([[0], np.cumsum(rng.integers(1, 6, count))]).astype(np.int32)
    scores = np.clip(rng.normal(2.6, 0.9, ends[-1]), 0, 5)
    names = np.char.add("urn:uuid:", rng.integers(0, 2**63, count).astype(str))
    starts = np.concatenate([[0], np.cumsum(rng.integers(1000, 1800, count))])
    begin = rng.integers(0, len(letters) - starts[-1])
    text = [pa.py_buffer(starts), pa.py_buffer(letters[begin : begin + starts[-1]].tobytes())]
    label, share = np.full(count, "eng_Latn"), rng.random(count)
    columns = {
        "text": pa.LargeStringArray.from_buffers(count, *text),
        "id": names,
        "dump": dumps[rng.integers(0, len(dumps), count)],
        "url": np.char.add("https://example.org/", names),
        "date": np.full(count, "2021-05-06T07:08:09Z"),
        "file_path": np.full(count, "s3://commoncrawl/crawl-data/segments/warc"),
        "offset": rng.integers(0, 2**40, count),
        "token_count": np.maximum(rng.lognormal(7.5, 1.3, count), 5).astype(np.int64),
        "language": label,
        "page_average_lid": label,
        "page_average_lid_score": share,
        "full_doc_lid": label,
        "full_doc_lid_score": share,
        "is_truncated": share < 0.05,
        "extractor": np.where(share < 0.7, "docling", "rolmOCR"),
        "page_ends": pa.ListArray.from_arrays(ends, rng.integers(0, 2**20, ends[-1])),
        "fw_edu_scores": pa.ListArray.from_arrays(pa.array(ends), pa.array(scores), mask=pa.array(share < 0.02)),
        "minhash_cluster_size": rng.integers(1, 9, count),
        "duplicate_count": rng.integers(0, 9, count),
    }
    return pa.table(columns)


# --- who computes it ---


def ours(module: ModuleType, paths: Sequence[Path]) -> dict[str, Callable[[], int]]:
    """Return what the script does: the plain group-by, all that it adds up, and that with the tables made of it."""
    args = module.parse_arguments([str(paths[0].parent)])
    files = [str(path) for path in paths]
    module.check_files(args, files)

    def added_up() -> Any:
        parts = (files[start : start + args.part_files] for start in range(0, len(files), args.part_files))
        return module.add_up(module.compute(args, part) for part in parts)

    def with_tables() -> int:
        return module.tables_of(args, added_up())["global"]["rows"].item()

    return {
        "plain group-by": lambda: module.queries(args, files)[0].collect(engine="streaming").height,
        "added up": lambda: len(added_up()),
        "with tables": with_tables,
    }


def by_polars(paths: Sequence[Path]) -> int:
    value, score = pl.col("token_count"), pl.col("score")
    rows = pl.scan_parquet(paths).select("dump", "token_count", score=pl.col("fw_edu_scores").list.mean())

    def histogram(number: pl.Expr) -> pl.LazyFrame:
        return rows.group_by("dump", bin=number * SPLIT - (number * SPLIT - number)).agg(pl.len())

    sums = rows.group_by("dump").agg(
        pl.len(),
        value.count().alias("values"),
        value.sum().alias("value"),
        score.count().alias("scores"),
        score.sum().alias("score"),
        (score >= 3).sum().alias("high"),
        value.filter(score.is_not_null()).sum().alias("weight"),
        (score * value).sum().alias("weighted"),
        value.filter(score >= 3).sum().alias("high_weight"),
    )
    found = pl.collect_all([sums, histogram(value.cast(pl.Float64)), histogram(score)], engine="streaming")
    return found[0]["len"].sum()


def by_duckdb(paths: Sequence[Path]) -> int:
    connection = duckdb.connect()
    connection.read_parquet([str(path) for path in paths]).create_view("files")
    connection.sql("create view r as select dump, token_count v, list_avg(fw_edu_scores) s from files")
    sums = connection.sql("""select dump, count(*), count(v), sum(v), count(s), sum(s), count(*) filter (s >= 3),
        sum(v) filter (s is not null), sum(s * v), sum(v) filter (s >= 3) from r group by dump""").fetchall()
    for column in ("v", "s"):
        rounded = f"{column} * {SPLIT}::double - ({column} * {SPLIT}::double - {column})"
        connection.sql(f"select dump, {rounded} as bin, count(*) from r group by all").to_arrow_table()
    return sum(row[1] for row in sums)


def by_pyarrow(paths: Sequence[Path]) -> int:
    parts: dict[str, list[pa.Table]] = {"sums": [], "value": [], "score": []}
    for path in paths:
        table = pq.read_table(path, columns=NEEDED).combine_chunks()
        lists, value = table["fw_edu_scores"].chunk(0), table["token_count"]
        parents = pc.list_parent_indices(lists).to_numpy()
        pages = np.maximum(np.bincount(parents, None, len(lists)), 1)
        score = pa.array(
            np.bincount(parents, lists.flatten().to_numpy(), len(lists)) / pages,
            mask=pc.is_null(lists).to_numpy(zero_copy_only=False),
        )
        high, dump = pc.fill_null(pc.greater_equal(score, 3), False), table["dump"]
        scored, plain = pc.if_else(pc.is_valid(score), value, None), pc.cast(value, pa.float64())
        columns = [dump, value, score, high, scored, pc.multiply(score, plain), pc.if_else(high, value, None)]
        sums = pa.table(columns, names=["dump", "v", "s", "high", "w", "wv", "wh"])
        wanted = [([], "count_all"), ("v", "count"), ("s", "count"), *((name, "sum") for name in sums.column_names[1:])]
        parts["sums"].append(sums.group_by("dump").aggregate(wanted))
        for name, number in (("value", plain), ("score", score)):
            scaled = pc.multiply(number, SPLIT)
            bins = pc.subtract(scaled, pc.subtract(scaled, number))
            grouped = pa.table([dump, bins], names=["dump", "bin"]).group_by(["dump", "bin"])
            parts[name].append(grouped.aggregate([([], "count_all")]))
    for name in ("value", "score"):
        pa.concat_tables(parts[name]).group_by(["dump", "bin"]).aggregate([("count_all", "sum")])
    return pc.sum(pa.concat_tables(parts["sums"])["count_all"]).as_py()


def decoded(paths: Sequence[Path]) -> int:
    return sum(pq.read_table(path, columns=NEEDED).num_rows for path in paths)


# --- what is measured ---


def in_turns(tests: dict[str, Callable[[], int]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the best (CPU seconds, clock seconds) of each over all rounds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in tests}
    for _ in range(rounds):
        for name, test in tests.items():
            cpu, clock = time.process_time(), time.perf_counter()
            test()
            found[name].append((time.process_time() - cpu, time.perf_counter() - clock))
    return {name: (min(cpu for cpu, _ in times), min(clock for _, clock in times)) for name, times in found.items()}


def peak_of_a_run(paths: Sequence[Path], folder: Path) -> float:
    """Return the peak memory in MiB of the whole command, card and plots included."""
    argv = [sys.executable, "-c", WATCHER, sys.executable, SCRIPT, paths[0].parent, folder / "stats", "--json"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def share_of_bytes(paths: Sequence[Path], folder: Path) -> float:
    """Return the bytes that the Hub sends for a run, as a multiple of the needed column chunks."""
    from huggingface_hub import HfApi

    from jobshelf.hub import Account, serve

    needed = 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        chunks = (group.column(number) for group in groups for number in range(group.num_columns))
        needed += sum(c.total_compressed_size for c in chunks if c.path_in_schema.partition(".")[0] in NEEDED)
    with serve(folder / "hub", accounts=(Account(name="bench", token="hf_bench"),)) as hub:
        client = HfApi(endpoint=hub.endpoint, token="hf_bench")
        client.create_repo("bench/pdfs", repo_type="dataset")
        client.upload_folder(folder_path=folder / "remote", repo_id="bench/pdfs", repo_type="dataset")
        hub.clear_journal()
        argv = [sys.executable, SCRIPT, "bench/pdfs", "--json"]
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home"), "PATH": "/usr/bin:/bin"}
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=environment)
        return sum(request.bytes_out for request in hub.journal()) / needed


def help_milliseconds(rounds: int) -> float:
    """Return the best of `uv run ... --help`; the first prepares the environment."""
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        subprocess.run(["uv", "run", "--no-project", SCRIPT, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - started) * 1000)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two files and one from the Hub, three rounds: a minute")
    parser.add_argument("--data", type=Path, help="folder for the files (default: a temporary one)")
    parser.add_argument("--files", type=int, default=16, help="files of 300 MB to read from this machine")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is run")
    parser.add_argument("--remote-files", type=int, default=3, help="files of 300 MB to read from an embedded Hub")
    options = parser.parse_args()
    if options.quick:
        options.files, options.rounds, options.remote_files = 2, 3, 1
    with tempfile.TemporaryDirectory(prefix="finepdfs-") as name:
        folder = Path(name)
        paths = write_files(options.data or folder / "files", options.files)
        size = sum(path.stat().st_size for path in paths) / 1e9
        peers = {"DuckDB": by_duckdb, "pyarrow": by_pyarrow, "plain Polars": by_polars}
        tests = {"decode (pyarrow)": lambda: decoded(paths)} | ours(script(), paths)
        tests |= {peer: lambda compute=compute: compute(paths) for peer, compute in peers.items()}
        times = in_turns(tests, options.rounds)
        print(
            f"{len(paths)} files, {size:.1f} GB, {len(paths) * ROWS_A_FILE:,} rows, best of {options.rounds} in turns"
        )
        for test, (cpu, clock) in times.items():
            print(f"{test:18} {cpu:6.2f} s of CPU {clock:6.2f} s")
        best = [min(times[peer][kind] for peer in peers) for kind in (0, 1)]
        (folder / "remote").mkdir()
        for path in paths[: options.remote_files]:
            shutil.copy(path, folder / "remote")
        found = {
            "beside the best peer": [times["added up"][kind] / best[kind] for kind in (0, 1)],
            "beside decoding": [times["plain group-by"][kind] / times["decode (pyarrow)"][kind] for kind in (0, 1)],
            "MiB": [peak_of_a_run(paths, folder)],
            "bytes fetched": [share_of_bytes(paths[: options.remote_files], folder)],
            "--help, ms": [help_milliseconds(21)],
        }
    for what, values in found.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"{what:22} {shown} (limit {LIMITS[what]:g})")
    return 0 if all(values[0] <= LIMITS[what] for what, values in found.items()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
