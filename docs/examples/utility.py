# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "tenacity>=9.1,<10",
#     "zstandard>=0.25,<1",  # used by: fsspec
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "cpu-basic"
# timeout = "15m"
#
# [tool.jobshelf]
# version = "0.1.0"
# title = "Example utility script"
# task = "data-validation"
# tags = ["dataset"]
# inputs = ["dataset"]
# outputs = []
# persists = "none"
# token = "none"
# license = "Apache-2.0"
# status = "preview"
# rehearse = ["{input}"]
# ///
"""Example utility script.

Prints what it finds in the first rows of a dataset, as JSON: a dataset of the Hub, or local files (parquet, jsonl, json,
csv, tsv, arrow, also .gz and .zst). Writes nothing.

    uv run utility.py rows.jsonl
    hf jobs uv run utility.py user/rows

Exit codes: 0 done; 2 usage; 3 token; 4 input data; 5 network or machine.
"""

import argparse
import csv
import glob
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


def look_into(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what there is to say about the rows; values that JSON can hold."""
    # TODO(jobshelf): find out what you want to know
    return {"columns": sorted({name for row in rows for name in row})}


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("input", metavar="INPUT", help="Hub dataset (user/name), or a local file or folder")
    add("--config", metavar="NAME", help="configuration of the dataset")
    add("--split", default="train", help="split to read (default: %(default)s)")
    add("--max-samples", type=int, default=100, metavar="N", help="rows to read (default: %(default)s)")
    args = parser.parse_args()
    if args.max_samples < 1:
        parser.error("--max-samples is at least 1")
    rows, commit, _ = read_rows(args.input, args.config, args.split)
    head = list(rows.select(range(len(rows))[: args.max_samples]))
    print(json.dumps({"input": args.input, "commit": commit, "rows_read": len(head), **look_into(head)}, indent=1))
    return 0


def read_rows(source: str, config: str | None, split: str) -> tuple[Any, str, bool]:
    """Return the rows of a Hub dataset or of local files, their commit or digest, and whether they are private."""
    import fsspec
    from datasets import Features, Value, load_dataset, load_dataset_builder
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    path = Path(source).expanduser().absolute()
    try:
        if not path.exists():
            info = retrying(HfApi().dataset_info, source)
            rows = retrying(load_dataset, source, config, split=split, revision=info.sha)
            return rows, info.sha, bool(info.private)
        folder = str(path if path.is_dir() else path.parent)
        options: dict[str, Any] = {} if path.is_dir() else {"data_files": glob.escape(str(path))}  # a name, no pattern
        builder = load_dataset_builder(folder, config, **options)
        files = sorted(Path(name) for names in builder.config.data_files.values() for name in names)
        names = glob.glob("**", root_dir=path, recursive=True)  # noqa: PTH207 -- it leaves out hidden files
        found = {kind for name in names for kind in Path(name).suffixes}
        if len(found & {".csv", ".tsv", ".jsonl", ".parquet", ".arrow"}) > 1:
            raise ValueError("the folder holds files of several kinds")
        digest, size = hashlib.sha256(), 0
        for file in files:
            with fsspec.open(str(file), compression="infer") as opened:
                digest.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
                size = max(size, opened.tell())
        if builder.name == "csv":  # all text, so that 007, NA and 2**70 stay what they are
            with fsspec.open(str(files[0]), "rt", compression="infer", encoding="utf-8-sig") as opened:
                header = opened.readline()
            separator = max(",;\t|", key="".join(header.split('"')[::2]).count)  # outside of quotes
            names = next(csv.reader([header], delimiter=separator))
            if len(set(names)) < len(names):
                raise ValueError("two columns have the same name")
            text = Features(dict.fromkeys(names, Value("string")))
            options |= {"sep": separator, "features": text, "keep_default_na": False}
        elif builder.name == "json":  # a type may show late: look at a whole file at once
            options["chunksize"] = size + 1
        elif builder.name == "parquet":  # else a file without rows fails
            options["batch_size"] = 1000
        return load_dataset(folder, config, split=split, **options), digest.hexdigest(), False
    except HfHubHTTPError as error:
        code = 4 if get_token() else 3  # without a token the Hub does not say whether a dataset exists
        fix = "check the name; a private dataset needs `hf auth login`, or --secrets HF_TOKEN for a Job"
        stop(code, f"the Hub answered {error.response.status_code} for {source}", fix)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 -- each kind of file fails in its own way
        stop(4, f"cannot read {source}: {str(error.__cause__ or error) or 'no rows'}", "check the file and the split")


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


def stop(code: int, found: str, fix: str) -> NoReturn:
    """Print what was found and how to fix it on one line of stderr, and exit with `code`."""
    line = " ".join(f"error: {found[:500]}. Fix: {fix}".split())
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except OSError as error:
        stop(5, f"{error}", "check the network and the disk, then run the same command again")
