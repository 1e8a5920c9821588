# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
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
# timeout = "10m"
#
# [tool.jobshelf]
# version = "0.3.0"
# title = "Dataset inspector"
# task = "data-validation"
# tags = ["dataset", "trl", "sft", "dpo", "grpo", "kto", "reward", "rloo"]
# inputs = ["dataset"]
# outputs = []
# persists = "none"
# token = "none"
# license = "Apache-2.0"
# aliases = ["dataset-inspector"]
# status = "stable"
# rehearse = ["{input}", "--json"]
# ///
"""Say which TRL methods a dataset can feed (SFT, DPO, GRPO, KTO, Reward, RLOO), and how to map it.

Reads one split of a Hub dataset or of local files (parquet, jsonl, json, csv, tsv, arrow; .gz and .zst too); writes
nothing but the cache of `datasets`. Run it before you rent a GPU.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py openai/gsm8k
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py ./chats.json --require sft
    hf jobs uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py openai/gsm8k

Of a public dataset, the dataset viewer shows the first 100 rows in seconds. Anything else is read whole, as the
trainers read it, and judged on 10,000 rows spread evenly. Private and gated datasets need a token (HF_TOKEN).

Exit codes: 0 done; 2 usage; 3 token; 4 input data, or a method of --require is not READY; 5 network or machine.
"""

from __future__ import annotations

import argparse
import csv
import glob
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

REPORT_VERSION = 2
SAMPLES = 10_000  # rows to judge where all of them are read
VIEWER_ROWS = 100  # the most that the viewer gives in one answer
VIEWER_TIMEOUT_S = 10
SHOWN = 20  # rows named as evidence
READY, NEEDS_MAPPING, INCOMPATIBLE = "READY", "NEEDS MAPPING", "INCOMPATIBLE"

PROMPT_WORDS = ("prompt", "instruction", "question", "query", "problem", "input", "user", "request", "task", "turns")
RESPONSE_WORDS = ("completion", "response", "answer", "output", "solution", "target", "reply", "ground_truth", "gold")
CHOSEN_WORDS = ("chosen", "preferred", "accepted", "better", "positive")
REJECTED_WORDS = ("rejected", "dispreferred", "worse", "negative")
LABEL_WORDS = ("label", "is_correct", "correct", "desirable", "accepted", "thumbs_up", "feedback")
CHAT_WORDS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
TEXT_WORDS = ("text", "content", "document", "body", "article", "passage", "story", "code")
CONTEXT_WORDS = ("input", "context", "passage")
SYSTEM_WORDS = ("system", "system_prompt", "system_message")
# Names with these words hold something about the data: prompt_id, chosen_rating, answer_length.
ASIDE_WORDS = {
    *("id", "ids", "idx", "index", "hash", "uuid", "type", "lang", "language", "category", "source", "model", "url"),
    *("date", "time", "timestamp", "len", "length", "num", "count", "rating", "score", "name", "format", "mask"),
    *("tokens", "embedding"),
}
GOOD_WORDS = {"true", "yes", "1", "good", "correct", "right", "positive"}
BAD_WORDS = {"false", "no", "0", "bad", "incorrect", "wrong", "negative"}
KNOWN_ROLES = {"system", "developer", "user", "assistant", "tool"}
ROLES = dict.fromkeys(("human", "prompter"), "user")
ROLES |= dict.fromkeys(("gpt", "chatgpt", "bot", "chatbot", "ai", "model", "function_call"), "assistant")
ROLES |= dict.fromkeys(("function_response", "observation"), "tool")
ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text")
Found = tuple[dict[int, dict[str, Any]], dict[str, Any]]  # rows by their number, and what is known of the split
Turn = Mapping[str, Any]
CHATS = {"messages", "sharegpt", "turns", "json messages", "json sharegpt", "json turns"}
ANSWERS = {*CHATS, "text"}
PLAIN = {"text", "messages"}  # what TRL takes as it is
NOTHING = {"null", "empty list"}
IMAGES = {"image", "images"}
NUMBERS = {"int", "float", "bool"}
METHODS = {
    "SFT": "messages, a text, or a prompt with its completion",
    "DPO": "a chosen and a rejected answer",
    "GRPO": "a prompt",
    "KTO": "a prompt, a completion and a true/false label",
    "Reward": "a chosen and a rejected answer",
    "RLOO": "a prompt",
}
CHAT = """
def chat(turns):
    messages = []
    for turn in turns or []:
        said = {key: value for key, value in (turn or {}).items() if value is not None}
        role = said.get("role", said.get("from", said.get("speaker")))
        content = said.get("content", said.get("value", said.get("text")))
        if not isinstance(role, str) or (content is None and not said.get("tool_calls")):
            return []
        if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            content = "".join(part["text"] for part in content)
        rest = {key: turn[key] for key in turn if key not in ("from", "speaker", "value", "text")}
        messages.append({**rest, "role": ROLES.get(role, role), "content": content})
    return messages
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="dataset_inspector.py", description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("input", nargs="?", metavar="INPUT", help="Hub dataset (user/name), local file or folder")
    add("--dataset", metavar="D", help="the same as INPUT")
    add("--config", metavar="NAME", help="configuration of the dataset")
    add("--split", default="train", metavar="NAME", help="split to read (default: %(default)s)")
    add("--samples", "--max-samples", type=int, metavar="N", help="judge N rows, and read them all for that")
    methods = [method.lower() for method in METHODS]
    add("--require", action="append", default=[], choices=methods, help="exit with 4 unless this method is READY")
    add("--json", "--json-output", action="store_true", help="print one JSON object and nothing else")
    args = parser.parse_intermixed_args(argv)
    if bool(args.input) == bool(args.dataset):
        parser.error("name one input: INPUT, or --dataset D")
    if args.samples is not None and args.samples < 1:
        parser.error("--samples is at least 1")
    args.input = args.input or args.dataset
    if not Path(args.input).expanduser().exists() and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", args.input):
        stop(4, f"found no file or folder {args.input!r}", "check the path; a Hub dataset is user/name")
    rows, found = viewer_rows(args) or all_rows(args)
    if not rows:
        stop(4, f"the split {args.split!r} of {args.input} has no rows", "name another --split, or another dataset")
    report = describe(args, rows, found)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    print(json.dumps(report, indent=2) if args.json else "\n".join(report_lines(report)))
    for verdict in report["methods"]:
        if verdict["method"].lower() in args.require and verdict["status"] != READY:
            fix = "run the code under MAPPING CODE, and use the file that it writes"
            found = f"{verdict['method']} is required and is {verdict['status']}: {verdict['reason']}"
            stop(4, found, fix if verdict["mapping"] else "use another dataset or method")
    return 0


def viewer_rows(args: argparse.Namespace) -> Found | None:
    """Return the first rows of a public Hub dataset; None when the dataset viewer does not have them."""
    if Path(args.input).expanduser().exists() or args.samples or not re.fullmatch(r"[\w.-]+", args.split):
        return None
    import httpx2

    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    base = "https://datasets-server.huggingface.co" if hub == "https://huggingface.co" else hub
    try:
        with httpx2.Client(base_url=base, timeout=VIEWER_TIMEOUT_S) as client:

            def ask(url: str, **query: str | int) -> httpx2.Response:
                return client.get(url, params=query).raise_for_status()

            splits = ask("/splits", dataset=args.input)
            pairs = [(item["config"], item["split"]) for item in splits.json()["splits"]]
            configs = list(dict(pairs))
            config = args.config or ("default" if "default" in configs else configs[0])
            if not args.config and len(configs) > 1 and config != "default":
                card = ask(f"{hub}/api/datasets/{args.input}").json().get("cardData") or {}
                defaults = [item["config_name"] for item in card.get("configs") or [] if item.get("default")]
                config = (defaults or configs)[0]
            if (config, args.split) not in pairs:
                near = min(pairs, key=lambda pair: (pair[0] != config) + (pair[1] != args.split))
                there = ", ".join(map("/".join, pairs))
                missing = f"{args.input} has no split {args.split!r} of a config {config!r}; it has: {there}"
                stop(4, missing, "add --config {} --split {}".format(*near))
            where = {"dataset": args.input, "config": config, "split": args.split}
            page, commit = ask("/rows", **where, offset=0, length=VIEWER_ROWS).json(), splits.headers.get("X-Revision")
            if any(item["truncated_cells"] for item in page["rows"]):
                raise ValueError("its values are shortened")
            total = None if page.get("partial") else page["num_rows_total"]
            code = loading_code(args.input, config, split=args.split, revision=commit)
            found = {"read": "viewer", "commit": commit, "config": config, "rows": total, "load": code}
            return {number: dict(item["row"]) for number, item in enumerate(page["rows"])}, found
    except (httpx2.HTTPError, LookupError, TypeError, ValueError, AttributeError) as error:
        print(f"note: nothing from the dataset viewer ({one_line(error)}): reading all rows", file=sys.stderr)
        return None


def all_rows(args: argparse.Namespace) -> Found:
    """Return rows of the whole split, spread evenly, as the trainers read them."""
    from unittest.mock import patch

    import datasets

    datasets.disable_progress_bars()
    try:
        with patch.object(datasets, "load_dataset", wraps=datasets.load_dataset) as load:  # to print the call
            rows, commit, _ = read_rows(args.input, args.config, args.split)
        count = min(len(rows), args.samples or SAMPLES)
        numbers = [number * len(rows) // count for number in range(count)]
        taken = list(rows.select(numbers).cast(datasets.Features(undecoded(rows.features))))
    except ConnectionError as error:
        stop(5, f"cannot read {args.input}: {error}", "check the network and HF_ENDPOINT, then run this again")
    except UnicodeDecodeError as error:
        stop(4, f"cannot read {args.input}: {error}", "save its text as UTF-8")
    code = loading_code(*load.call_args.args, **load.call_args.kwargs)
    found = {"read": "files", "commit": commit, "config": args.config, "rows": len(rows), "load": code}
    return dict(zip(numbers, taken, strict=True)), found


def loading_code(source: str, config: str | None = None, **options: Any) -> str:
    """Return code that loads the rows as they were judged."""
    types = {"features": f"Features({options.pop('features')!r})"} if "features" in options else {}
    given = types | {name: repr(value) for name, value in options.items()}
    words = [repr(word) for word in (source, config) if word] + [f"{name}={value}" for name, value in given.items()]
    names = "Features, Value, load_dataset" if types else "load_dataset"
    return f"from datasets import {names}\n\ndataset = load_dataset({', '.join(words)})\n\n\n"


def undecoded(feature: Any) -> Any:
    """Return the feature with images and other media as they are stored."""
    if isinstance(feature, dict):
        return {name: undecoded(inner) for name, inner in feature.items()}
    if hasattr(feature, "feature"):
        return replace(feature, feature=undecoded(feature.feature))
    is_media = hasattr(feature, "decode") and type(feature).__name__ != "Json"
    return replace(feature, decode=False) if is_media else feature


# --- the report ---


def describe(args: argparse.Namespace, rows: Mapping[int, Mapping[str, Any]], found: dict[str, Any]) -> dict[str, Any]:
    """Return the report as plain values."""
    names, numbers = dict.fromkeys(name for row in rows.values() for name in row), list(rows)
    columns = [profile(name, [row.get(name) for row in rows.values()]) for name in names]
    verdicts = [asdict(verdict) for verdict in judge(columns)]
    return {
        "version": REPORT_VERSION,
        "dataset": args.input,
        "split": args.split,
        **found,
        "rows_read": len(rows),
        "columns": [describe_column(column) for column in columns],
        "methods": [item | {"rows": [numbers[row] for row in item["rows"][:SHOWN]]} for item in verdicts],
    }


def describe_column(column: Column) -> dict[str, Any]:
    """Return a column's name, what it holds, its gaps, and the beginning of its first value."""
    value = next((value for value in column.values if value is not None), None)
    text = repr(value[:61] if isinstance(value, str | bytes) else value)
    kept = {name: getattr(column, name) for name in ("name", "kind", "nulls", "empty")}
    return kept | {"example": text if len(text) <= 60 else f"{text[:59]}…"}


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report for people: what was read, the columns, the verdicts and the code."""
    counted = f"{report['rows']:,}" if report["rows"] is not None else "not counted"
    where = f"{report['dataset']} at {str(report['commit'])[:12]}: split {report['split']}, from the {report['read']}"
    lines = [one_line(where), f"  rows: {counted}; judged on {report['rows_read']:,}", "", "COLUMNS"]
    for column in report["columns"]:
        lines.append(f"  {one_line(repr(column['name']))} ({column['kind']}) {one_line(column['example'])}")
    lines += ["", "METHODS"]
    for verdict in report["methods"]:
        status = f"{'✓' if verdict['status'] == READY else '✗'} {verdict['status']}"
        lines.append(f"  {verdict['method']:<8}{status:<16} {one_line(verdict['reason'])}")
        lines += [f"{'':27}note: {one_line(text)}" for text in verdict["notes"]]
        if verdict["rows"]:
            lines.append(f"{'':27}rows (from 0): {', '.join(map(str, verdict['rows']))}")
    return lines + code_lines(report)


def code_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the mapping code, once for methods that share it; each piece loads, maps and saves."""
    shared: dict[str, list[str]] = {}
    for verdict in report["methods"]:
        if verdict["mapping"]:
            shared.setdefault(verdict["mapping"], []).append(verdict["method"])
    lines = ["", "MAPPING CODE" if shared else "MAPPING CODE: none, since no method needs it or no mapping would help"]
    for code, methods in shared.items():
        file = f"mapped-{methods[0].lower()}.parquet"
        whole = f"{report['load']}{code}dataset.to_parquet({file!r})"
        lines += ["", f"# --- {', '.join(methods)} ---", *whole.split("\n")]
    return lines


def one_line(text: object) -> str:
    """Return `text` on one line, without control characters."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in " ".join(str(text).split()))


# --- columns, as their values show them ---


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One column. `unusable` are the rows whose value no trainer can take, `chats` the turns of each conversation."""

    name: str
    kind: str
    nulls: int
    empty: int
    unusable: tuple[int, ...]
    values: Sequence[Any]
    chats: Sequence[list[Turn]]
    roles: frozenset[str]
    in_parts: bool

    @property
    def at(self) -> str:
        """The value in the printed code: names reach it through repr() only."""
        return f"row[{self.name!r}]"

    @property
    def turns(self) -> str:
        return f"json.loads({self.at} or '[]')" if self.kind.startswith("json") else self.at


def profile(name: str, values: Sequence[Any]) -> Column:
    """Return the column that holds these values."""
    kinds = [kind_of(value) for value in values]
    raw = [turns_of(value) if kind in CHATS else [] for value, kind in zip(values, kinds, strict=True)]
    turns = [turn for chat in raw for turn in chat if turn]
    pairs = enumerate(zip(kinds, raw, strict=True))
    unusable = [row for row, (kind, chat) in pairs if kind in NOTHING or not all(map(is_whole, chat))]
    return Column(
        name=name,
        kind=common_kind(set(kinds) - NOTHING),
        nulls=kinds.count("null"),
        empty=sum(value == [] or (isinstance(value, str) and not value.strip()) for value in values),
        unusable=tuple(unusable),
        values=values,
        chats=[[turn for turn in chat if turn] for chat in raw],
        roles=frozenset(role_of(turn) for turn in turns if isinstance(said(turn, ROLE_KEYS), str)),
        in_parts=any(is_text_in_parts(said(turn, CONTENT_KEYS)) for turn in turns),
    )


def kind_of(value: object) -> str:
    """Return what `value` is to a trainer: text, messages, sharegpt, tokens, bool, int, image, struct ..."""
    if value is None:
        return "null"
    if isinstance(value, str):
        inner = kind_of(decoded_list(value))
        return f"json {inner}" if inner in CHATS else "text"
    if isinstance(value, Mapping):
        return "image" if is_image(value) else "struct"
    if not isinstance(value, list | tuple):
        return type(value).__name__
    items = [item for item in value if item is not None]
    if not items:
        return "empty list"
    if all(isinstance(item, Mapping) for item in items):
        return kind_of_structs(items)
    names = {type(item).__name__ for item in items}
    return {"str": "texts", "int": "tokens"}.get(names.pop(), "list") if len(names) == 1 else "list"


def kind_of_structs(items: Sequence[Turn]) -> str:
    """Return what a list of structs is: a conversation in one of three forms, images, or none of these."""
    if all("role" in item for item in items) and any("content" in item or "tool_calls" in item for item in items):
        return "messages"
    if all("from" in item and "value" in item for item in items):
        return "sharegpt"
    if all(any(key in item for key in ROLE_KEYS) and any(key in item for key in CONTENT_KEYS) for item in items):
        return "turns"
    return "images" if all(map(is_image, items)) else "list of structs"


def common_kind(kinds: set[str]) -> str:
    """Return the kind of a column whose values are of these kinds."""
    if len(kinds) <= 1:
        return next(iter(kinds), "null")
    if kinds <= {"int", "float"}:
        return "float"
    return "text" if all(kind == "text" or kind.startswith("json") for kind in kinds) else "mixed"


def turns_of(value: Any) -> list[Turn | None]:
    return json.loads(value) if isinstance(value, str) else value


def decoded_list(text: str) -> object:
    """Return the list that JSON text holds; None when it holds none."""
    try:
        value = json.loads(text) if text.lstrip()[:1] == "[" else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def is_image(value: Mapping[str, Any]) -> bool:
    """Whether this is an image, as a file stores it or as the dataset viewer shows it."""
    return value.keys() == {"bytes", "path"} or {"src", "height", "width"} <= value.keys()


def is_whole(turn: Turn | None) -> bool:
    """Whether a turn has a role and something to say."""
    if not turn or not isinstance(said(turn, ROLE_KEYS), str):
        return False
    return bool(turn.get("tool_calls")) or isinstance(said(turn, CONTENT_KEYS), str | list)


def is_text_in_parts(content: object) -> bool:
    """Whether a content is a list of nothing but texts."""
    return isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content)


def said(turn: Turn, keys: Sequence[str]) -> Any:
    """Return the value of the first of `keys` that has one."""
    return next((turn[key] for key in keys if turn.get(key) is not None), None)


# --- verdicts ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one method makes of the rows. `rows` are the numbers (from 0) of rows that show the reason."""

    method: str = ""
    status: str
    reason: str
    notes: Sequence[str] = ()
    rows: Sequence[int] = ()
    mapping: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns by name, as one method sees them."""

    method: str
    columns: Mapping[str, Column]
    count: int

    def exact(self, kinds: Iterable[str], *names: str) -> list[Column]:
        """Return the columns of these names if all are there and of one of `kinds`, else nothing."""
        found = [self.columns[name] for name in names if name in self.columns and self.columns[name].kind in kinds]
        return found if len(found) == len(names) else []

    def find(self, words: Sequence[str], kinds: Iterable[str], *taken: Column | None) -> Column | None:
        """Return the column of one of `kinds` whose name fits `words` best."""
        free = [column for column in self.columns.values() if column.kind in kinds and column not in taken]
        ranked = [(rank, column) for column in free if (rank := fit(column.name, words)) is not None]
        return min(ranked, key=lambda item: item[0])[1] if ranked else None

    def find_prompt(self, *taken: Column | None) -> Column | None:
        return self.find(PROMPT_WORDS, {*CHATS, "text", "texts"}, *taken)

    @property
    def has_images(self) -> bool:
        return any(fits(self.columns[name]) for name in IMAGES & self.columns.keys())

    def takes(self, columns: Sequence[Column]) -> bool:
        """Whether TRL takes these as they are: of one kind, in a form that templates know, text without images."""
        kinds = {column.kind for column in columns}
        known = all(column.roles <= KNOWN_ROLES and (self.has_images or not column.in_parts) for column in columns)
        return len(kinds) == 1 and known and not (kinds == {"text"} and self.has_images)


def judge(columns: Sequence[Column]) -> list[Verdict]:
    """Return one verdict a method, in the order of METHODS. The rules are those of the trainers of TRL 1.16."""
    judges = {"SFT": judge_sft, "DPO": judge_pairs, "Reward": judge_pairs}
    judges |= {"KTO": judge_kto, "GRPO": judge_prompts, "RLOO": judge_prompts}
    verdicts = []
    for method, needed in METHODS.items():
        table = Table(method=method, columns={column.name: column for column in columns}, count=len(columns[0].values))
        reason = f"needs {needed}; there is {held(*columns[:SHOWN])}"
        verdict = judges[method](table) or Verdict(status=INCOMPATIBLE, reason=reason)
        only = ["there are images: only a vision-language model can train on them"] if table.has_images else []
        notes = [*verdict.notes, *(only if verdict.status != INCOMPATIBLE else [])]
        verdicts.append(replace(verdict, method=method, notes=notes))
    return verdicts


def accept(table: Table, columns: Sequence[Column], detail: str = "", notes: Sequence[str] = ()) -> Verdict | None:
    """READY; NEEDS MAPPING when rows or columns must go first; None when no row would be left."""
    flawed = [column for column in columns if column.unusable]
    bad = sorted({row for column in flawed for row in column.unusable})
    if len(bad) == table.count:
        return None
    misread = misread_columns(table, columns)
    reason = held(*columns) + detail
    if not flawed and not misread:
        return Verdict(status=READY, reason=reason, notes=notes)
    if flawed:
        reason += f", but {len(bad)} rows have no value in {', '.join(repr(column.name) for column in flawed)}"
    reason += "".join(f"; {name!r} {why}" for name, why in misread.items())
    code = filter_code(flawed) + removal_code(misread)
    code = helper_code(code, columns) + code
    return Verdict(status=NEEDS_MAPPING, reason=reason, notes=notes, rows=bad, mapping=code)


def convert(
    table: Table,
    columns: Sequence[Column],
    fields: Mapping[str, str],
    reason: str,
    *,
    keep: bool = False,
    unasked: Sequence[int] = (),
) -> Verdict | None:
    """NEEDS MAPPING, with the code that builds `fields` (name -> expression over `row`); None when no row is left.

    `keep` keeps the other columns; the prompts of the rows `unasked` come out empty, and these rows go.
    """
    flawed = [column for column in columns if column.unusable]
    bad = sorted({row for column in flawed for row in column.unusable} | set(unasked))
    if len(bad) == table.count:
        return None
    carried = [] if keep or "text" in fields else carried_columns(table)
    body = "".join(
        f"        {name!r}: {code},\n" for name, code in [*fields.items(), *((c.name, c.at) for c in carried)]
    )
    remove = "" if keep else ", remove_columns=dataset.column_names"
    code = f"def convert(row):\n    return {{\n{body}    }}\n\n\n{filter_code(flawed)}"
    code += f"dataset = dataset.map(convert{remove})\n"
    code += "dataset = dataset.filter(lambda row: bool(row['prompt']))\n" if unasked else ""
    misread = [name for name in misread_columns(table, columns) if name not in fields] if keep else []
    code = helper_code(code, columns) + code + removal_code(misread)
    return Verdict(status=NEEDS_MAPPING, reason=reason, rows=bad, mapping=code)


# --- SFT ---


def judge_sft(table: Table) -> Verdict | None:
    tokens = table.exact({"tokens"}, "input_ids")
    return (accept(table, tokens) if tokens else None) or sft_as_it_is(table) or sft_mapped(table)


def sft_as_it_is(table: Table) -> Verdict | None:
    if "prompt" in table.columns:  # TRL then looks for a completion, whatever else there is
        pair = table.exact(PLAIN, "prompt", "completion")
        return accept(table, pair) if pair and table.takes(pair) else None
    chat = table.exact({"sharegpt"}, "conversations") or table.exact({"messages"}, "messages")
    if chat:
        return accept(table, chat) if table.takes(chat) else None
    text = table.exact({"text"}, "text")
    return accept(table, text) if text else None


def sft_mapped(table: Table) -> Verdict | None:
    chat, prompt = table.find(CHAT_WORDS, CHATS), table.find_prompt()
    response = table.find(RESPONSE_WORDS, ANSWERS, prompt) or table.find(CHOSEN_WORDS, ANSWERS, prompt)
    if not chat and response and response.kind in CHATS and (prompt is None or opens_with_user(response)):
        chat = response
    if chat:
        fields = {"messages": as_prompt(table, chat)}
        return convert(table, [chat], fields, f"{held(chat)} {chat_flaw(table, chat)}")
    if prompt and response and prompt.kind == response.kind == "text" and repeats_prompt(prompt, response):
        reason = f"{held(response)} begins with {prompt.name!r}: plain text"
        return convert(table, [response], {"text": response.at}, reason)
    if prompt and response:
        fields = {"prompt": as_prompt(table, prompt, response), "completion": as_chat(response, "assistant")}
        return convert(table, [prompt, response], fields, f"{held(prompt, response)}: a prompt and its completion")
    text = table.find(TEXT_WORDS, {"text"})
    return convert(table, [text], {"text": text.at}, f"{held(text)}: plain text") if text and not prompt else None


# --- DPO and Reward, and what KTO takes from them ---


def judge_pairs(table: Table) -> Verdict | None:
    for names in (("chosen_ids", "rejected_ids"), ("chosen_input_ids", "rejected_input_ids")):
        tokens = table.exact({"tokens"}, *names) if table.method == "Reward" else []
        if tokens and (verdict := accept(table, tokens)):
            return verdict
    return pairs_as_they_are(table) or pairs_mapped(table)


def pairs_as_they_are(table: Table) -> Verdict | None:
    pair = table.exact(PLAIN, "chosen", "rejected")
    if not pair or not table.takes(pair):
        return None
    same = sum(bool(c) and c == r for c, r in zip(pair[0].values, pair[1].values, strict=True))
    notes = [f"chosen equals rejected in {same} rows: no signal there"] if same else []
    if "prompt" in table.columns:
        prompt = table.exact({pair[0].kind}, "prompt")
        taken = prompt and table.takes(prompt) and not repeats_prompt(prompt[0], pair[0])
        return accept(table, [*prompt, *pair], notes=notes) if taken else None
    if table.method == "Reward":
        return accept(table, pair, notes=notes)
    return implicit_prompt(table, pair, notes)


def implicit_prompt(table: Table, pair: Sequence[Column], notes: Sequence[str]) -> Verdict | None:
    """Judge pairs whose prompt is their common opening; one without it breaks TRL, an empty text too."""
    apart, detail = rows_apart(*pair), ", the prompt is their common opening"
    breaks = pair[0].kind == "messages" or bool(pair[0].empty + pair[1].empty)
    if len(apart) == table.count and (breaks or table.find_prompt()):
        return None
    if apart and breaks:  # a pair of which one side is missing is apart as well
        alike = 'bool(row["chosen"] and row["rejected"]) and row["chosen"][0] == row["rejected"][0]'
        code = f"dataset = dataset.filter(lambda row: {alike})\n{removal_code(misread_columns(table, pair))}"
        reason = f"{held(*pair)}{detail}, but {len(apart)} pairs have none"
        return Verdict(status=NEEDS_MAPPING, reason=reason, notes=notes, rows=apart, mapping=code)
    notes = [*notes, f"{len(apart)} pairs open differently: their prompt will be empty"] if apart else notes
    return accept(table, pair, detail, notes)


def pairs_mapped(table: Table) -> Verdict | None:
    chosen, rejected = (table.find(words, ANSWERS) for words in (CHOSEN_WORDS, REJECTED_WORDS))
    if chosen is None or rejected is None:
        return None
    pair, both, is_reward = [chosen, rejected], held(chosen, rejected), table.method == "Reward"
    prompt = table.find_prompt(*pair)
    fields = {"chosen": as_chat(chosen, "assistant"), "rejected": as_chat(rejected, "assistant")}
    whole = chosen.kind in CHATS and rejected.kind in CHATS and opens_with_user(chosen)
    if whole and (is_reward or len(rows_apart(*pair)) < table.count):
        return convert(table, pair, fields, f"{both}: conversations with their prompt")
    texts = chosen.kind == rejected.kind == "text"
    if texts and (prompt is None or (prompt.kind == "text" and repeats_prompt(prompt, chosen))):
        plain = {"chosen": chosen.at, "rejected": rejected.at}
        usable = is_reward or not chosen.empty + rejected.empty
        return convert(table, pair, plain, f"{both}: two answers that hold their prompt") if usable else None
    if prompt is None:
        return convert(table, pair, fields, f"{both}: a preferred and a worse answer") if is_reward else None
    fields = {"prompt": as_prompt(table, prompt, *pair), **fields}
    return convert(table, [prompt, *pair], fields, f"{held(prompt)}, {both}: a prompt and two answers")


def judge_kto(table: Table) -> Verdict | None:
    verdict = kto_as_it_is(table) or kto_mapped(table)
    if table.has_images:  # TRL takes pairs apart only when they are text
        return verdict
    return pairs_as_they_are(table) or verdict or pairs_mapped(table)


def kto_as_it_is(table: Table) -> Verdict | None:
    pair, label = table.exact(PLAIN, "prompt", "completion"), table.exact(NUMBERS, "label")
    if not pair or not label or {"chosen", "rejected"} <= table.columns.keys():
        return None
    values = {value for value in label[0].values if value is not None}
    if not table.takes(pair) or not values <= {0, 1}:
        return None
    notes = [] if len(values) == 2 else [f"every label is {bool(*values)}: there is nothing to tell apart"]
    return accept(table, [*pair, *label], notes=notes)


def kto_mapped(table: Table) -> Verdict | None:
    label, prompt = table.find(LABEL_WORDS, {*NUMBERS, "text"}), table.find_prompt()
    response = table.find(RESPONSE_WORDS, ANSWERS, prompt, label)
    if label:  # a gap in a csv file is an empty text
        label = replace(label, unusable=tuple(row for row, value in enumerate(label.values) if value in {None, ""}))
    expression, meaning = as_label(label) if label else ("", "")
    if not label or not prompt or not response or not expression:
        return None
    fields = {"prompt": as_prompt(table, prompt, response), "completion": as_chat(response, "assistant")}
    reason = f"{held(prompt, response, label)}: a judged answer{meaning}"
    return convert(table, [prompt, response, label], fields | {"label": expression}, reason)


def as_label(label: Column) -> tuple[str, str]:
    """Return the expression that makes a true/false label of the column, and what it takes for true."""
    values = [value for value in label.values if value not in {None, ""}]
    if label.kind == "text" and {value.strip().lower() for value in values} <= GOOD_WORDS | BAD_WORDS:
        good = sorted({value.strip().lower() for value in values} & GOOD_WORDS)
        return f"{label.at}.strip().lower() in {good!r}", f", good when it is one of {good!r}"
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return "", ""
    number = f"float({label.at})" if label.kind == "text" else label.at
    if set(numbers) <= {0, 1}:
        return f"bool({number})", ""
    middle = (min(numbers) + max(numbers)) / 2
    return f"{number} > {middle!r}", f", good above {middle:g}: set your own threshold"


# --- GRPO and RLOO ---


def judge_prompts(table: Table) -> Verdict | None:
    found = table.exact(PLAIN, "prompt")
    if found and found[0].kind == "text":  # an empty prompt cannot be answered
        found = [replace(found[0], unusable=tuple(row for row, value in enumerate(found[0].values) if not value))]
    answered = found and any(role_of(turns[-1]) == "assistant" for turns in found[0].chats if turns)
    verdict = accept(table, found) if found and table.takes(found) and not answered else None
    return verdict or prompts_mapped(table)


def prompts_mapped(table: Table) -> Verdict | None:
    prompt = table.find_prompt() or table.find(CHAT_WORDS, CHATS) or table.find(CHOSEN_WORDS, CHATS)
    if prompt is None:
        return None
    if prompt.kind not in CHATS:
        fields = {"prompt": as_prompt(table, prompt)}
        return convert(table, [prompt], fields, f"{held(prompt)}: the prompt", keep=True)
    opening = f"takewhile(lambda turn: turn['role'] != 'assistant', {as_prompt(table, prompt)})"
    fields = {"prompt": f"list({opening})"}
    unasked = [row for row, role in enumerate(openers(prompt)) if role in {"", "assistant"}]
    reason = f"{held(prompt)}: the turns before the first answer are the prompt"
    return convert(table, [prompt], fields, reason, keep=True, unasked=unasked)


# --- columns that TRL reads beside those it is meant to ---


def fits(column: Column) -> bool:
    """Whether a column holds what TRL takes it for by its name."""
    if column.name == "tools":
        listed = column.kind == "text" and all(
            value is None or decoded_list(value) is not None for value in column.values
        )
        return listed or column.kind in {"list of structs", *NOTHING}
    kinds = {"chat_template_kwargs": {"struct"}, "margin": NUMBERS}.get(column.name, {*IMAGES, "text", "texts"})
    return column.kind in kinds and not column.nulls


def misread_columns(table: Table, used: Sequence[Column]) -> dict[str, str]:
    """Return the columns beside `used` that TRL takes for something they are not, and why that matters."""
    method, names, kind = table.method, {column.name for column in used}, used[0].kind
    chats, tokens, online = kind in {"messages", "sharegpt"}, kind == "tokens", method in {"GRPO", "RLOO"}
    sft, rows = method == "SFT" and not tokens, not tokens and not online

    def is_as_long(column: Column) -> bool:
        pairs = zip(column.values, used[0].values, strict=True)
        return all(isinstance(mask, list) and len(mask) == len(ids or ()) for mask, ids in pairs)

    def is_alike(column: Column) -> bool:
        return (column.kind == "messages") == chats

    conversations = {"prompt", "completion", "chosen", "rejected", "messages"}
    rules = [  # where it applies, to which columns, unless what, and what comes of them
        (not tokens, IMAGES, fits, "is no image"),
        (tokens, {"labels", "completion_mask", "assistant_masks"}, is_as_long, "is not one number a token"),
        (online, {"prompts", "completions"}, None, "clashes with what reward functions get"),
        (rows, conversations, is_alike, "is of another kind, and misleads TRL about the rows"),
        (rows, {"tools"}, fits, "is no list of tools"),
        (rows, {"chat_template_kwargs"}, fits, "is not a struct in every row"),
        (sft, {"labels"}, None, "is taken for the labels of the tokens"),
        (sft and not chats, {"text"}, None, "gets the end-of-text token of the completion"),
        (sft and not chats, IMAGES, None, "is beside plain text, not a conversation"),
        (method == "KTO" and "chosen" in names, {"completion", "label"}, None, "hides what TRL makes of the pairs"),
        (method == "Reward", {"margin"}, fits, "is not a number in every row"),
    ]
    found = {}
    for applies, among, unless, why in rules:
        beside = [table.columns[name] for name in sorted(among & table.columns.keys() - names) if applies]
        found |= {column.name: why for column in beside if unless is None or not unless(column)}
    return found


def carried_columns(table: Table) -> list[Column]:
    """Return the columns that a mapping must not lose."""
    names = ("tools", "chat_template_kwargs", *(["margin"] if table.method == "Reward" else sorted(IMAGES)))
    return [table.columns[name] for name in names if name in table.columns and fits(table.columns[name])]


# --- what names and values say ---


def fit(name: str, words: Sequence[str]) -> tuple[int, int] | None:
    """Return how well a column's name fits `words`, lower is better; None when it does not."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    if spaced in words:
        return 0, words.index(spaced)
    parts = [part for part in re.split(r"[^a-z0-9]+", spaced) if part]
    joined = f"_{'_'.join(parts)}_"
    ranks = [number for number, word in enumerate(words) if f"_{word}_" in joined]
    return (1, ranks[0]) if ranks and not ASIDE_WORDS & set(parts) else None


def role_of(turn: Turn) -> str:
    return str(said(turn, ROLE_KEYS))


def role_names(columns: Sequence[Column]) -> dict[str, str]:
    """Return role -> the role that templates know, by its name or because it opens conversations."""
    opening = {role_of(turns[0]) for column in columns for turns in column.chats if turns}
    names = dict(ROLES)
    for role in sorted({role for column in columns for role in column.roles} - KNOWN_ROLES - ROLES.keys()):
        known = ROLES.get(role.lower(), role.lower())
        names[role] = known if known in KNOWN_ROLES else ("user" if role in opening else "assistant")
    return names


def openers(column: Column) -> list[str]:
    """Return the role that opens each conversation; "" where there is none."""
    names, roles = role_names([column]), [role_of(turns[0]) if turns else "" for turns in column.chats]
    return [names.get(role, role) for role in roles]


def opens_with_user(column: Column) -> bool:
    return not {"user", "system"}.isdisjoint(openers(column))


def repeats_prompt(prompt: Column, chosen: Column) -> bool:
    """Return whether `chosen` holds the prompt again: TRL would then train on it twice."""
    pairs = [(p, c) for p, c in zip(prompt.values, chosen.values, strict=True) if p and c]
    return bool(pairs) and all(c[: len(p)] == p for p, c in pairs)


def rows_apart(chosen: Column, rejected: Column) -> list[int]:
    """Return the rows whose two answers do not begin alike, or of which one is empty."""
    sides = [column.chats if column.kind in CHATS else column.values for column in (chosen, rejected)]
    return [row for row, (c, r) in enumerate(zip(*sides, strict=True)) if not c or not r or c[0] != r[0]]


def held(*columns: Column) -> str:
    return ", ".join(f"{column.name!r} ({column.kind})" for column in columns)


def chat_flaw(table: Table, column: Column) -> str:
    """Return why TRL does not take a conversation as it is."""
    foreign = sorted(column.roles - KNOWN_ROLES)
    guessed = [repr(role) for role in foreign if role.lower() not in ROLES.keys() | KNOWN_ROLES]
    guess = f"; {', '.join(guessed)} is a guess, see ROLES" if guessed else ""
    flaws = {
        "as JSON text": column.kind.startswith("json"),
        f"with roles that chat templates do not know: {', '.join(map(repr, foreign))}{guess}": foreign,
        "with texts in parts, which the templates of text models do not take": column.in_parts,
        "beside a column 'prompt' that TRL would take instead": "prompt" in table.columns,
    }
    return next((flaw for flaw, there in flaws.items() if there), "under another name or form than TRL's")


# --- the printed code; names and values reach it through repr() only ---


def helper_code(code: str, columns: Sequence[Column]) -> str:
    """Return what the code calls: imports, roles and functions."""
    made = "import json\n\n\n" if "json.loads(" in code else ""
    made += "from itertools import takewhile\n\n\n" if "takewhile(" in code else ""
    return made + (f"ROLES = {role_names(columns)!r}\n\n{CHAT}\n\n" if "chat(" in code else "")


def filter_code(columns: Sequence[Column]) -> str:
    """Return the code that drops the rows in which one of the columns is unusable."""
    tests = []
    for column in columns:
        has_empty = column.kind in {"texts", "tokens"} or any(column.values[row] == "" for row in column.unusable)
        whole = f"bool(chat({column.turns}))" if column.kind in CHATS else f"bool({column.at})"
        tests.append(whole if has_empty or column.kind in CHATS else f"{column.at} is not None")
    return f"dataset = dataset.filter(lambda row: {' and '.join(tests)})\n" if tests else ""


def removal_code(names: Iterable[str]) -> str:
    return f"dataset = dataset.remove_columns({list(names)!r})\n" if names else ""


def as_chat(column: Column, role: str) -> str:
    """Return an expression for a list of messages; plain text becomes one message of `role`."""
    if column.kind in {"text", "texts"}:
        return f'[{{"role": "{role}", "content": {column.at}{"[0]" if column.kind == "texts" else ""}}}]'
    plain = column.kind.endswith("messages") and column.roles <= KNOWN_ROLES and not column.in_parts
    return column.turns if plain else f"chat({column.turns})"


def as_prompt(table: Table, prompt: Column, *others: Column) -> str:
    """Return an expression for the prompt's messages, with the system text and the separate input of the row."""
    expression = as_chat(prompt, "user")
    context = table.find(CONTEXT_WORDS, {"text"}, prompt, *others)
    if prompt.kind == "text" and context:
        joined = f'"\\n\\n".join(part for part in ({prompt.at}, {context.at}) if part)'
        expression = f'[{{"role": "user", "content": {joined}}}]'
    told = table.find(SYSTEM_WORDS, {"text"}, prompt, *others)
    if told is None or "system" in prompt.roles:
        return expression
    return f'([{{"role": "system", "content": {told.at}}}] if {told.at} else []) + {expression}'


# --- shared functions ---


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
    sys.exit(main())
