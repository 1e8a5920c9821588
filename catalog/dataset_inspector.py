# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "huggingface-hub>=2.4,<3",
#     "polars>=2.1,<3",
#     "tokenizers>=0.23,<0.24",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "cpu-basic"
# timeout = "10m"
#
# [tool.jobshelf]
# version = "0.2.0"
# title = "Dataset inspector"
# task = "data-validation"
# tags = ["dataset", "trl", "sft", "dpo", "grpo", "kto", "reward", "rloo", "prm"]
# inputs = ["dataset"]
# outputs = []
# persists = "none"
# token = "none"
# shardable = false
# license = "Apache-2.0"
# aliases = ["dataset-inspector"]
# status = "stable"
# rehearse = ["{input}", "--json"]
# ///
"""Say which TRL methods a dataset can feed (SFT, DPO, GRPO, KTO, Reward, RLOO, PRM), and map it.

Reads the first rows of one split of a Hub dataset, an hf:// path, or a local parquet, jsonl, json, csv or arrow file or
folder; never downloads a dataset. Writes nothing. Takes seconds and costs nothing: run it before you rent a GPU.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py openai/gsm8k
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py ./chats.json --require sft
    hf jobs uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py openai/gsm8k --require sft

Public Hub datasets are read through the dataset viewer; when it has no answer, and for the rest, the files themselves
are, a few kilobytes each. A token is used when there is one (HF_TOKEN or `hf auth login`); private and gated datasets
need it.
Exit codes: 0 done; 2 usage; 3 token; 4 input data, or a method of --require is not READY; 5 network or machine.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import fnmatch
import hashlib
import io
import itertools
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import httpx2
    import polars as pl

REPORT_VERSION = 1
METHOD_NAMES = ("sft", "dpo", "grpo", "kto", "reward", "rloo", "prm", "prompt-only")
MARKS = {"READY": "✓ READY", "NEEDS MAPPING": "✗ NEEDS MAPPING", "INCOMPATIBLE": "✗ INCOMPATIBLE"}
SHOWN_COLUMNS = 30
SHOWN_ROWS = 20
VIEWER_ROWS = 100  # the most that the viewer gives in one answer
VIEWER_TIMEOUT_S = 10

CountTokens = Callable[[list[str]], list[int]]


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="dataset_inspector.py", description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add(
        "input",
        nargs="*",
        metavar="INPUT",
        help="Hub dataset (user/name), hf:// path, local file or folder; or several",
    )
    add("--dataset", action="append", default=[], metavar="D", help="the same as INPUT")
    add("--config", metavar="NAME", help="config (subset); default: the dataset's default, else its first")
    add("--split", metavar="NAME", help="split; default: train, else the first that begins so, else the first")
    add("--revision", metavar="REV", help="branch, tag or commit of a Hub dataset")
    number = {"type": _positive, "metavar": "N"}
    add("--samples", "--max-samples", default=100, help="rows to judge (default: %(default)s)", **number)
    add("--preview", default=60, help="characters shown of a value (default: %(default)s)", **number)
    add(
        "--tokenizer", metavar="MODEL", help="count tokens too, with this tokenizer (Hub model, folder, tokenizer.json)"
    )
    add("--require", action="append", default=[], choices=METHOD_NAMES, help="exit with 4 unless this method is READY")
    add("--json", "--json-output", action="store_true", help="print one JSON object and nothing else")
    add("--json-schema", action="store_true", help="print the JSON Schema of that object, read nothing")
    add("--dry-run", action="store_true", help="resolve the input, say what would be read, read no rows")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    parser = build_parser()
    args, more = parser.parse_known_args(argv)  # an INPUT may stand behind an option: parse_args() would refuse it
    unknown = [word for word in more if word.startswith("-")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.inputs = [*args.input, *more, *args.dataset]
    if not args.inputs and not args.json_schema:
        parser.error("name an input: INPUT, or --dataset D")
    return run_to_exit(lambda: show_schema() if args.json_schema else inspect_all(args))


def leave(code: int) -> NoReturn:
    """End the process at once: taking the interpreter apart would cost a tenth of the time, and frees nothing that its end does not."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def inspect_all(args: argparse.Namespace) -> int:
    """Inspect each input and report; stop with the code of the first that failed."""
    count_tokens = load_tokenizer(args.tokenizer) if args.tokenizer is not None and not args.dry_run else None
    reports, stops = [], []
    for given in args.inputs:
        try:
            reports.append(inspect(given, args, count_tokens))
            stops += unmet(reports[-1], args.require)
        except Stop as stop:
            if len(args.inputs) == 1:
                raise
            reports.append({"dataset": given, "error": {"code": stop.code, "message": stop.message, "fix": stop.fix}})
            stops.append(stop)
    show(reports, args)
    for stop in stops[1:]:
        note(str(stop))
    if stops:
        raise stops[0]
    return EXIT_DONE


def inspect(given: str, args: argparse.Namespace, count_tokens: CountTokens | None) -> dict[str, Any]:
    """Resolve one input, read its first rows, judge them, and return what was found as plain values."""
    source = viewer_source(given, args)
    head = viewer_head(source, args.samples) if source and not args.dry_run else None
    if source is None or (head is None and not args.dry_run):
        token = None if is_local(given) else find_token()
        source = resolve_source(given, config=args.config, split=args.split, revision=args.revision, token=token)
        head = None if args.dry_run else read_head(source, args.samples, token)
    if head is None:
        return describe_source(source) | {"dry_run": True, "rows_to_read": args.samples}
    if not head.rows:
        raise Stop(EXIT_INPUT, f"the split {source.split!r} of {given} has no rows", fix="name another --split")
    verdicts = inspect_rows(head.rows, head.features)
    return describe_source(source) | describe_rows(head, verdicts, args.preview, count_tokens)


def unmet(report: Mapping[str, Any], required: Sequence[str]) -> list[Stop]:
    """Return a stop for each of the `required` methods that is not READY."""
    stops = []
    for verdict in report.get("methods", ()):
        if verdict["method"].lower() in required and verdict["status"] != READY:
            fix = "apply the mapping code above" if verdict["mapping"] else "use another dataset or method"
            found = f"{verdict['method']} is required and is {verdict['status']}: {verdict['reason']}"
            stops.append(Stop(EXIT_INPUT, found, fix=fix))
    return stops


# --- the dataset viewer: two requests, no file is opened ---


def viewer_source(given: str, args: argparse.Namespace) -> Source | None:
    """Describe a public Hub dataset as the viewer knows it; None when it is none, or the viewer has no answer."""
    if is_local(given) or given.startswith("hf://") or args.revision or args.samples > VIEWER_ROWS:
        return None
    answer = ask_viewer("splits", dataset=given)
    layout = layout_of(answer) if answer is not None else {}
    if answer is None or not layout:
        return None
    config = _pick("config", args.config, layout, default_config(given, args.config, list(layout)), given)
    splits = layout[config]
    split = _pick("split", args.split, splits, default_split(splits), given)
    described = _described(given, given, answer["commit"] or "", None, ())
    places = {"config": config, "split": split, "configs": tuple(layout), "splits": tuple(splits)}
    return replace(described, commit=answer["commit"], format="viewer", **places)


def layout_of(answer: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return config -> its splits; nothing when the answer has another form than the viewer's."""
    layout: dict[str, list[str]] = {}
    try:
        for item in answer["splits"]:
            layout.setdefault(str(item["config"]), []).append(str(item["split"]))
    except (KeyError, TypeError):
        return {}
    return layout


def default_config(given: str, asked: str | None, configs: Sequence[str]) -> str:
    """Return the config that load_dataset() takes without a name, the first when it would ask for one."""
    if asked or len(configs) == 1 or "default" in configs:
        return "default" if "default" in configs else configs[0]
    card = (ask(f"{hub_endpoint()}/api/datasets/{given}") or {}).get("cardData")
    declared = card.get("configs") if isinstance(card, dict) else None
    entries = declared if isinstance(declared, list) else []
    named = [entry.get("config_name") for entry in entries if isinstance(entry, dict) and entry.get("default")]
    return next((name for name in named if name in configs), configs[0])


def viewer_head(source: Source, count: int) -> Head | None:
    """Return the first rows from the viewer; None when it has none, or shortened them."""
    where = {"dataset": source.given, "config": source.config, "split": source.split}
    answer = ask_viewer("rows", **where, offset=0, length=count)
    if answer is None:
        return None
    try:
        rows = tuple(dict(row["row"]) for row in answer["rows"])
        shortened_cells = any(row["truncated_cells"] for row in answer["rows"])
        features = {str(feature["name"]): feature_name(feature["type"]) for feature in answer["features"]}
    except (KeyError, TypeError, ValueError):  # of another form than the viewer's
        return None
    total = None if answer.get("partial") else answer.get("num_rows_total")
    return None if shortened_cells else Head(rows=rows, features=features, total=total)


def feature_name(feature: object) -> str:
    """Return a type of the viewer (a feature of the library `datasets`) in a few words."""
    if isinstance(feature, list):
        return f"list[{feature_name(feature[0])}]" if feature else "list"
    if not isinstance(feature, dict):
        return str(feature)
    if "_type" not in feature or isinstance(feature["_type"], dict):
        return f"struct[{', '.join(f'{name}: {feature_name(inner)}' for name, inner in feature.items())}]"
    if "feature" in feature:
        return f"list[{feature_name(feature['feature'])}]"
    return str(feature.get("dtype") or feature["_type"]).lower()


def ask_viewer(what: str, **query: str | int) -> dict[str, Any] | None:
    """Return an answer of the viewer, None when it has none: then the files are read, so nothing is tried twice."""
    from urllib.parse import urlencode

    base = hub_endpoint()
    base = "https://datasets-server.huggingface.co" if base == "https://huggingface.co" else base
    return ask(f"{base}/{what}?{urlencode(query)}")


def ask(url: str) -> dict[str, Any] | None:
    """Return the JSON object at `url`, with the commit it is about as `commit`; None when there is none to be had."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=VIEWER_TIMEOUT_S) as response:  # noqa: S310 -- the scheme is that of HF_ENDPOINT
            answer = json.load(response)
            return {"commit": response.headers.get("X-Revision"), **answer} if isinstance(answer, dict) else None
    except HTTPError as error:
        if error.code not in {401, 403, 404}:  # those say that it is private, gated, or nothing that the viewer knows
            note(f"the dataset viewer answered {error.code}: reading the files instead")
    except (OSError, ValueError, HTTPException) as error:
        note(f"the dataset viewer has no answer ({one_line(error)}): reading the files instead")
    return None


def hub_endpoint() -> str:
    """Return where the Hub is."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def is_local(given: str) -> bool:
    """Whether `given` names, or can only name, a file or folder here."""
    return not given.startswith("hf://") and (Path(given).expanduser().exists() or not _REPO_ID.fullmatch(given))


# --- the report ---


def describe_source(source: Source) -> dict[str, Any]:
    """Return what is known before any row is read."""
    return {
        "version": REPORT_VERSION,
        "dataset": source.given,
        "commit": source.commit,
        "private": source.private,
        "config": source.config,
        "configs": list(source.configs),
        "split": source.split,
        "splits": list(source.splits),
        "format": source.format,
        "files": len(source.files),
    }


def describe_rows(
    head: Head, verdicts: Sequence[Verdict], preview: int, count_tokens: CountTokens | None
) -> dict[str, Any]:
    """Return the columns and the verdicts as plain values. `rows` is null when counting would mean reading it all."""
    columns = profile_columns(head.rows, head.features).values()
    return {
        "rows": head.total,
        "rows_read": len(head.rows),
        "duplicates": repeated(head.rows),
        "columns": [describe_column(column, preview, count_tokens) for column in columns],
        "methods": [describe_verdict(verdict) for verdict in verdicts],
    }


def describe_verdict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values, with the first of its rows as evidence."""
    return {
        "method": verdict.method,
        "status": verdict.status,
        "reason": verdict.reason,
        "notes": list(verdict.notes),
        "rows": list(verdict.rows[:SHOWN_ROWS]),
        "mapping": verdict.mapping,
    }


def describe_column(column: Column, preview: int, count_tokens: CountTokens | None) -> dict[str, Any]:
    """Return a column's name, what it holds, its gaps, how long its texts are, and the beginning of its first value."""
    texts = texts_of(column)
    return {
        "name": column.name,
        "kind": column.kind,
        "type": column.type,
        "nulls": column.nulls,
        "empty": column.empty,
        "characters": quantiles([len(text) for text in texts]),
        "tokens": quantiles(count_tokens(texts)) if count_tokens else None,
        "example": shortened(next((value for value in column.values if value is not None), None), preview),
    }


def texts_of(column: Column) -> list[str]:
    """Return the text of each row that has one; a conversation is its turns, a line each."""
    if column.kind == "text":
        return [value for value in column.values if value is not None]
    return ["\n".join(str(_content(turn) or "") for turn in turns) for turns in _chats_of(column)]


def quantiles(lengths: Sequence[int]) -> dict[str, int] | None:
    """Return the median, the 95th percentile (nearest rank) and the greatest of `lengths`; None when there are none."""
    if not lengths:
        return None
    ordered = sorted(lengths)
    ranks = {f"p{share}": ordered[math.ceil(share / 100 * len(ordered)) - 1] for share in (50, 95)}
    return {**ranks, "max": ordered[-1]}


def repeated(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many rows are equal to an earlier one."""
    return len(rows) - len({frozen(row) for row in rows})


def frozen(value: Any) -> Any:  # noqa: ANN401 -- any value of any column
    """Return `value` with lists and structs as tuples, so that it can be told apart in a set."""
    if isinstance(value, Mapping):
        return tuple((key, frozen(inner)) for key, inner in value.items())
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def shortened(value: object, length: int) -> str:
    """Return at most `length` characters of how Python writes `value`."""
    text = repr(value[: length + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def load_tokenizer(given: str) -> CountTokens:
    """Return a function that counts the tokens of texts; stop with 4 when `given` has no tokenizer.json."""
    from tokenizers import Tokenizer

    path = Path(given).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(file if file.is_file() else fetch_tokenizer(given)))
    except Stop:
        raise
    except Exception as error:
        message = f"--tokenizer {given} cannot be used: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix="name a model on the Hub that has a tokenizer.json") from error
    tokenizer.no_truncation()
    return lambda texts: [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def fetch_tokenizer(repo_id: str) -> str:
    """Return the path of the tokenizer of a model on the Hub."""
    from huggingface_hub import hf_hub_download

    token = find_token()
    return retry(lambda: hf_hub_download(repo_id, "tokenizer.json", token=token), what=f"reading {repo_id}")


def show(reports: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> None:
    """Print the reports: JSON for programs, text for people."""
    if args.json:
        whole = reports[0] if len(args.inputs) == 1 else {"version": REPORT_VERSION, "datasets": reports}
        print(json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False))
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    for number, report in enumerate(reports):
        lines = error_lines(report) if "error" in report else source_lines(report) + row_lines(report)
        print("\n".join(["", *lines] if number else lines))


def error_lines(report: Mapping[str, Any]) -> list[str]:
    """Return why an input could not be inspected."""
    return [f"{one_line(report['dataset'])}: {one_line(report['error']['message'])}"]


def source_lines(report: Mapping[str, Any]) -> list[str]:
    """Return what was read, and what could have been instead."""
    pinned = f" at {report['commit'][:12]}" if report["commit"] else ""
    where = one_line(f"config {report['config']}, split {report['split']}")
    through = "dataset viewer" if report["format"] == "viewer" else f"{report['files']} {report['format']} file(s)"
    lines = [f"{one_line(report['dataset'])}{pinned}: {where}, {through}"]
    for what in ("config", "split"):
        others = [name for name in report[f"{what}s"] if name != report[what]]
        if others:
            more = f" and {len(others) - 20} more" if len(others) > 20 else ""
            lines.append(f"  other {what}s (--{what}): {one_line(', '.join(others[:20]))}{more}")
    if report.get("dry_run"):
        lines.append(f"dry run: would read the first {report['rows_to_read']} rows; nothing was read")
    return lines


def row_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the columns, the verdicts and the mapping code."""
    if "methods" not in report:
        return []
    counted = f"{report['rows']:,}" if report["rows"] is not None else "not counted"
    same = f"; {report['duplicates']} of them repeat an earlier one" if report["duplicates"] else ""
    lines = [f"  rows: {counted}; judged on the first {report['rows_read']:,}{same}", "", "COLUMNS"]
    columns = report["columns"]
    lines += [column_line(column) for column in columns[:SHOWN_COLUMNS]]
    if len(columns) > SHOWN_COLUMNS:
        lines.append(f"  and {len(columns) - SHOWN_COLUMNS} more (--json lists them)")
    lines += ["", "METHODS"]
    for verdict in report["methods"]:
        lines.append(f"  {verdict['method']:<12}{MARKS[verdict['status']]:<16} {one_line(verdict['reason'])}")
        lines += [f"{'':31}note: {one_line(text)}" for text in verdict["notes"]]
        if verdict["rows"]:
            lines.append(f"{'':31}rows (from 0): {', '.join(map(str, verdict['rows']))}")
    return lines + mapping_lines(report["methods"])


def column_line(column: Mapping[str, Any]) -> str:
    """Return one line on a column: name, kind, lengths, example."""
    lengths = [
        f"{values['p50']:,} {unit}, up to {values['max']:,}"
        for unit in ("characters", "tokens")
        if (values := column[unit]) is not None
    ]
    return f"  {one_line(repr(column['name']))} ({', '.join([column['kind'], *lengths])}) {one_line(column['example'])}"


def mapping_lines(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the mapping code, once for methods that share it."""
    shared: dict[str, list[str]] = {}
    for verdict in methods:
        if verdict["mapping"]:
            shared.setdefault(verdict["mapping"], []).append(verdict["method"])
    if not shared:
        return ["", "MAPPING CODE", "  none: no method needs it, or no mapping would help"]
    lines = ["", "MAPPING CODE (dataset = datasets.load_dataset(...) first)"]
    for code, names in shared.items():
        lines += ["", f"# --- {', '.join(names)} ---", *code.rstrip("\n").split("\n")]
    return lines


def show_schema() -> int:
    """Print the JSON Schema of --json."""
    print(json.dumps(report_schema(), indent=2))
    return EXIT_DONE


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of what --json prints: one report, or an object of several."""
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    texts, maybe = {"type": "array", "items": text}, {"type": ["string", "null"]}
    lengths = {"oneOf": [{"type": "null"}, _object(dict.fromkeys(("p50", "p95", "max"), count))]}
    column = dict.fromkeys(("name", "kind", "type", "example"), text) | dict.fromkeys(("nulls", "empty"), count)
    column |= dict.fromkeys(("characters", "tokens"), lengths)
    verdict = {"method": {"enum": list(METHODS)}, "status": {"enum": list(MARKS)}, "reason": text, "notes": texts}
    verdict |= {"rows": {"type": "array", "items": count, "maxItems": SHOWN_ROWS}, "mapping": maybe}
    source = dict.fromkeys(("dataset", "config", "split", "format"), text) | dict.fromkeys(("configs", "splits"), texts)
    source |= {"version": {"const": REPORT_VERSION}, "commit": maybe, "private": {"type": "boolean"}, "files": count}
    rows = {"rows": {"type": ["integer", "null"]}, "rows_read": count, "duplicates": count}
    rows |= {"columns": {"type": "array", "items": _object(column)}}
    rows |= {"methods": {"type": "array", "items": _object(verdict)}}
    planned = {"dry_run": {"const": True}, "rows_to_read": count}
    failed = {"dataset": text, "error": _object({"code": count, "message": text, "fix": text})}
    one = {"anyOf": [_object(source | rows), _object(source | planned)]}
    several = {"type": "array", "items": {"anyOf": [*one["anyOf"], _object(failed)]}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [*one["anyOf"], _object({"version": {"const": REPORT_VERSION}, "datasets": several})],
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


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
# --- block: rows 2 (jobshelf) ---
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


# --- end block ---
# --- block: formats 3 (jobshelf) ---
READY = "READY"
NEEDS_MAPPING = "NEEDS MAPPING"
INCOMPATIBLE = "INCOMPATIBLE"
METHODS = ("SFT", "DPO", "GRPO", "KTO", "Reward", "RLOO", "PRM", "Prompt-only")

PROMPT_WORDS = ("prompt", "instruction", "question", "query", "problem", "input", "user", "request", "task", "turns")
RESPONSE_WORDS = ("completion", "response", "answer", "output", "solution", "target", "reply", "ground_truth", "gold")
CHOSEN_WORDS = ("chosen", "preferred", "accepted", "better", "positive")
REJECTED_WORDS = ("rejected", "dispreferred", "worse", "negative")
LABEL_WORDS = ("label", "is_correct", "correct", "desirable", "accepted", "thumbs_up", "feedback")
CHAT_WORDS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
TEXT_WORDS = ("text", "content", "document", "body", "article", "passage", "story", "code")
CONTEXT_WORDS = ("input", "context", "passage")
SYSTEM_WORDS = ("system", "system_prompt", "system_message")
STEP_WORDS = ("completions", "steps", "step")
STEP_LABEL_WORDS = ("labels", "step_labels", "ratings", "correctness")
# A name with one of these words holds something about the data, not the data: prompt_id, chosen_rating, answer_length.
ASIDE_WORDS = frozenset(
    (
        *("id", "ids", "idx", "index", "hash", "uuid", "type", "lang", "language", "category", "source", "model"),
        *("url", "date", "time", "timestamp", "len", "length", "num", "count", "rating", "score", "name", "format"),
        *("mask", "tokens", "embedding"),
    )
)
KNOWN_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
ROLE_NAMES = {
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "function_response": "tool",
    "observation": "tool",
}
GOOD_WORDS = frozenset({"true", "yes", "1", "good", "correct", "right", "positive", "desirable", "chosen", "accepted"})
BAD_WORDS = frozenset({"false", "no", "0", "bad", "incorrect", "wrong", "negative", "undesirable", "rejected"})
ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text")
CHATS = frozenset({"messages", "sharegpt", "turns", "json messages", "json sharegpt", "json turns"})
TEXTS_OR_CHATS = CHATS | {"text"}
IMAGES = frozenset({"image", "images"})
# The columns in which TRL looks for conversations; it asks one of them, which one is left to chance.
CONVERSATION_COLUMNS = ("prompt", "completion", "chosen", "rejected", "messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as its values show it. `unusable` are the row numbers (from 0) whose value no trainer can take."""

    name: str
    kind: str
    type: str
    nulls: int
    empty: int
    unusable: tuple[int, ...]
    roles: frozenset[str]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one method makes of the rows. `rows` are the numbers (from 0) of rows that show the reason."""

    method: str
    status: str
    reason: str
    notes: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    mapping: str | None = None


Table = dict[str, Column]


def inspect_rows(rows: Sequence[Mapping[str, Any]], features: Mapping[str, str] | None = None) -> tuple[Verdict, ...]:
    """Return one verdict a method, in the order of METHODS. `features` maps column names to types, where known."""
    if not rows:
        return tuple(Verdict(method=method, status=INCOMPATIBLE, reason="there are no rows") for method in METHODS)
    table = profile_columns(rows, features)
    judges: dict[str, Callable[[str, Table], Verdict]] = {"SFT": _sft, "DPO": _pairs, "Reward": _pairs, "KTO": _kto}
    judges |= {"PRM": _prm, "GRPO": _prompts, "RLOO": _prompts, "Prompt-only": _prompts}
    return tuple(_with_image_note(judges[method](method, table), table) for method in METHODS)


def profile_columns(rows: Sequence[Mapping[str, Any]], features: Mapping[str, str] | None = None) -> Table:
    """Return each column by name, in the order of the file. A key that a row lacks is a null of that row."""
    names = dict.fromkeys([*(features or {}), *(name for row in rows for name in row)])
    return {name: _profile(name, [row.get(name) for row in rows], (features or {}).get(name, "")) for name in names}


def _profile(name: str, values: Sequence[Any], type_name: str) -> Column:
    kinds = [kind_of(value) for value in values]
    kind = _common_kind(Counter(item for item in kinds if item not in {"null", "empty list"}))
    pairs = list(zip(values, kinds, strict=True))
    turns = [turn for value, its in pairs if its in CHATS for turn in _turns(value)]
    unusable = [
        number
        for number, (value, its) in enumerate(pairs)
        if its in {"null", "empty list"} or (its in CHATS and not _turns_have_content(value))
    ]
    return Column(
        name=name,
        kind=kind,
        type=type_name or kind,
        nulls=kinds.count("null"),
        empty=sum(its == "empty list" or (its == "text" and not value.strip()) for value, its in pairs),
        unusable=tuple(unusable),
        roles=frozenset(_role(turn) for turn in turns if isinstance(_given_role(turn), str)),
        values=tuple(values),
    )


# --- kinds: what a value is to a trainer ---


def kind_of(value: object) -> str:
    """Return what `value` is to a trainer: text, messages, sharegpt, tokens, bool, int, image, struct ..."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, list | tuple):
        return _kind_of_list(value)
    if isinstance(value, Mapping):
        return "image" if _is_image(value) else "struct"
    return type(value).__name__


def _is_image(value: Mapping[str, Any]) -> bool:
    """An image as a file stores it (`bytes`, `path`), or as the dataset viewer shows it (`src`, `height`, `width`)."""
    return value.keys() == {"bytes", "path"} or {"src", "height", "width"} <= value.keys()


def _kind_of_text(value: str) -> str:
    start = value.lstrip()[:2]
    if not start.startswith("[") or "{" not in value:
        return "text"
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return "text"
    inner = _kind_of_list(parsed) if isinstance(parsed, list) else "text"
    return f"json {inner}" if inner in CHATS else "text"


def _kind_of_list(value: Sequence[Any]) -> str:
    items = [item for item in value if item is not None]
    if not items:
        return "empty list"
    if all(isinstance(item, Mapping) for item in items):
        return _kind_of_structs(items)
    names = {type(item).__name__ for item in items}
    return {"str": "texts", "bool": "bools", "int": "tokens"}.get(names.pop(), "list") if len(names) == 1 else "list"


def _kind_of_structs(items: Sequence[Mapping[str, Any]]) -> str:
    if all("role" in item for item in items) and any("content" in item or "tool_calls" in item for item in items):
        return "messages"
    if all("from" in item and "value" in item for item in items):
        return "sharegpt"
    if all(any(key in item for key in ROLE_KEYS) and any(key in item for key in CONTENT_KEYS) for item in items):
        return "turns"
    return "images" if all(map(_is_image, items)) else "list of structs"


def _common_kind(kinds: Counter[str]) -> str:
    if len(kinds) <= 1:
        return next(iter(kinds), "null")
    if kinds.keys() <= {"int", "float"}:
        return "float"
    if all(kind == "text" or kind.startswith("json") for kind in kinds):
        return "text"
    return "mixed"


def _turns(value: str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [turn for turn in (json.loads(value) if isinstance(value, str) else value) if turn is not None]


def _role(turn: Mapping[str, Any]) -> str:
    return str(_given_role(turn))


def _given_role(turn: Mapping[str, Any]) -> object:
    return next((turn[key] for key in ROLE_KEYS if key in turn), None)


def _content(turn: Mapping[str, Any]) -> str | list[Any] | None:
    return next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), None)


def _turns_have_content(value: str | Sequence[Mapping[str, Any]]) -> bool:
    turns = json.loads(value) if isinstance(value, str) else value
    return all(
        turn
        and isinstance(_given_role(turn), str)
        and (turn.get("tool_calls") or isinstance(_content(turn), str | list))
        for turn in turns
    )


# --- judges: each takes the method and the columns ---


def _sft(method: str, table: Table) -> Verdict:
    tokens = _column(table, "input_ids", {"tokens"})
    tokenised = tokens and _accept(method, table, [tokens], f"{_held(tokens)}: already tokenised")
    wanted = "messages, a text, or a prompt with its completion"
    return tokenised or _sft_as_it_is(method, table) or _sft_mapped(method, table) or _refuse(method, table, wanted)


def _sft_as_it_is(method: str, table: Table) -> Verdict | None:
    if "prompt" in table:  # TRL then looks for a completion, whatever else there is
        prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
        if prompt and completion and _go_together(table, prompt, completion):
            return _accept(method, table, [prompt, completion], _held(prompt, completion))
        return None
    chat = _column(table, "conversations", {"sharegpt"}) or _column(table, "messages", {"messages"})
    if chat:
        return _accept(method, table, [chat], _held(chat), _chat_notes(chat)) if _go_together(table, chat) else None
    text = _column(table, "text", {"text"})
    return _accept(method, table, [text], _held(text), _label_notes(table)) if text else None


def _sft_mapped(method: str, table: Table) -> Verdict | None:
    chat = _find(table, CHAT_WORDS, CHATS)
    if chat:
        reason = f"{_held(chat)} {_chat_flaw(chat, table)}"
        return _map(method, table, [chat], {"messages": _as_whole_chat(table, chat)}, reason)
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt) or _find(
        table, CHOSEN_WORDS, TEXTS_OR_CHATS, prompt
    )
    if response and response.kind in CHATS and (prompt is None or _opens_with_user(response)):
        fields = {"messages": _as_whole_chat(table, response)}
        return _map(method, table, [response], fields, f"{_held(response)}: whole conversations")
    if prompt and response and prompt.kind == response.kind == "text" and _repeats_prompt(prompt, response):
        reason = f"{_held(response)} begins with {prompt.name!r}: plain text"
        return _map(method, table, [response], {"text": _at(response)}, reason)
    if prompt and response:
        fields = {"prompt": _as_prompt(table, prompt, response), "completion": _as_chat(response, "assistant")}
        reason = f"{_held(prompt, response)}: a prompt and its completion"
        return _map(method, table, [prompt, response], fields, reason)
    return _sft_from_text(method, table) if prompt is None else None


def _sft_from_text(method: str, table: Table) -> Verdict | None:
    text = _find(table, TEXT_WORDS, {"text"})
    if text is None:
        return None
    reason = f"{_held(text)}: plain text" + ("; the column 'prompt' misleads TRL" if "prompt" in table else "")
    return _map(method, table, [text], {"text": _at(text)}, reason)


def _pairs(method: str, table: Table) -> Verdict:
    verdict = _pairs_tokenised(method, table) or _pairs_as_they_are(method, table) or _pairs_mapped(method, table)
    return verdict or _graded_pairs(method, table) or _refuse(method, table, "a chosen and a rejected answer")


def _pairs_tokenised(method: str, table: Table) -> Verdict | None:
    for names in (("chosen_ids", "rejected_ids"), ("chosen_input_ids", "rejected_input_ids")):
        chosen, rejected = (_column(table, name, {"tokens"}) for name in names)
        if method == "Reward" and chosen and rejected:
            return _accept(method, table, [chosen, rejected], f"{_held(chosen, rejected)}: already tokenised")
    return None


def _pairs_as_they_are(method: str, table: Table) -> Verdict | None:
    chosen, rejected = (_column(table, name, {"text", "messages"}) for name in ("chosen", "rejected"))
    if not chosen or not rejected or not _go_together(table, chosen, rejected):
        return None
    notes = _pair_notes(chosen, rejected)
    if "prompt" in table:
        prompt = _column(table, "prompt", {chosen.kind})
        if prompt is None or not _go_together(table, prompt) or _repeats_prompt(prompt, chosen):
            return None
        return _accept(method, table, [prompt, chosen, rejected], _held(prompt, chosen, rejected), notes)
    if method == "Reward":
        return _accept(method, table, [chosen, rejected], f"{_held(chosen, rejected)}, compared as a whole", notes)
    return _implicit_prompt(method, table, chosen, rejected, notes)


def _implicit_prompt(
    method: str, table: Table, chosen: Column, rejected: Column, notes: Sequence[str]
) -> Verdict | None:
    """TRL takes the common opening of both answers as the prompt; a pair without one breaks it, an empty text too."""
    apart = _apart(chosen, rejected)
    reason = f"{_held(chosen, rejected)}, the prompt is their common opening"
    if len(apart) == len(chosen.values) and (
        chosen.kind == "messages" or chosen.empty + rejected.empty or _find_prompt(table)
    ):
        return None
    if apart and (chosen.kind == "messages" or chosen.empty + rejected.empty):
        # A pair of which one side is missing is apart as well.
        alike = 'bool(row["chosen"] and row["rejected"]) and row["chosen"][0] == row["rejected"][0]'
        code = f"dataset = dataset.filter(lambda row: {alike})\n"
        reason = f"{reason}, but {len(apart)} pairs have none"
        return _needs(method, reason, notes, apart, code + _removal(_misread(method, table, [chosen, rejected])))
    notes = (*notes, f"{len(apart)} pairs open differently: their prompt will be empty") if apart else notes
    return _accept(method, table, [chosen, rejected], reason, notes)


def _pairs_mapped(method: str, table: Table) -> Verdict | None:
    chosen = _find(table, CHOSEN_WORDS, TEXTS_OR_CHATS)
    rejected = _find(table, REJECTED_WORDS, TEXTS_OR_CHATS)
    if chosen is None or rejected is None:
        return None
    prompt, both = _find_prompt(table, chosen, rejected), _held(chosen, rejected)
    fields = {"chosen": _as_chat(chosen, "assistant"), "rejected": _as_chat(rejected, "assistant")}
    whole = chosen.kind in CHATS and rejected.kind in CHATS and _opens_with_user(chosen)
    if whole and (method == "Reward" or len(_apart(chosen, rejected)) < len(chosen.values)):
        return _map(method, table, [chosen, rejected], fields, f"{both}: conversations with their prompt")
    texts = chosen.kind == rejected.kind == "text"
    if texts and (prompt is None or (prompt.kind == "text" and _repeats_prompt(prompt, chosen))):
        plain = {"chosen": _at(chosen), "rejected": _at(rejected)}
        if method != "Reward" and chosen.empty + rejected.empty:
            return None
        return _map(method, table, [chosen, rejected], plain, f"{both}: two answers that hold their prompt")
    if prompt is None:
        better = f"{both}: a preferred and a worse answer"
        return _map(method, table, [chosen, rejected], fields, better) if method == "Reward" else None
    fields = {"prompt": _as_prompt(table, prompt, chosen, rejected), **fields}
    return _map(method, table, [prompt, chosen, rejected], fields, f"{_held(prompt)}, {both}: a prompt, two answers")


def _kto(method: str, table: Table) -> Verdict:
    if _has_images(table):  # TRL unpairs text only
        verdict = _kto_unpaired(method, table) or _kto_as_it_is(method, table) or _kto_mapped(method, table)
        return verdict or _refuse(method, table, "a prompt, a completion and a true/false label beside the images")
    verdict = _pairs_as_they_are(method, table) or _kto_as_it_is(method, table) or _kto_mapped(method, table)
    verdict = verdict or _pairs_mapped(method, table) or _graded_rows(method, table)
    return verdict or _refuse(method, table, "a prompt, a completion and a true/false label")


def _kto_unpaired(method: str, table: Table) -> Verdict | None:
    columns = [_column(table, name, {"messages"}) for name in ("prompt", "chosen", "rejected")]
    used = [column for column in columns if column and _roles_known(column)]
    if len(used) < len(columns) or any(column.unusable for column in used):
        return None
    code = """\
def unpaired(rows):
    made = {name: values + values for name, values in rows.items() if name not in ("chosen", "rejected")}
    made["completion"] = rows["chosen"] + rows["rejected"]
    made["label"] = [True] * len(rows["chosen"]) + [False] * len(rows["rejected"])
    return made


dataset = dataset.map(unpaired, batched=True, remove_columns=dataset.column_names)
"""
    return _needs(method, f"{_held(*used)} beside images: TRL unpairs text only", (), (), code)


def _kto_as_it_is(method: str, table: Table) -> Verdict | None:
    prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
    label = _column(table, "label", {"bool", "int", "float"})
    if not prompt or not completion or not label or {"chosen", "rejected"} <= table.keys():
        return None
    if not _go_together(table, prompt, completion) or not _is_binary(label):
        return None
    values = {bool(value) for value in label.values if value is not None}
    notes = () if len(values) == 2 else (f"every label is {values.pop()}: there is nothing to tell apart",)
    return _accept(method, table, [prompt, completion, label], _held(prompt, completion, label), notes)


def _kto_mapped(method: str, table: Table) -> Verdict | None:
    label = _find(table, LABEL_WORDS, {"bool", "int", "float", "text"})
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt, label)
    verdict = _as_label(label) if label else None
    if not label or not prompt or not response or verdict is None:
        return None
    expression, meaning = verdict
    fields = {"prompt": _as_prompt(table, prompt, response), "completion": _as_chat(response, "assistant")}
    reason = f"{_held(prompt, response, label)}: a judged answer{meaning}"
    return _map(method, table, [prompt, response, label], fields | {"label": expression}, reason)


def _as_label(label: Column) -> tuple[str, str] | None:
    """Return the expression that makes a true/false label of the column, and what it takes for true where it chose."""
    values = [value for value in label.values if value is not None]
    if label.kind == "text":
        if not {value.strip().lower() for value in values} <= GOOD_WORDS | BAD_WORDS:
            return None
        good = sorted({value for value in values if value.strip().lower() in GOOD_WORDS})
        return f"{_at(label)} in {good!r}", f", good when it is {' or '.join(map(repr, good)) or 'nothing seen here'}"
    if _is_binary(label):
        return f"bool({_at(label)})", ""
    middle = (min(values) + max(values)) / 2
    return f"{_at(label)} > {middle!r}", f", good above {middle:g}, the middle of what was seen: set your own threshold"


def _prm(method: str, table: Table) -> Verdict:
    prompt = _column(table, "prompt", {"text"})
    steps, marks = _column(table, "completions", {"texts"}), _column(table, "labels", _MARKS)
    if not prompt or not steps or not marks or _uneven(steps, marks) or not _marks(marks) <= {0, 1}:
        wanted = "a prompt, its completions (one a step) and a true/false label a step"
        return _prm_mapped(method, table) or _refuse(method, table, wanted)
    verdict = _accept(method, table, [prompt, steps, marks], _held(prompt, steps, marks), _PRM_NOTES)
    return verdict or _refuse(method, table, "rows that lack nothing")


_MARKS = frozenset({"bools", "tokens", "list"})
_PRM_NOTES = ("TRL 1.16 has the format (stepwise supervision) but no trainer for it",)


def _prm_mapped(method: str, table: Table) -> Verdict | None:
    prompt = _find_prompt(table)
    steps = _find(table, STEP_WORDS, {"texts"}, prompt)
    marks = _find(table, STEP_LABEL_WORDS, _MARKS, steps)
    values = sorted(_marks(marks)) if marks else []
    if not prompt or prompt.kind != "text" or not steps or not marks or not values or math.isnan(sum(values)):
        return None
    rule = "bool(mark)" if set(values) <= {0, 1} else f"mark > {(values[0] + values[-1]) / 2!r}"
    fields = {"prompt": _at(prompt), "completions": _at(steps), "labels": f"[{rule} for mark in {_at(marks)}]"}
    even = f"dataset = dataset.filter(lambda row: len({_at(steps)} or []) == len({_at(marks)} or []))\n"
    reason, uneven = f"{_held(prompt, steps, marks)}: steps with a label each", _uneven(steps, marks)
    return _map(method, table, [prompt, steps, marks], fields, reason, notes=_PRM_NOTES, also=uneven, before=even)


def _marks(column: Column) -> set[float]:
    """Return the labels of all steps; what is no number is not one."""
    marks = [mark for value in column.values if value for mark in value]
    return {mark if isinstance(mark, int | float) else math.nan for mark in marks}


def _uneven(steps: Column, marks: Column) -> list[int]:
    pairs = enumerate(zip(steps.values, marks.values, strict=True))
    return [row for row, (some, given) in pairs if len(some or ()) != len(given or ())]


def _prompts(method: str, table: Table) -> Verdict:
    prompt = _column(table, "prompt", {"text", "messages"})
    if prompt and _go_together(table, prompt) and not _ends_with_assistant(prompt):
        asked = replace(prompt, unusable=tuple(row for row, value in enumerate(prompt.values) if not value))
        verdict = _accept(
            method,
            table,
            [asked if prompt.kind == "text" else prompt],
            _held(prompt),
            _reward_notes(method, table, prompt),
        )
        if verdict:
            return verdict
    return _prompts_mapped(method, table) or _refuse(method, table, "a prompt")


def _prompts_mapped(method: str, table: Table) -> Verdict | None:
    prompt = _find_prompt(table) or _find(table, CHAT_WORDS, CHATS) or _find(table, CHOSEN_WORDS, CHATS)
    if prompt is None:
        return None
    notes = _reward_notes(method, table, prompt)
    if prompt.kind not in CHATS:
        fields, reason = {"prompt": _as_prompt(table, prompt)}, f"{_held(prompt)}: the prompt"
        return _map(method, table, [prompt], fields, reason, keep=True, notes=notes)
    fields = {"prompt": f"opening({_as_whole_chat(table, prompt)})"}
    names = _role_names([prompt])
    unasked = [row for row, value in enumerate(prompt.values) if not value or not _opening(names, value)]
    asked = "dataset = dataset.filter(lambda row: bool(row['prompt']))\n" if unasked else ""
    reason = f"{_held(prompt)}: the turns before the first answer are the prompt"
    return _map(method, table, [prompt], fields, reason, keep=True, notes=notes, also=unasked, after=asked)


def _opening(names: Mapping[str, str], value: str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list(itertools.takewhile(lambda turn: names.get(_role(turn), _role(turn)) != "assistant", _turns(value)))


# --- graded answers: a struct a model, with a text and whether it is right ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graded:
    prompt: Column
    answers: tuple[str, ...]
    flag: str
    text: str


def _graded(table: Table) -> _Graded | None:
    prompt = _find_prompt(table)
    structs = [column for column in table.values() if column.kind == "struct"]
    if prompt is None or prompt.kind != "text":
        return None
    fields = Counter(
        (key, kind_of(value)) for column in structs for value in column.values if value for key, value in value.items()
    )
    flags = [key for key, kind in fields if kind == "bool"]
    texts = [key for key, kind in fields if kind == "text"]
    answers = (
        tuple(c.name for c in structs if all(flags[0] in v and texts[0] in v for v in c.values if v))
        if flags and texts
        else ()
    )
    return _Graded(prompt=prompt, answers=answers, flag=flags[0], text=texts[0]) if len(answers) > 1 else None


def _graded_pairs(method: str, table: Table) -> Verdict | None:
    graded = _graded(table)
    if graded is None or not any(len(set(_flags(graded, table, row))) == 2 for row in range(len(graded.prompt.values))):
        return None
    code = f"""\
def pairs(rows):
    made = {{"prompt": [], "chosen": [], "rejected": []}}
    for number, question in enumerate(rows[{graded.prompt.name!r}]):
        answers = [rows[name][number] for name in {list(graded.answers)!r}]
        right = [answer[{graded.text!r}] for answer in answers if answer and answer[{graded.flag!r}]]
        wrong = [answer[{graded.text!r}] for answer in answers if answer and not answer[{graded.flag!r}]]
        for chosen, rejected in zip(right, wrong):
            made["prompt"].append([{{"role": "user", "content": question}}])
            made["chosen"].append([{{"role": "assistant", "content": chosen}}])
            made["rejected"].append([{{"role": "assistant", "content": rejected}}])
    return made


dataset = dataset.map(pairs, batched=True, remove_columns=dataset.column_names)
"""
    return _needs(method, _graded_reason(graded, "pairs of a right and a wrong one"), (), (), code)


def _graded_rows(method: str, table: Table) -> Verdict | None:
    graded = _graded(table)
    if graded is None:
        return None
    code = f"""\
def judged(rows):
    made = {{"prompt": [], "completion": [], "label": []}}
    for number, question in enumerate(rows[{graded.prompt.name!r}]):
        for answer in (rows[name][number] for name in {list(graded.answers)!r}):
            if answer and answer[{graded.text!r}] is not None and answer[{graded.flag!r}] is not None:
                made["prompt"].append([{{"role": "user", "content": question}}])
                made["completion"].append([{{"role": "assistant", "content": answer[{graded.text!r}]}}])
                made["label"].append(answer[{graded.flag!r}])
    return made


dataset = dataset.map(judged, batched=True, remove_columns=dataset.column_names)
"""
    return _needs(method, _graded_reason(graded, "a labelled row each"), (), (), code)


def _graded_reason(graded: _Graded, use: str) -> str:
    return f"{_held(graded.prompt)} with {len(graded.answers)} answers marked by {graded.flag!r}: {use}"


def _flags(graded: _Graded, table: Table, row: int) -> list[bool]:
    answers = [table[name].values[row] for name in graded.answers]
    return [bool(answer[graded.flag]) for answer in answers if answer]


# --- verdicts ---


def _accept(
    method: str, table: Table, columns: Sequence[Column], reason: str, notes: Sequence[str] = ()
) -> Verdict | None:
    """READY; NEEDS MAPPING when rows or columns must go first; None when no row would be left."""
    bad = sorted({row for column in columns for row in column.unusable})
    if len(bad) == len(columns[0].values):
        return None
    misread = _misread(method, table, columns)
    notes = (*notes, *(f"{column.name!r} is empty in {column.empty} rows" for column in columns if column.empty))
    if not bad and not misread:
        return Verdict(method=method, status=READY, reason=reason, notes=tuple(notes))
    flawed = [column for column in columns if column.unusable]
    if flawed:
        reason += f", but {len(bad)} rows have no value in {', '.join(repr(column.name) for column in flawed)}"
    reason += "".join(f"; {name!r} {why}" for name, why in misread.items())
    return _needs(method, reason, notes, bad, _filter(flawed) + _removal(misread))


def _map(
    method: str,
    table: Table,
    columns: Sequence[Column],
    fields: Mapping[str, str],
    reason: str,
    *,
    keep: bool = False,
    notes: Sequence[str] = (),
    also: Sequence[int] = (),
    before: str = "",
    after: str = "",
) -> Verdict | None:
    """NEEDS MAPPING, with the code that builds `fields` (name -> expression over `row`); None when no row is left.

    `keep` keeps the other columns; `also` are more rows that cannot be used, `before` and `after` the code that drops
    them before or after the mapping.
    """
    bad = sorted({row for column in columns for row in column.unusable} | set(also))
    if len(bad) == len(columns[0].values):
        return None
    kept = {} if keep or "text" in fields else {name: _at(table[name]) for name in _carried(method, table)}
    body = "".join(f"        {name!r}: {expression},\n" for name, expression in {**fields, **kept}.items())
    remove = "" if keep else ", remove_columns=dataset.column_names"
    code = f"def convert(row):\n    return {{\n{body}    }}\n\n\n"
    code += _filter([column for column in columns if column.unusable]) + (before if also else "")
    code += f"dataset = dataset.map(convert{remove})\n{after}"
    misread = {name for name in _misread(method, table, columns) if name not in fields} if keep else ()
    return _needs(method, reason, notes, bad, _helpers(code, _role_names(columns)) + code + _removal(misread))


def _needs(method: str, reason: str, notes: Sequence[str], rows: Sequence[int], code: str) -> Verdict:
    return Verdict(
        method=method, status=NEEDS_MAPPING, reason=reason, notes=tuple(notes), rows=tuple(rows), mapping=code
    )


def _refuse(method: str, table: Table, needed: str) -> Verdict:
    odd = [
        f"{name!r} holds {table[name].kind}"
        for name in ("prompt", "completion", "chosen", "rejected", "label", "messages", "text")
        if name in table
    ]
    names = ", ".join(repr(name) for name in list(table)[:8])
    found = ", ".join(odd) or f"none of the columns {names} looks like it"
    return Verdict(method=method, status=INCOMPATIBLE, reason=f"needs {needed}; {found}")


# --- the printed code; names and values reach it through repr() only ---


def _helpers(code: str, roles: Mapping[str, str]) -> str:
    helpers = "import json\n\n\n" if "json.loads(" in code else ""
    if "chat(" in code or "renamed(" in code:
        helpers += f"ROLES = {dict(roles)!r}\n\n\n"
    if "chat(" in code:
        helpers += (
            "def chat(turns, role, content):\n"
            '    return [{"role": ROLES.get(turn[role], turn[role]), "content": turn[content]} for turn in turns]\n\n\n'
        )
    if "renamed(" in code:
        helpers += (
            "def renamed(turns):\n"
            '    return [{**turn, "role": ROLES.get(turn["role"], turn["role"])} for turn in turns]\n\n\n'
        )
    if "system(" in code:
        helpers += 'def system(text):\n    return [{"role": "system", "content": text}] if text else []\n\n\n'
    if "opening(" in code:
        helpers += (
            "def opening(turns):\n"
            '    first = next((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))\n'
            "    return turns[:first]\n\n\n"
        )
    return helpers


def _filter(columns: Sequence[Column]) -> str:
    if not columns:
        return ""
    return f"dataset = dataset.filter(lambda row: {' and '.join(map(_usable_test, columns))})\n"


def _removal(names: Iterable[str]) -> str:
    return f"dataset = dataset.remove_columns({list(names)!r})\n" if names else ""


def _usable_test(column: Column) -> str:
    if column.kind not in CHATS:
        empties = column.kind in {"texts", "tokens", "bools"} or any(
            column.values[row] == "" for row in column.unusable
        )
        return f"bool({_at(column)})" if empties else f"{_at(column)} is not None"
    role, key = _turn_keys(column)
    said = f"turn and (turn.get({key!r}) is not None or turn.get('tool_calls'))"
    if any(not isinstance(_given_role(turn), str) for turns in _chats_of(column) for turn in turns):
        said += f" and isinstance(turn.get({role!r}), str)"
    return f"bool({_at(column)}) and all({said} for turn in {_decoded_turns(column)})"


def _at(column: Column) -> str:
    return f"row[{column.name!r}]"


def _decoded_turns(column: Column) -> str:
    return f"json.loads({_at(column)})" if column.kind.startswith("json") else _at(column)


def _as_chat(column: Column, role: str) -> str:
    """Return an expression for a list of messages; plain text becomes one message of `role`."""
    if column.kind == "text":
        return f'[{{"role": "{role}", "content": {_at(column)}}}]'
    if column.kind == "texts":
        return f'[{{"role": "{role}", "content": {_at(column)}[0]}}]'
    turns = _decoded_turns(column)
    if not column.kind.endswith("messages"):
        role_key, content_key = _turn_keys(column)
        return f"chat({turns}, {role_key!r}, {content_key!r})"
    return turns if _roles_known(column) else f"renamed({turns})"


def _as_whole_chat(table: Table, column: Column) -> str:
    return _led_by_system(table, _as_chat(column, ""), column)


def _as_prompt(table: Table, prompt: Column, *others: Column) -> str:
    """Return an expression for the prompt's messages; an instruction takes its separate input or context along."""
    context = _find(table, CONTEXT_WORDS, {"text"}, prompt, *others)
    if prompt.kind != "text" or context is None:
        return _led_by_system(table, _as_chat(prompt, "user"), prompt)
    joined = f'"\\n\\n".join(part for part in ({_at(prompt)}, {_at(context)}) if part)'
    return _led_by_system(table, f'[{{"role": "user", "content": {joined}}}]', prompt)


def _led_by_system(table: Table, expression: str, chat: Column) -> str:
    told = _find(table, SYSTEM_WORDS, {"text"})
    return expression if told is None or "system" in chat.roles else f"system({_at(told)}) + {expression}"


# --- columns that TRL reads beside those it is meant to ---


def _misread(method: str, table: Table, used: Sequence[Column]) -> dict[str, str]:
    """Return the columns beside `used` that TRL takes for something they are not, and what comes of it."""
    names = {column.name for column in used}
    found = {name: "is no image" for name in IMAGES & table.keys() if not _may_be_image(table[name])}
    if used[0].kind == "tokens":
        found = _misread_beside_tokens(table, used[0])
    elif method in {"SFT", "DPO", "KTO", "Reward"}:
        found |= _misread_beside_rows(method, table, used)
    if method in {"GRPO", "RLOO"}:
        clash = "clashes with what reward functions get under this name"
        found |= dict.fromkeys(("prompts", "completions"), clash)
    if method == "Reward" and "margin" in table and (table["margin"].kind not in _NUMBERS or table["margin"].nulls):
        found["margin"] = "is taken for a number and is none in every row"
    return {name: why for name, why in sorted(found.items()) if name in table and name not in names}


_NUMBERS = frozenset({"int", "float", "bool"})


def _misread_beside_rows(method: str, table: Table, used: Sequence[Column]) -> dict[str, str]:
    chats, names = used[0].kind in {"messages", "sharegpt"}, {column.name for column in used}
    found = {
        name: "is of another kind, and TRL asks any of them whether the rows are conversations"
        for name in CONVERSATION_COLUMNS
        if name in table and (table[name].kind == "messages") != chats
    }
    if not _are_tools(table.get("tools")):
        found["tools"] = "is no list of tools"
    if not _are_template_arguments(table.get("chat_template_kwargs")):
        found["chat_template_kwargs"] = "is not a struct in every row"
    if method == "SFT":
        found["labels"] = "is taken for the labels of the tokens"
    if method == "SFT" and not chats and "text" not in names:
        found["text"] = "gets the end-of-text token that the completion must have"
    if not chats and method == "SFT":
        found |= dict.fromkeys(IMAGES, "is beside plain text, TRL puts images into conversations")
    if method == "KTO" and "chosen" in names:
        found |= dict.fromkeys(("completion", "label"), "takes the place of what TRL makes of the pairs")
    return found


def _misread_beside_tokens(table: Table, tokens: Column) -> dict[str, str]:
    wrong = [
        name
        for name in ("labels", "completion_mask", "assistant_masks")
        if name in table
        and any(
            not isinstance(mask, list) or len(mask) != len(ids or ())
            for mask, ids in zip(table[name].values, tokens.values, strict=True)
        )
    ]
    return dict.fromkeys(wrong, f"is not one number for each of {tokens.name!r}")


def _carried(method: str, table: Table) -> list[str]:
    """Return the columns that a mapping must not lose: tools, arguments of the template, images, the margin."""
    names = ["tools"] if "tools" in table and _are_tools(table["tools"]) else []
    if "chat_template_kwargs" in table and _are_template_arguments(table["chat_template_kwargs"]):
        names.append("chat_template_kwargs")
    if method == "Reward":
        return [*names, "margin"] if "margin" in table and not _misread(method, table, [table["margin"]]) else names
    return names + [name for name in sorted(IMAGES & table.keys()) if _may_be_image(table[name])]


def _are_tools(column: Column | None) -> bool:
    if column is None or column.kind in {"null", "list of structs", "empty list"}:
        return True
    return column.kind == "text" and all(value is None or _is_json_list(value) for value in column.values)


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list | type(None))
    except (ValueError, RecursionError):
        return False


def _are_template_arguments(column: Column | None) -> bool:
    return column is None or (column.kind == "struct" and not column.nulls)


def _may_be_image(column: Column) -> bool:
    """An image, a list of them, or the path of one."""
    return column.kind in {"image", "images", "text", "texts"} and not column.nulls


def _has_images(table: Table) -> bool:
    return any(_may_be_image(table[name]) for name in IMAGES & table.keys())


# --- finding columns ---


def _column(table: Table, name: str, kinds: Iterable[str]) -> Column | None:
    column = table.get(name)
    return column if column is not None and column.kind in kinds else None


def _find_prompt(table: Table, *taken: Column | None) -> Column | None:
    return _find(table, PROMPT_WORDS, TEXTS_OR_CHATS | {"texts"}, *taken)


def _find(table: Table, words: Sequence[str], kinds: Iterable[str], *taken: Column | None) -> Column | None:
    """Return the column of one of `kinds` whose name fits best: the word itself before a name that contains it."""
    names = {column.name for column in taken if column is not None}
    fitting = [column for column in table.values() if column.kind in kinds and column.name not in names]
    ranked = [(rank, column) for column in fitting if (rank := _fit(column.name, words)) is not None]
    return min(ranked, key=lambda item: item[0])[1] if ranked else None


def _fit(name: str, words: Sequence[str]) -> tuple[int, int] | None:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    if spaced in words:
        return 0, words.index(spaced)
    parts = [part for part in re.split(r"[^a-z0-9]+", spaced) if part]
    if ASIDE_WORDS & set(parts):
        return None
    joined = f"_{'_'.join(parts)}_"
    return next(((1, number) for number, word in enumerate(words) if f"_{word}_" in joined), None)


# --- what the values say ---


def _go_together(table: Table, *columns: Column) -> bool:
    """Whether TRL takes these as they are: of one kind, with roles that templates know, text without images."""
    kinds = {column.kind for column in columns}
    return len(kinds) == 1 and _roles_known(*columns) and not (kinds == {"text"} and _has_images(table))


def _roles_known(*columns: Column) -> bool:
    return all(column.roles <= KNOWN_ROLES for column in columns)


def _role_names(columns: Sequence[Column]) -> dict[str, str]:
    """Return role -> the role that templates know: by its name, else by whether it opens conversations."""
    found = sorted({role for column in columns for role in column.roles} - KNOWN_ROLES - ROLE_NAMES.keys())
    opening = {_role(turns[0]) for column in columns for turns in _chats_of(column) if turns}
    names = {role: ROLE_NAMES.get(role.lower(), role.lower()) for role in found}
    guessed = {role: "user" if role in opening else "assistant" for role in found if names[role] not in KNOWN_ROLES}
    return ROLE_NAMES | names | guessed


def _chats_of(column: Column) -> list[list[Mapping[str, Any]]]:
    return [_turns(value) for value in column.values if value] if column.kind in CHATS else []


def _turn_keys(column: Column) -> tuple[str, str]:
    """Return the keys under which the turns of a conversation hold their role and their content."""
    if column.kind.endswith("messages"):
        return "role", "content"
    first = next(turn for turns in _chats_of(column) for turn in turns)
    return next(key for key in ROLE_KEYS if key in first), next(
        (key for key in CONTENT_KEYS if first.get(key) is not None), "content"
    )


def _chat_flaw(column: Column, table: Table) -> str:
    foreign = sorted(column.roles - KNOWN_ROLES)
    if column.kind.startswith("json"):
        return "as JSON text: it must be decoded"
    if foreign:
        guessed = [role for role in foreign if role.lower() not in ROLE_NAMES.keys() | KNOWN_ROLES]
        advice = f"; {', '.join(map(repr, guessed))} is a guess, see ROLES" if guessed else ""
        return f"with the roles {', '.join(map(repr, foreign))}, which chat templates do not know{advice}"
    if "prompt" in table:
        return "beside a column 'prompt' that TRL would take instead"
    return "under another name or form than TRL's"


def _opens_with_user(column: Column) -> bool:
    names = _role_names([column])
    return any(
        names.get(_role(turns[0]), _role(turns[0])) in {"user", "system"} for turns in _chats_of(column) if turns
    )


def _ends_with_assistant(column: Column) -> bool:
    return any(_role(turns[-1]) == "assistant" for turns in _chats_of(column) if turns)


def _repeats_prompt(prompt: Column, chosen: Column) -> bool:
    """Return whether `chosen` holds the prompt again: TRL would then train on it twice."""
    pairs = [(p, c) for p, c in zip(prompt.values, chosen.values, strict=True) if p and c]
    repeats = [c[: len(p)] == p if isinstance(p, list) else c.startswith(p) for p, c in pairs]
    return bool(repeats) and all(repeats)


def _apart(chosen: Column, rejected: Column) -> list[int]:
    """Return the rows whose two answers do not begin alike, or of which one is missing or empty."""
    pairs = enumerate(zip(chosen.values, rejected.values, strict=True))
    return [row for row, (c, r) in pairs if not c or not r or _first(c, chosen) != _first(r, rejected)]


def _first(value: str | Sequence[Mapping[str, Any]], column: Column) -> object:
    return _turns(value)[0] if column.kind in CHATS else value[0]


def _is_binary(label: Column) -> bool:
    return {value for value in label.values if value is not None} <= {0, 1}


# --- notes ---


def _held(*columns: Column) -> str:
    return ", ".join(f"{column.name!r} ({column.kind})" for column in columns)


def _pair_notes(chosen: Column, rejected: Column) -> tuple[str, ...]:
    same = [row for row, (c, r) in enumerate(zip(chosen.values, rejected.values, strict=True)) if c and c == r]
    return (f"chosen equals rejected in {len(same)} rows: no signal there",) if same else ()


def _chat_notes(column: Column) -> tuple[str, ...]:
    chats = [[_role(turn) for turn in turns] for turns in _chats_of(column)]
    checks: dict[str, Callable[[list[str]], bool]] = {
        "have no assistant turn to learn from": lambda roles: "assistant" not in roles,
        "open with an assistant turn": lambda roles: roles[:1] == ["assistant"],
        "have two user or two assistant turns in a row": lambda roles: any(
            a == b and a in {"user", "assistant"} for a, b in itertools.pairwise(roles)
        ),
    }
    counts = {what: sum(map(check, chats)) for what, check in checks.items()}
    return tuple(f"{count} of {len(chats)} conversations {what}" for what, count in counts.items() if count)


def _label_notes(table: Table) -> tuple[str, ...]:
    label = next((table[name] for name in ("label", "labels") if name in table), None)
    if label is None or label.kind not in {"int", "text", "bool"}:
        return ()
    return (
        f"{label.name!r} ({label.kind}) beside the text: this looks like a classification set, TRL ignores the label",
    )


def _reward_notes(method: str, table: Table, prompt: Column) -> tuple[str, ...]:
    if method == "Prompt-only":
        return ()
    passed = [name for name in table if name not in {prompt.name, "prompt", "prompts", "completion", "completions"}]
    if not passed:
        return ("no other column: reward functions see the prompt and the completion only",)
    return (f"reward functions also get: {', '.join(map(repr, passed[:8]))}",)


def _with_image_note(verdict: Verdict, table: Table) -> Verdict:
    if verdict.status == INCOMPATIBLE:
        return verdict
    others = [name for name, column in table.items() if column.kind in {"image", "images"} and name not in IMAGES]
    notes = [f"{name!r} holds images: TRL sees them only in a column 'image' or 'images'" for name in others]
    if _has_images(table):
        named = next(name for name in sorted(IMAGES & table.keys()))
        notes.append(f"{named!r} is there: only a vision-language model can train on it")
    return replace(verdict, notes=(*verdict.notes, *notes))


# --- end block ---

if __name__ == "__main__":
    leave(main())
