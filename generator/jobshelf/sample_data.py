# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Write small data sets with the columns of real ones, so that nothing has to be downloaded.

`DIR/questions/` has the columns of openai/gsm8k (jsonl), `DIR/finepdfs/` those of HuggingFaceFW/finepdfs-edu that the
statistics read and a few more (parquet, in that data set's folders). The same rows on every run.

    uv run sample_data.py ./data
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DUMPS = tuple(f"CC-MAIN-{year}-{week:02d}" for year in range(2013, 2026) for week in (5, 22, 40))
THINGS = ("apples", "books", "coins", "tickets", "marbles", "pencils")
NAMES = ("Ada", "Ben", "Chloe", "Dev", "Emil", "Fatima")


def questions(count: int) -> Iterator[dict[str, str]]:
    """Yield arithmetic questions in gsm8k's form: `question`, and `answer` that ends in `#### <number>`."""
    rng = random.Random(0)
    for _ in range(count):
        name, thing = rng.choice(NAMES), rng.choice(THINGS)
        have, more, price = rng.randint(3, 90), rng.randint(2, 60), rng.randint(1, 9)
        total = have + more
        yield {
            "question": f"{name} has {have} {thing} and buys {more} more. Each is worth ${price}. What are they worth?",
            "answer": f"{name} now has {have} + {more} = {total} {thing}.\n{total} x {price} = {total * price}.\n"
            f"#### {total * price}",
        }


def documents(count: int) -> Iterator[dict[str, Any]]:
    """Yield documents with finepdfs-edu's names and types; a few lack their scores, as some there do."""
    rng = random.Random(0)
    for number in range(count):
        dump = rng.choice(DUMPS)
        pages = rng.randint(1, 6)
        quality = 1.6 + (int(dump[8:12]) - 2013) * 0.08
        scores = [round(min(max(rng.gauss(quality, 0.9), 0.0), 5.0), 4) for _ in range(pages)]
        yield {
            "id": f"<urn:uuid:{rng.getrandbits(128):032x}>",
            "dump": dump,
            "url": f"https://example.org/{number}.pdf",
            "text": f"Document {number}, {pages} pages long.",
            "language": "eng_Latn",
            "token_count": int(rng.lognormvariate(7.5, 1.1)),
            "fw_edu_scores": scores if rng.random() > 0.02 else None,
            "is_truncated": rng.random() < 0.05,
        }


def write(folder: Path, *, rows: int = 4000, files: int = 4) -> None:
    """Write both data sets below `folder`."""
    import polars as pl

    asked = folder / "questions"
    asked.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in questions(200))
    (asked / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    shards = folder / "finepdfs" / "data" / "eng_Latn" / "train"
    shards.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(list(documents(rows)), infer_schema_length=None)
    size = -(-rows // files)
    for number in range(files):
        table.slice(number * size, size).write_parquet(shards / f"{number:03d}_00000.parquet")


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process)."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to write; made when it is not there")
    write(parser.parse_args(argv).folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
