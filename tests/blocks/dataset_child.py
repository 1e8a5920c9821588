"""A script as the catalogue's are, in a process of its own: squares numbers, row by row, and persists them.

python dataset_child.py OUTPUT --rows 10 --size 3 [--shard I/N] [--commit-every S] [--die-after K] [--hang-after K]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from jobshelf.blocks import load

exits, file, parts, shards = load("exits"), load("persist_file"), load("parts"), load("shard")
dataset = load("persist_dataset")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--size", type=int, default=3)
    parser.add_argument("--source", default="1" * 40)
    parser.add_argument("--power", type=int, default=2)
    parser.add_argument("--shard")
    parser.add_argument("--commit-every", default="0")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--die-after", type=int, default=-1)
    parser.add_argument("--hang-after", type=int, default=-1)
    parser.add_argument("--width", type=int, default=0)
    parser.add_argument("--derive", action="store_true")
    return parser


def square(number: int, power: int, width: int) -> dict[str, Any]:
    text = f"{number:07d}" * width
    if number % 7 == 6:
        return dataset.failed_row({"number": number, "text": text}, "seven", outputs=["square"])
    return {"number": number, "text": text, "square": number**power, "error": None, "finish_reason": "stop"}


def make_card(existing: str | None, totals: Any) -> str:
    return f"{totals.rows} rows in {totals.parts} parts, {totals.failed} failed\n"


def odd(tables: Iterator[Any]) -> dict[str, bytes]:
    """Make a file of the odd squares, and say which rows were seen."""
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    seen = [number for table in tables for number in table.column("square").to_pylist()]
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"odd": [number for number in seen if number and number % 2]}), sink)
    print("derived from", len(seen), flush=True)
    return {"data/odd-000000.parquet": sink.getvalue().to_pybytes()}


def work(args: argparse.Namespace) -> int:
    pa = import_module("pyarrow")
    columns = [("number", pa.int64()), ("text", pa.string()), ("square", pa.int64())]
    schema = pa.schema([*columns, ("error", pa.string()), ("finish_reason", pa.string())])
    target, shard = file.parse_target(args.output), shards.parse_shard(args.shard)
    token = file.target_token(target)
    held = file.look_at(target, token=token, private=True, public=False)
    file.create_target(target, held, token)
    manifest = parts.RunManifest(
        script="square.py",
        request={"power": args.power, "rows": args.rows, "result_version": 1},
        source=args.source,
        part_rows=args.size,
    )
    with dataset.open_dataset(
        target, held, manifest, schema=schema, token=token, shard=shard, overwrite=args.overwrite,
        commit_every=dataset.parse_commit_every(args.commit_every),
    ) as run:  # fmt: skip
        print("source", run.manifest.source, "finished", sorted(run.finished), flush=True)
        total = done = 0
        for part, numbers in parts.cut_stream(range(args.rows), run.manifest.part_rows, wanted=run.wanted):
            total += 1
            if numbers is None:
                continue
            run.add(part, [square(number, args.power, args.width) for number in numbers])
            done += 1
            print("added", part.index, flush=True)
            if done == args.die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            if done == args.hang_after:
                print("hanging", flush=True)
                time.sleep(60)
        result = run.finish(total, make_card, derive=odd if args.derive else None)
    print("result", result.where, result.totals and result.totals.rows, *result.derived.values(), flush=True)
    return 0


if __name__ == "__main__":
    arguments = build_parser().parse_args()
    sys.exit(exits.run_to_exit(lambda: work(arguments)))
