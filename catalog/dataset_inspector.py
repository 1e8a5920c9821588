# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "huggingface-hub>=2.4,<3",
#     "polars>=2.1,<3",
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
# version = "0.1.0"
# title = "Dataset inspector"
# task = "data-validation"
# tags = ["dataset", "trl", "sft", "dpo", "grpo", "kto", "reward"]
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
"""Say which TRL methods a dataset can feed (SFT, DPO, GRPO, KTO, Reward), with the mapping code.

Reads the first rows of one split of a Hub dataset, an hf:// path, or a local parquet, jsonl, json, csv or arrow file or
folder; never downloads a dataset. Writes nothing. Takes seconds and costs nothing: run it before you rent a GPU.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py openai/gsm8k
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py ./chats.json --require sft
    hf jobs uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py openai/gsm8k --require sft

A token is used when there is one (HF_TOKEN or `hf auth login`); private and gated datasets need it.
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
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import polars as pl

METHOD_NAMES = ("sft", "dpo", "grpo", "kto", "reward")
MARKS = {"READY": "✓ READY", "NEEDS MAPPING": "✗ NEEDS MAPPING", "INCOMPATIBLE": "✗ INCOMPATIBLE"}
SHOWN_COLUMNS = 30


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="dataset_inspector.py", description=str(__doc__).partition("\n")[0])
    parser.add_argument(
        "input", nargs="?", metavar="INPUT", help="Hub dataset (user/name), hf:// path, local file or folder"
    )
    parser.add_argument("--dataset", metavar="D", help="the same as INPUT")
    parser.add_argument(
        "--config", metavar="NAME", help="config (subset); default: the dataset's default, else its first"
    )
    parser.add_argument("--split", metavar="NAME", help="split; default: train, else the first")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub dataset")
    parser.add_argument(
        "--samples",
        "--max-samples",
        type=_positive,
        default=100,
        metavar="N",
        help="rows to judge (default: %(default)s)",
    )
    parser.add_argument(
        "--preview", type=_positive, default=60, metavar="N", help="characters shown of a value (default: %(default)s)"
    )
    parser.add_argument(
        "--require", action="append", default=[], choices=METHOD_NAMES, help="exit with 4 unless this method is READY"
    )
    parser.add_argument("--json", "--json-output", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--dry-run", action="store_true", help="resolve the input, say what would be read, read no rows"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.input is None) == (args.dataset is None):
        parser.error("name one input: INPUT, or --dataset D")
    return run_to_exit(lambda: inspect(args))


def inspect(args: argparse.Namespace) -> int:
    """Resolve the input, judge its first rows, and report."""
    token = find_token()
    source = resolve_source(
        args.input or args.dataset, config=args.config, split=args.split, revision=args.revision, token=token
    )
    report = describe_source(source)
    if args.dry_run:
        show(report | {"dry_run": True, "rows_to_read": args.samples}, args)
        return EXIT_DONE
    head = read_head(source, args.samples, token)
    if not head.rows:
        raise Stop(EXIT_INPUT, f"the split {source.split!r} of {source.given} has no rows", fix="name another --split")
    verdicts = inspect_rows(head.rows, head.features)
    show(report | describe_rows(head, verdicts, args.preview), args)
    return required(verdicts, args.require)


def required(verdicts: tuple[Verdict, ...], methods: list[str]) -> int:
    """Return 0, or stop with 4 at the first of `methods` that is not READY."""
    for verdict in verdicts:
        if verdict.method.lower() in methods and verdict.status != READY:
            fix = "apply the mapping code above" if verdict.mapping else "use another dataset or method"
            raise Stop(EXIT_INPUT, f"{verdict.method} is required and is {verdict.status}: {verdict.reason}", fix=fix)
    return EXIT_DONE


def describe_source(source: Source) -> dict[str, Any]:
    """Return what is known before any row is read."""
    return {
        "version": 1,
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


def describe_rows(head: Head, verdicts: tuple[Verdict, ...], preview: int) -> dict[str, Any]:
    """Return the columns and the verdicts as plain values. `rows` is null when counting would mean reading it all."""
    columns = profile_columns(head.rows, head.features).values()
    return {
        "rows": head.total,
        "rows_read": len(head.rows),
        "columns": [describe_column(column, preview) for column in columns],
        "methods": [
            {
                "method": verdict.method,
                "status": verdict.status,
                "reason": verdict.reason,
                "notes": list(verdict.notes),
                "rows": list(verdict.rows[:20]),
                "mapping": verdict.mapping,
            }
            for verdict in verdicts
        ],
    }


def describe_column(column: Column, preview: int) -> dict[str, Any]:
    """Return a column's name, what it holds, its gaps, and the beginning of its first value."""
    example = repr(next((value for value in column.values if value is not None), None))
    return {
        "name": column.name,
        "kind": column.kind,
        "type": column.type,
        "nulls": column.nulls,
        "empty": column.empty,
        "example": example if len(example) <= preview else f"{example[: preview - 1]}…",
    }


def show(report: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the report: JSON for programs, text for people."""
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    for line in source_lines(report) + row_lines(report):
        print(line)


def source_lines(report: dict[str, Any]) -> list[str]:
    """Return what was read, and what could have been instead."""
    pinned = f" at {report['commit'][:12]}" if report["commit"] else ""
    where = f"config {report['config']}, split {report['split']}"
    lines = [f"{one_line(report['dataset'])}{pinned}: {where}, {report['files']} {report['format']} file(s)"]
    for what in ("config", "split"):
        others = [name for name in report[f"{what}s"] if name != report[what]]
        if others:
            more = f" and {len(others) - 20} more" if len(others) > 20 else ""
            lines.append(f"  other {what}s (--{what}): {one_line(', '.join(others[:20]))}{more}")
    if report.get("dry_run"):
        lines.append(f"dry run: would read the first {report['rows_to_read']} rows; nothing was read")
    return lines


def row_lines(report: dict[str, Any]) -> list[str]:
    """Return the columns, the verdicts and the mapping code."""
    if "methods" not in report:
        return []
    counted = f"{report['rows']:,}" if report["rows"] is not None else "not counted"
    lines = [f"  rows: {counted}; judged on the first {report['rows_read']:,}", "", "COLUMNS"]
    columns = report["columns"]
    lines += [
        f"  {one_line(repr(column['name']))} ({column['kind']}) {column['example']}"
        for column in columns[:SHOWN_COLUMNS]
    ]
    if len(columns) > SHOWN_COLUMNS:
        lines.append(f"  and {len(columns) - SHOWN_COLUMNS} more (--json lists them)")
    lines += ["", "METHODS"]
    for verdict in report["methods"]:
        lines.append(f"  {verdict['method']:<7}{MARKS[verdict['status']]:<16} {one_line(verdict['reason'])}")
        lines += [f"{'':26}note: {one_line(text)}" for text in verdict["notes"]]
        if verdict["rows"]:
            lines.append(f"{'':26}rows (from 0): {', '.join(map(str, verdict['rows']))}")
    return lines + mapping_lines(report["methods"])


def mapping_lines(methods: list[dict[str, Any]]) -> list[str]:
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
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_Answer = TypeVar("_Answer")


def retry(call: Callable[[], _Answer], *, what: str) -> _Answer:
    """Return `call()`. `what` names the work in messages, e.g. "reading user/name"."""
    attempt = 0
    while True:
        attempt += 1
        try:
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
# --- block: source 1 (jobshelf) ---
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
    path = Path(given).expanduser()
    if given.startswith("hf://"):
        source = _from_hf_path(given, revision, token)
    elif path.exists() or not _REPO_ID.fullmatch(given):
        source = _from_local(given, path)
    else:
        source = _from_hub(given, given, "", revision, token)
    described, layout = source
    return _choose(described, layout, config, split, preferred_config)


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
    said = one_line(error)
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
        folder, files = path, tuple(sorted(item.relative_to(path).as_posix() for item in path.rglob("*.*")))
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
        stop = _refusal(error, repo_id, revision, token)
        if stop is None:
            raise
        raise stop from error
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
    files = _inside(given, names, inside) if inside else names
    data = _data_files(given, files)
    front_matter = {} if inside or info.card_data is None else info.card_data.to_dict()
    described = _described(given, repo_id, info.sha, None, data)
    return replace(described, private=bool(info.private)), _layout(data, front_matter)


def _refusal(error: Exception, repo_id: str, revision: str | None, token: str | None) -> Stop | None:
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
    return None


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
    default_split = next((name for name in splits if name.startswith("train")), next(iter(splits)))
    chosen_split = _pick("split", split, splits, default_split, source.given)
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


def _pick(what: str, asked: str | None, available: Iterable[str], default: str, given: str) -> str:
    names = list(available)
    if asked is None or asked in names:
        return asked or default
    close = difflib.get_close_matches(asked, names, n=1) or [default]
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    message = f"{given} has no {what} {asked!r}; it has: {listed}"
    raise Stop(EXIT_INPUT, message, fix=f"add --{what} {close[0]}")


# --- end block ---
# --- block: rows 1 (jobshelf) ---
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
    rest, number = "", 0
    for text in itertools.chain(texts, ["\n"]):
        *lines, rest = (rest + text).split("\n") if "\n" in text else ("", rest + text)
        for line in lines:
            number += 1
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
# --- block: formats 1 (jobshelf) ---
READY = "READY"
NEEDS_MAPPING = "NEEDS MAPPING"
INCOMPATIBLE = "INCOMPATIBLE"
METHODS = ("SFT", "DPO", "GRPO", "KTO", "Reward")

PROMPT_WORDS = ("prompt", "instruction", "question", "query", "problem", "input", "user", "request", "task", "turns")
RESPONSE_WORDS = ("completion", "response", "answer", "output", "solution", "target", "reply", "ground_truth", "gold")
CHOSEN_WORDS = ("chosen", "preferred", "accepted", "better", "positive")
REJECTED_WORDS = ("rejected", "dispreferred", "worse", "negative")
LABEL_WORDS = ("label", "is_correct", "correct", "desirable", "accepted", "thumbs_up", "feedback")
CHAT_WORDS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
TEXT_WORDS = ("text", "content", "document", "body", "article", "passage", "story", "code")
CONTEXT_WORDS = ("input", "context", "passage")
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
    "function_response": "tool",
    "observation": "tool",
}
CHATS = frozenset({"messages", "sharegpt", "json messages", "json sharegpt"})
TEXTS_OR_CHATS = CHATS | {"text"}


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
    table = profile_columns(rows, features)
    if not rows:
        return tuple(Verdict(method=method, status=INCOMPATIBLE, reason="there are no rows") for method in METHODS)
    judges = {"SFT": _sft, "DPO": _dpo, "GRPO": _grpo, "KTO": _kto, "Reward": _reward}
    return tuple(_with_image_note(judges[method](table), table) for method in METHODS)


def profile_columns(rows: Sequence[Mapping[str, Any]], features: Mapping[str, str] | None = None) -> Table:
    """Return each column by name, in the order of the file. A key that a row lacks is a null of that row."""
    names = dict.fromkeys([*(features or {}), *(name for row in rows for name in row)])
    return {name: _profile(name, [row.get(name) for row in rows], (features or {}).get(name, "")) for name in names}


def _profile(name: str, values: Sequence[Any], type_name: str) -> Column:
    kinds = [kind_of(value) for value in values]
    kind = _common_kind(Counter(item for item in kinds if item not in {"null", "empty list"}))
    chats = [_turns(value) for value, its in zip(values, kinds, strict=True) if its in CHATS]
    unusable = [
        number
        for number, (value, its) in enumerate(zip(values, kinds, strict=True))
        if its in {"null", "empty list"} or (its in CHATS and not _turns_have_content(_turns(value)))
    ]
    return Column(
        name=name,
        kind=kind,
        type=type_name or kind,
        nulls=kinds.count("null"),
        empty=sum(
            its == "empty list" or (its == "text" and not value.strip())
            for its, value in zip(kinds, values, strict=True)
        ),
        unusable=tuple(unusable),
        roles=frozenset(str(turn.get("role", turn.get("from"))) for turns in chats for turn in turns),
        values=tuple(values),
    )


def kind_of(value: object) -> str:
    """Return what `value` is to a trainer: text, messages, sharegpt, tokens, bool, int, struct ..."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, list | tuple):
        return _kind_of_list(value)
    if isinstance(value, Mapping):
        return "image" if value.keys() == {"bytes", "path"} else "struct"
    return type(value).__name__


def _kind_of_text(value: str) -> str:
    start = value.lstrip()[:2]
    if not start.startswith("[") or "{" not in value:
        return "text"
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return "text"
    inner = _kind_of_list(parsed) if isinstance(parsed, list) else "text"
    return f"json {inner}" if inner in {"messages", "sharegpt"} else "text"


def _kind_of_list(value: Sequence[Any]) -> str:
    items = [item for item in value if item is not None]
    if not items:
        return "empty list"
    if all(isinstance(item, Mapping) for item in items):
        if all("role" in item for item in items):
            return "messages"
        return "sharegpt" if all("from" in item and "value" in item for item in items) else "list of structs"
    names = {type(item).__name__ for item in items}
    return {"str": "texts", "bool": "bools", "int": "tokens"}.get(names.pop(), "list") if len(names) == 1 else "list"


def _common_kind(kinds: Counter[str]) -> str:
    if len(kinds) <= 1:
        return next(iter(kinds), "null")
    if kinds.keys() <= {"int", "float"}:
        return "float"
    if kinds.keys() <= {"text", "json messages", "json sharegpt"}:
        return "text"
    return "mixed"


def _turns(value: str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [turn for turn in (json.loads(value) if isinstance(value, str) else value) if turn is not None]


def _turns_have_content(turns: Iterable[Mapping[str, Any]]) -> bool:
    return all(
        turn.get("tool_calls") or isinstance(turn.get("content", turn.get("value")), str | list) for turn in turns
    )


# --- judges: one a method ---


def _sft(table: Table) -> Verdict:
    tokens = _column(table, "input_ids", {"tokens"})
    if tokens:
        return _accept("SFT", [tokens], f"{_held(tokens)}: already tokenised")
    ready = _sft_as_it_is(table) if "input_ids" not in table else None
    return ready or _sft_mapped(table) or _refuse("SFT", table, "messages, a text, or a prompt with its completion")


def _sft_as_it_is(table: Table) -> Verdict | None:
    if "prompt" in table:  # TRL then looks for a completion, whatever else there is
        prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
        if prompt and completion and prompt.kind == completion.kind and _roles_known(prompt, completion):
            return _accept("SFT", [prompt, completion], _held(prompt, completion))
        return None
    chat = _column(table, "conversations", {"sharegpt"}) or _column(table, "messages", {"messages"})
    if chat:
        return _accept("SFT", [chat], _held(chat), _chat_notes(chat)) if _roles_known(chat) else None
    text = _column(table, "text", {"text"})
    return _accept("SFT", [text], _held(text), _label_notes(table)) if text else None


def _sft_mapped(table: Table) -> Verdict | None:
    chat = _find(table, CHAT_WORDS, CHATS)
    if chat:
        return _map("SFT", [chat], {"messages": _as_chat(chat, "")}, f"{_held(chat)} {_chat_flaw(chat, table)}")
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt) or _find(
        table, CHOSEN_WORDS, TEXTS_OR_CHATS, prompt
    )
    if response and response.kind in CHATS and (prompt is None or _opens_with_user(response)):
        return _map("SFT", [response], {"messages": _as_chat(response, "")}, f"{_held(response)}: whole conversations")
    if prompt and response and prompt.kind == response.kind == "text" and _repeats_prompt(prompt, response):
        return _map(
            "SFT", [response], {"text": _at(response)}, f"{_held(response)} begins with {prompt.name!r}: plain text"
        )
    if prompt and response:
        fields = {"prompt": _as_prompt(table, prompt, response), "completion": _as_chat(response, "assistant")}
        return _map("SFT", [prompt, response], fields, f"{_held(prompt, response)}: a prompt and its completion")
    text = _find(table, TEXT_WORDS, {"text"})
    if text and prompt is None:
        reason = f"{_held(text)}: plain text" + (f"; the column {'prompt'!r} misleads TRL" if "prompt" in table else "")
        return _map("SFT", [text], {"text": _at(text)}, reason)
    return None


def _dpo(table: Table) -> Verdict:
    return _preference("DPO", table)


def _reward(table: Table) -> Verdict:
    return _preference("Reward", table)


def _preference(method: str, table: Table) -> Verdict:
    tokenised = [_column(table, name, {"tokens"}) for name in ("chosen_ids", "rejected_ids")]
    if method == "Reward" and all(tokenised):
        return _accept(
            method, [column for column in tokenised if column], "chosen_ids, rejected_ids: already tokenised"
        )
    verdict = _preference_as_it_is(method, table) or _preference_mapped(method, table) or _graded_pairs(method, table)
    return verdict or _refuse(method, table, "a chosen and a rejected answer")


def _preference_as_it_is(method: str, table: Table) -> Verdict | None:
    chosen, rejected = (_column(table, name, {"text", "messages"}) for name in ("chosen", "rejected"))
    if not chosen or not rejected or chosen.kind != rejected.kind or not _roles_known(chosen, rejected):
        return None
    notes = _pair_notes(chosen, rejected)
    if "prompt" in table:
        prompt = _column(table, "prompt", {chosen.kind})
        if prompt is None or not _roles_known(prompt) or _repeats_prompt(prompt, chosen):
            return None
        return _accept(method, [prompt, chosen, rejected], _held(prompt, chosen, rejected), notes)
    if method == "Reward":
        return _accept(method, [chosen, rejected], f"{_held(chosen, rejected)}, compared as a whole", notes)
    return _implicit_prompt(method, table, chosen, rejected, notes)


def _implicit_prompt(
    method: str, table: Table, chosen: Column, rejected: Column, notes: Sequence[str]
) -> Verdict | None:
    """TRL takes the common opening of both answers as the prompt; a pair without one breaks it."""
    apart = _apart(chosen, rejected)
    reason = f"{_held(chosen, rejected)}, the prompt is their common opening"
    if len(apart) == len(chosen.values) and (chosen.kind == "messages" or _find_prompt(table)):
        return None
    if chosen.kind == "text":
        empty = chosen.empty + rejected.empty
        notes = (*notes, f"{len(apart)} pairs open differently: their prompt will be empty") if apart else notes
        return (
            _accept(method, [chosen, rejected], reason, notes) if not empty else _without(method, apart, reason, notes)
        )
    return _without(method, apart, reason, notes) if apart else _accept(method, [chosen, rejected], reason, notes)


def _without(method: str, rows: Sequence[int], reason: str, notes: Sequence[str]) -> Verdict:
    """NEEDS MAPPING: the pairs that do not open alike are left out."""
    alike = 'bool(row["chosen"] and row["rejected"]) and row["chosen"][0] == row["rejected"][0]'
    return Verdict(
        method=method,
        status=NEEDS_MAPPING,
        reason=f"{reason}, but {len(rows)} pairs have none",
        notes=tuple(notes),
        rows=tuple(rows),
        mapping=f"dataset = dataset.filter(lambda row: {alike})\n",
    )


def _preference_mapped(method: str, table: Table) -> Verdict | None:
    chosen = _find(table, CHOSEN_WORDS, TEXTS_OR_CHATS)
    rejected = _find(table, REJECTED_WORDS, TEXTS_OR_CHATS)
    if chosen is None or rejected is None:
        return None
    prompt = _find_prompt(table, chosen, rejected)
    fields = {"chosen": _as_chat(chosen, "assistant"), "rejected": _as_chat(rejected, "assistant")}
    whole = chosen.kind in CHATS and rejected.kind in CHATS and _opens_with_user(chosen)
    if whole and (method == "Reward" or len(_apart(chosen, rejected)) < len(chosen.values)):
        return _map(method, [chosen, rejected], fields, f"{_held(chosen, rejected)}: conversations with their prompt")
    texts = chosen.kind == rejected.kind == "text"
    if texts and (prompt is None or (prompt.kind == "text" and _repeats_prompt(prompt, chosen))):
        plain = {"chosen": _at(chosen), "rejected": _at(rejected)}
        return _map(method, [chosen, rejected], plain, f"{_held(chosen, rejected)}: two answers that hold their prompt")
    if prompt is None and method == "Reward":
        return _map(method, [chosen, rejected], fields, f"{_held(chosen, rejected)}: a preferred and a worse answer")
    if prompt is None:
        return None
    fields = {"prompt": _as_prompt(table, prompt, chosen, rejected), **fields}
    return _map(method, [prompt, chosen, rejected], fields, f"{_held(prompt, chosen, rejected)}: a prompt, two answers")


def _kto(table: Table) -> Verdict:
    paired = _preference_as_it_is("KTO", table)
    if paired:
        return paired
    verdict = _kto_as_it_is(table) or _kto_mapped(table) or _preference_mapped("KTO", table) or _graded_rows(table)
    return verdict or _refuse("KTO", table, "a prompt, a completion and a true/false label")


def _kto_as_it_is(table: Table) -> Verdict | None:
    prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
    label = _column(table, "label", {"bool", "int"})
    preference = {"chosen", "rejected"} <= table.keys()
    if not prompt or not completion or not label or preference or not _is_binary(label):
        return None
    if prompt.kind != completion.kind or not _roles_known(prompt, completion):
        return None
    values = {bool(value) for value in label.values if value is not None}
    notes = () if len(values) == 2 else (f"every label is {values.pop()}: there is nothing to tell apart",)
    return _accept("KTO", [prompt, completion, label], _held(prompt, completion, label), notes)


def _kto_mapped(table: Table) -> Verdict | None:
    label = _find(table, LABEL_WORDS, {"bool", "int", "float"})
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt)
    if not label or not prompt or not response or not _is_binary(label):
        return None
    fields = {
        "prompt": _as_prompt(table, prompt, response),
        "completion": _as_chat(response, "assistant"),
        "label": f"bool({_at(label)})",
    }
    return _map("KTO", [prompt, response, label], fields, f"{_held(prompt, response, label)}: a judged answer")


def _grpo(table: Table) -> Verdict:
    prompt = _column(table, "prompt", {"text", "messages"})
    stepwise = "completions" in table and table["completions"].kind == "texts"
    if prompt and not stepwise and _roles_known(prompt) and not _ends_with_assistant(prompt):
        return _accept("GRPO", [prompt], _held(prompt), _reward_notes(table, prompt))
    return _grpo_mapped(table, stepwise=stepwise) or _refuse("GRPO", table, "a prompt")


def _grpo_mapped(table: Table, *, stepwise: bool) -> Verdict | None:
    prompt = _find_prompt(table) or _find(table, CHAT_WORDS, CHATS) or _find(table, CHOSEN_WORDS, CHATS)
    if prompt is None:
        return None
    if stepwise:
        reason = f"{_held(prompt)}, but the rows are for stepwise supervision (completions with a label a step)"
        return _map("GRPO", [prompt], {"prompt": _as_prompt(table, prompt)}, reason)
    chat = prompt.kind in CHATS
    fields = {"prompt": f"opening({_as_chat(prompt, '')})" if chat else _as_prompt(table, prompt)}
    reason = f"{_held(prompt)}" + (": the turns before the first answer are the prompt" if chat else ": the prompt")
    verdict = _map("GRPO", [prompt], fields, reason, keep=True, notes=_reward_notes(table, prompt))
    only_asked = "dataset = dataset.filter(lambda row: bool(row['prompt']))\n"
    return replace(verdict, mapping=f"{verdict.mapping}{only_asked}") if chat else verdict


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
    return Verdict(
        method=method,
        status=NEEDS_MAPPING,
        reason=_graded_reason(graded, "pairs of a right and a wrong one"),
        mapping=code,
    )


def _graded_rows(table: Table) -> Verdict | None:
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
    return Verdict(
        method="KTO", status=NEEDS_MAPPING, reason=_graded_reason(graded, "a labelled row each"), mapping=code
    )


def _graded_reason(graded: _Graded, use: str) -> str:
    return f"{_held(graded.prompt)} with {len(graded.answers)} answers marked by {graded.flag!r}: {use}"


def _flags(graded: _Graded, table: Table, row: int) -> list[bool]:
    answers = [table[name].values[row] for name in graded.answers]
    return [bool(answer[graded.flag]) for answer in answers if answer]


# --- verdicts ---


def _accept(method: str, columns: Sequence[Column], reason: str, notes: Sequence[str] = ()) -> Verdict:
    """READY, or NEEDS MAPPING when rows must be left out first."""
    bad = sorted({row for column in columns for row in column.unusable})
    notes = (*notes, *(f"{column.name!r} is empty in {column.empty} rows" for column in columns if column.empty))
    if not bad:
        return Verdict(method=method, status=READY, reason=reason, notes=tuple(notes))
    flawed = [column for column in columns if column.unusable]
    reason = f"{reason}, but {len(bad)} rows have no value in {', '.join(repr(column.name) for column in flawed)}"
    code = _filter(flawed)
    return Verdict(
        method=method, status=NEEDS_MAPPING, reason=reason, notes=tuple(notes), rows=tuple(bad), mapping=code
    )


def _map(
    method: str,
    columns: Sequence[Column],
    fields: Mapping[str, str],
    reason: str,
    *,
    keep: bool = False,
    notes: Sequence[str] = (),
) -> Verdict:
    """NEEDS MAPPING, with the code that builds `fields` (name -> expression over `row`) from `columns`."""
    bad = sorted({row for column in columns for row in column.unusable})
    flawed = [column for column in columns if column.unusable]
    body = "".join(f"        {name!r}: {expression},\n" for name, expression in fields.items())
    remove = "" if keep else ", remove_columns=dataset.column_names"
    code = f"def convert(row):\n    return {{\n{body}    }}\n\n\n"
    code = _helpers(code) + code + (_filter(flawed) if flawed else "") + f"dataset = dataset.map(convert{remove})\n"
    return Verdict(
        method=method, status=NEEDS_MAPPING, reason=reason, notes=tuple(notes), rows=tuple(bad), mapping=code
    )


def _refuse(method: str, table: Table, needed: str) -> Verdict:
    odd = [
        f"{name!r} holds {table[name].kind}"
        for name in ("prompt", "completion", "chosen", "rejected", "label")
        if name in table
    ]
    found = (
        ", ".join(odd) or "none of the columns " + ", ".join(repr(name) for name in list(table)[:8]) + " looks like it"
    )
    return Verdict(method=method, status=INCOMPATIBLE, reason=f"needs {needed}; {found}")


def _helpers(code: str) -> str:
    helpers = ""
    if "json.loads(" in code:
        helpers += "import json\n\n\n"
    if "chat(" in code:
        helpers += (
            f"ROLES = {ROLE_NAMES!r}\n\n\n"
            "def chat(turns):\n"
            '    pairs = [(turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))) for turn in turns]\n'
            '    return [{"role": ROLES.get(role, role), "content": content} for role, content in pairs]\n\n\n'
        )
    if "opening(" in code:
        helpers += (
            "def opening(turns):\n"
            '    first = next((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))\n'
            "    return turns[:first]\n\n\n"
        )
    return helpers


def _filter(columns: Iterable[Column]) -> str:
    tests = " and ".join(_usable_test(column) for column in columns)
    return f"dataset = dataset.filter(lambda row: {tests})\n"


def _usable_test(column: Column) -> str:
    if column.kind not in CHATS:
        return f"{_at(column)} is not None" if column.kind not in {"texts", "tokens"} else f"bool({_at(column)})"
    turns = f"json.loads({_at(column)})" if column.kind.startswith("json") else _at(column)
    content = 'turn.get("tool_calls") or turn.get("content", turn.get("value")) is not None'
    return f"bool({_at(column)}) and all({content} for turn in {turns})"


# --- expressions over `row` ---


def _at(column: Column) -> str:
    return f"row[{column.name!r}]"


def _as_chat(column: Column, role: str) -> str:
    """Return an expression for a list of messages; plain text becomes one message of `role`."""
    if column.kind == "text":
        return f'[{{"role": "{role}", "content": {_at(column)}}}]'
    if column.kind == "texts":
        return f'[{{"role": "{role}", "content": {_at(column)}[0]}}]'
    turns = f"json.loads({_at(column)})" if column.kind.startswith("json") else _at(column)
    renamed = column.kind.endswith("sharegpt") or bool(column.roles & ROLE_NAMES.keys())
    return f"chat({turns})" if renamed else turns


def _as_prompt(table: Table, prompt: Column, *others: Column) -> str:
    """Return an expression for the prompt's messages; an instruction takes its separate input or context along."""
    context = _find(table, CONTEXT_WORDS, {"text"}, prompt, *others)
    if prompt.kind != "text" or context is None:
        return _as_chat(prompt, "user")
    joined = f'"\\n\\n".join(part for part in ({_at(prompt)}, {_at(context)}) if part)'
    return f'[{{"role": "user", "content": {joined}}}]'


# --- finding columns ---


def _column(table: Table, name: str, kinds: Iterable[str]) -> Column | None:
    column = table.get(name)
    return column if column is not None and column.kind in kinds else None


def _find_prompt(table: Table, *taken: Column | None) -> Column | None:
    return _find(table, PROMPT_WORDS, {"text", "messages", "sharegpt", "texts"}, *taken)


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


def _roles_known(*columns: Column) -> bool:
    return not any(column.roles & ROLE_NAMES.keys() for column in columns)


def _chat_flaw(column: Column, table: Table) -> str:
    foreign = sorted(column.roles & ROLE_NAMES.keys())
    if column.kind.startswith("json"):
        return "as JSON text: it must be decoded"
    if foreign:
        return f"with the roles {', '.join(map(repr, foreign))}: TRL keeps them, chat templates do not know them"
    if "prompt" in table or "input_ids" in table:
        return f"beside a column {'prompt' if 'prompt' in table else 'input_ids'!r} that TRL would take instead"
    return "under another name or form than TRL's"


def _opens_with_user(column: Column) -> bool:
    firsts = [_turns(value)[0] for value in column.values if value]
    return any(
        ROLE_NAMES.get(role, role) in {"user", "system"} for role in (t.get("role", t.get("from")) for t in firsts)
    )


def _ends_with_assistant(column: Column) -> bool:
    return column.kind == "messages" and any(value[-1].get("role") == "assistant" for value in column.values if value)


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
    chats = [[turn.get("role", turn.get("from")) for turn in _turns(value)] for value in column.values if value]
    checks: dict[str, Callable[[list[str]], bool]] = {
        "have no assistant turn to learn from": lambda roles: "assistant" not in roles,
        "have two user or two assistant turns in a row": lambda roles: any(
            a == b and a in {"user", "assistant"} for a, b in itertools.pairwise(roles)
        ),
    }
    unknown = sorted(column.roles - KNOWN_ROLES)
    notes = [f"roles that chat templates may refuse: {', '.join(map(repr, unknown))}"] if unknown else []
    counts = {what: sum(map(check, chats)) for what, check in checks.items()}
    return (*notes, *(f"{count} of {len(chats)} conversations {what}" for what, count in counts.items() if count))


def _label_notes(table: Table) -> tuple[str, ...]:
    label = next((table[name] for name in ("label", "labels") if name in table), None)
    if label is None or label.kind not in {"int", "text", "bool"}:
        return ()
    return (
        f"{label.name!r} ({label.kind}) beside the text: this looks like a classification set, TRL ignores the label",
    )


def _reward_notes(table: Table, prompt: Column) -> tuple[str, ...]:
    passed = [name for name in table if name not in {prompt.name, "prompt", "completion", "completions"}]
    if not passed:
        return ("no other column: reward functions see the prompt and the completion only",)
    return (f"reward functions also get: {', '.join(map(repr, passed[:8]))}",)


def _with_image_note(verdict: Verdict, table: Table) -> Verdict:
    images = [name for name in ("image", "images") if name in table]
    if not images or verdict.status == INCOMPATIBLE:
        return verdict
    note = f"{images[0]!r} is there: only a vision-language model can train on it"
    return replace(verdict, notes=(*verdict.notes, note))


# --- end block ---

if __name__ == "__main__":
    raise SystemExit(main())
