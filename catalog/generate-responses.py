# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "huggingface-hub>=2.4,<3",
#     "jinja2>=3.1,<4",
#     "openai>=2,<4",
#     "polars>=2.1,<3",
#     "pyarrow>=26,<27",
#     "pyyaml>=6,<7",
#     "torch>=2.13,<3",
#     "tqdm>=4.67,<5",
#     "transformers>=5.19,<6",
#     "vllm>=0.32,<0.33; sys_platform == 'linux'",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "l4x1"
# timeout = "6h"
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# version = "0.1.0"
# title = "Generate responses"
# task = "text-generation"
# tags = ["dataset", "vllm", "inference", "synthetic-data"]
# inputs = ["dataset", "model"]
# outputs = ["dataset"]
# persists = "hub-dataset"
# token = "write"
# shardable = true
# license = "Apache-2.0"
# aliases = ["generate_responses"]
# status = "stable"
# rehearse = ["{input:questions}", "{output}", "--prompt-column", "question", "--model", "{model}", "--engine", "transformers", "--temperature", "0", "--max-tokens", "8", "--part-rows", "14", "--commit-every", "0"]
# estimate = ["--job", "generate", "--max-new-tokens", "2048"]
# ///
"""Let a language model answer every row of a dataset, and lose nothing.

Reads one split of a Hub dataset, an hf:// path, or a local parquet, jsonl or csv file or folder; adds the answer of the
model to each row. Answers go to OUTPUT part by part while the engine keeps generating; the same command, run again after a
crash or a timeout, does what is missing. A row that cannot be answered (a prompt that is too long, say) keeps an error.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/generate-responses.py user/prompts user/answers --model Qwen/Qwen3-4B
    hf jobs uv run --secrets HF_TOKEN https://huggingface.co/datasets/jobshelf/scripts/resolve/main/generate-responses.py user/prompts user/answers --model Qwen/Qwen3-4B

Costs what the GPU costs by the hour. Several GPUs are used as copies of the model where it fits on fewer; several Jobs
share one output by --shard I/N. `--engine openai --base-url URL` asks an API instead (key in OPENAI_API_KEY), and
`--engine transformers` needs no GPU, for small models. Needs a token that may write to the output.
Exit codes: 0 done; 2 usage; 3 token; 4 input data; 5 network or machine; 6 computed, but not persisted.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fnmatch
import hashlib
import itertools
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx2
    import polars as pl
    import pyarrow as pa
    import torch
    from openai import APIStatusError, OpenAI
    from openai.types.chat import ChatCompletion
    from tqdm import tqdm
    from transformers import PreTrainedTokenizerBase
    from vllm import RequestOutput, SamplingParams
    from vllm.lora.request import LoRARequest

SCRIPT_NAME = "generate-responses.py"
SCRIPT_URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/generate-responses.py"
TITLE = "Generated responses"
VERSION = "0.1.0"
RESULT_VERSION = 1  # part of every request: raise it when the same input gives other rows
ROLES = ("system", "developer", "user", "assistant", "tool")
CARD_PACKAGES = {
    "vllm": ("vllm", "torch", "transformers"),
    "openai": ("openai",),
    "transformers": ("transformers", "torch"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog=SCRIPT_NAME, description=str(__doc__).partition("\n")[0], allow_abbrev=False)
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model and engine"))
    _add_sampling(parser.add_argument_group("answers"))
    _add_run(parser.add_argument_group("run"))
    return parser


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("input", metavar="INPUT", help="Hub dataset (user/name), hf:// path, local file or folder")
    add("output", metavar="OUTPUT", help="Hub dataset (user/name) or folder (./out)")
    add("--config", metavar="NAME", help="config (subset); default: the dataset's default, else its first")
    add("--split", metavar="NAME", help="split; default: train, else the first")
    add("--revision", metavar="REV", help="branch, tag or commit of a Hub dataset")
    add("--messages-column", metavar="NAME", help="column of conversations (default: messages, if there is one)")
    add("--prompt-column", metavar="NAME", help="column of plain prompts (default: prompt, if there is no messages)")
    add("--system", metavar="TEXT", help="system message for conversations that have none")
    add("--output-column", default="response", metavar="NAME", help="column to add (default: %(default)s)")
    add("--max-samples", type=_positive, metavar="N", help="read only the first N rows")


def _add_model(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--model", "--model-id", required=True, metavar="M", help="model on the Hub, its local folder, or an API's name"
    )
    add("--model-revision", metavar="REV", help="branch, tag or commit of the model")
    add("--engine", choices=ENGINES, default="vllm", help="what answers (default: %(default)s)")
    add("--base-url", metavar="URL", help="address of an OpenAI-compatible API, for --engine openai")
    add("--concurrency", type=_positive, default=32, metavar="N", help="requests to an API at once (default: 32)")
    add("--lora", metavar="ID", help="LoRA adapter on the Hub or in a folder")
    add("--dtype", default="auto", metavar="T", help="auto, bfloat16, float16 or float32 (default: auto)")
    add("--quantization", metavar="Q", help="quantisation of the weights, as vLLM names it: fp8, awq ...")
    add(
        "--max-model-len",
        type=_positive,
        metavar="N",
        help="tokens of prompt and answer together (default: the most that fits)",
    )
    add("--gpu-memory-utilization", type=float, default=0.9, metavar="F", help="share of GPU memory (default: 0.9)")
    add("--tensor-parallel-size", type=_positive, metavar="N", help="GPUs a copy of the model (default: the fewest)")
    add("--data-parallel-size", type=_positive, metavar="N", help="copies of the model (default: one a group of GPUs)")
    add("--engine-args", type=_json_object, default={}, metavar="JSON", help="more arguments of the engine")
    add(
        "--chat-template-kwargs",
        type=_json_object,
        default={},
        metavar="JSON",
        help='such as {"enable_thinking": false}',
    )


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--temperature", type=float, default=0.7, metavar="T", help="randomness, 0: none (default: %(default)s)")
    add("--top-p", type=float, default=1.0, metavar="P", help="share of the likeliest tokens to draw from (default: 1)")
    add("--top-k", type=int, default=0, metavar="K", help="number of the likeliest tokens to draw from, 0: all")
    add("--min-p", type=float, default=0.0, metavar="P", help="least share of the likeliest token's chance")
    add("--repetition-penalty", type=float, default=1.0, metavar="R", help="above 1 makes repetition unlikely")
    add("--max-tokens", type=_positive, default=2048, metavar="N", help="tokens of an answer (default: %(default)s)")
    add("--n", type=_positive, default=1, metavar="N", help="answers a row; with more than one, columns hold lists")
    add("--stop", action="append", default=[], metavar="TEXT", help="end an answer before this text; may be repeated")
    add("--seed", type=int, default=0, metavar="N", help="seed of the draw (default: %(default)s)")
    add(
        "--json-schema",
        type=_json_object_or_file,
        metavar="JSON",
        help="JSON Schema, or its file, that answers keep to",
    )
    add("--keep-thinking", action="store_true", help="leave <think>...</think> in the answer")


def _add_run(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--shard", metavar="I/N", help="do share I of N; N processes with the same OUTPUT do the whole")
    add("--part-rows", type=_positive, default=1000, metavar="N", help="rows a file of the output (default: 1000)")
    add("--commit-every", default="300", metavar="S", help="seconds between commits (default: %(default)s)")
    privacy = group.add_mutually_exclusive_group()
    privacy.add_argument("--private", action="store_true", help="private output; always so when the input is private")
    privacy.add_argument("--public", action="store_true", help="public output, even of a private input")
    add("--overwrite", action="store_true", help="replace the result of another request or revision")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="print one JSON object and nothing else")


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    args = build_parser().parse_args(argv)
    args.words = list(sys.argv[1:] if argv is None else argv)
    return run_to_exit(lambda: work(args))


def work(args: argparse.Namespace) -> int:
    """Check everything, answer part by part, persist as it goes, report."""
    shard, commit_every = parse_shard(args.shard), parse_commit_every(args.commit_every)
    check_sampling(args)
    target = parse_target(args.output)
    write_token = target_token(target)
    token = write_token or find_token()
    source = find_source(args, args.revision, token)
    plan = plan_columns(scan_rows(source, args.max_samples, token), source, args, token)
    held = look_at(target, token=write_token, private=args.private or source.private, public=args.public)
    model = find_model(args, held, token)
    manifest = manifest_of(source, plan, model, args)
    if not is_begun(held, manifest):  # a finished run is known as such on any machine, one with no GPU too
        require_engine(args.engine, model, base_url=args.base_url)
    tensor, copies = parallel_sizes(model, args)
    if args.dry_run:
        return show(facts(source, target, model, args) | {"dry_run": True, "columns": plan.schema.names}, args)
    create_target(target, held, write_token)
    if copies > 1:
        sizes = ["--tensor-parallel-size", str(tensor), "--data-parallel-size", "1"]
        return run_copies([*args.words, *sizes], shard, gpus_each=tensor, copies=copies)
    with open_dataset(
        target,
        held,
        manifest,
        schema=plan.schema,
        token=write_token,
        shard=shard,
        overwrite=args.overwrite,
        commit_every=commit_every,
    ) as run:
        if run.manifest.source != source.identity:  # an earlier attempt began with another revision of the input
            source = find_source(args, run.manifest.source, token)
        parts = answer_all(run, source, plan, model, tensor, args, token)
        done = run.finish(parts, lambda existing, totals: card(existing, totals, source, model, args))
    return report(done, shard, facts(source, target, model, args), args)


# --- what is asked ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """Which column is asked, whether it holds conversations, and the columns of the output."""

    column: str
    conversations: bool
    schema: pa.Schema


def plan_columns(frame: pl.LazyFrame, source: Source, args: argparse.Namespace, token: str | None) -> ColumnPlan:
    """Choose the column to ask and check that the added ones are free. Stops with 4 when the input does not fit."""
    known = frame.head(0).collect().to_arrow().schema
    column, conversations = asked_column(known.names, source, args)
    added = added_columns(args)
    require_free_columns(added, known.names, where=source.label, flag="--output-column")
    schema = table_schema(list(known), added, source, token)
    return ColumnPlan(column=column, conversations=conversations, schema=schema)


def asked_column(names: Sequence[str], source: Source, args: argparse.Namespace) -> tuple[str, bool]:
    """Return (column, whether it holds conversations): the one asked for, else `messages`, else `prompt`."""
    if args.messages_column and args.prompt_column:
        message = "--messages-column and --prompt-column are both given"
        raise Stop(EXIT_USAGE, message, fix="give the one that holds what is asked")
    column = args.messages_column or args.prompt_column
    if column is None:
        column = next((name for name in ("messages", "prompt") if name in names), None)
    if column is None:
        listed = ", ".join(names[:20])
        message = f"{source.label} has no column 'messages' or 'prompt'; it has: {listed}"
        raise Stop(
            EXIT_INPUT, message, fix=f"add --prompt-column {names[0] if names else 'NAME'}, or --messages-column"
        )
    require_columns([column], names, where=source.label)
    return column, column == args.messages_column or (args.prompt_column is None and column == "messages")


def conversation(cell: object, plan: ColumnPlan, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what the model is asked for one row; raise ValueError, saying why, when it cannot be asked."""
    if not plan.conversations:
        if not isinstance(cell, str) or not cell.strip():
            raise ValueError(f"{plan.column} is {'empty' if not cell else type(cell).__name__}, expected text")
        messages = [{"role": "user", "content": cell}]
    else:
        messages = [one_message(message, number) for number, message in enumerate(as_messages(cell, plan.column), 1)]
        if messages[-1]["role"] == "assistant":
            raise ValueError("the conversation ends with the assistant: there is nothing to answer")
    if args.system and messages[0]["role"] not in {"system", "developer"}:
        messages.insert(0, {"role": "system", "content": args.system})
    return messages


def as_messages(cell: object, column: str) -> list[object]:
    """Return the messages in a cell: a list, or the JSON text of one. Raises ValueError when it holds none."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        cell = json.loads(cell)
    if not isinstance(cell, list) or not cell:
        raise ValueError(f"{column} is {'empty' if not cell else type(cell).__name__}, expected a list of messages")
    return cell


def one_message(message: object, number: int) -> dict[str, Any]:
    """Return a message without the keys that are only there because other rows have them."""
    if not isinstance(message, Mapping):
        raise ValueError(f"message {number} is {type(message).__name__}, expected role and content")  # noqa: TRY004
    kept = {str(key): value for key, value in message.items() if value is not None}
    if kept.get("role") not in ROLES:
        raise ValueError(f"message {number} has the role {kept.get('role')!r}, expected one of {', '.join(ROLES)}")
    if not isinstance(kept.get("content"), str) and "tool_calls" not in kept:
        kind = type(kept.get("content")).__name__
        raise ValueError(f"the content of message {number} is {kind}, expected text")
    return kept


# --- what comes back ---


def added_columns(args: argparse.Namespace) -> dict[str, pa.Field]:
    """Return the columns that the script adds, by name; with --n above 1 those of an answer hold lists."""
    import pyarrow as pa

    def each(kind: pa.DataType) -> pa.DataType:
        return pa.list_(kind) if args.n > 1 else kind

    kinds = {
        args.output_column: each(pa.string()),
        thinking_column(args): each(pa.string()),
        DATASET_FINISH_COLUMN: each(pa.string()),
        "prompt_tokens": pa.int64(),
        "output_tokens": each(pa.int64()),
        DATASET_ERROR_COLUMN: pa.string(),
    }
    return {name: pa.field(name, kind) for name, kind in kinds.items()}


def thinking_column(args: argparse.Namespace) -> str:
    """Return the name of the column for what the model thought before it answered."""
    return f"{args.output_column}_reasoning"


def cells(reply: Reply, args: argparse.Namespace) -> dict[str, Any]:
    """Return what is added to a row for its reply."""
    if reply.error is not None:
        kept = failed_row({}, reply.error, outputs=added_columns(args))
        finish = kept[DATASET_FINISH_COLUMN]
        return kept | {DATASET_FINISH_COLUMN: [finish] if args.n > 1 else finish, "prompt_tokens": reply.prompt_tokens}
    split = [(None, answer.text) if args.keep_thinking else split_thinking(answer.text) for answer in reply.answers]
    columns = {
        args.output_column: [said for _, said in split],
        thinking_column(args): [thought for thought, _ in split],
        DATASET_FINISH_COLUMN: [answer.finish_reason for answer in reply.answers],
        "output_tokens": [answer.tokens for answer in reply.answers],
    }
    one_each = columns if args.n > 1 else {name: values[0] for name, values in columns.items()}
    return {**one_each, "prompt_tokens": reply.prompt_tokens, DATASET_ERROR_COLUMN: None}


# --- the work ---


@dataclass(slots=True, kw_only=True)
class OpenPart:
    """A part whose rows are being answered."""

    part: Part
    rows: pa.Table
    cells: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every row has its reply."""
        return len(self.cells) == self.part.stop - self.part.start

    def table(self, schema: pa.Schema) -> pa.Table:
        """Return the rows with what was added, in the order of the input."""
        import pyarrow as pa

        ordered = [self.cells[row] for row in range(self.part.start, self.part.stop)]
        table = self.rows
        for column in schema.names[len(self.rows.schema.names) :]:
            values = pa.array([row[column] for row in ordered], schema.field(column).type)
            table = table.append_column(schema.field(column), values)
        return table


def answer_all(
    run: DatasetRun,
    source: Source,
    plan: ColumnPlan,
    model: EngineModel,
    tensor: int,
    args: argparse.Namespace,
    token: str | None,
) -> int:
    """Answer the parts that are this shard's and not done yet; return the number of parts of the whole run.

    The engine takes questions from a stream that runs on across parts; a part is handed on when its last reply is in.
    """
    frame = scan_rows(source, args.max_samples, token)
    size = run.manifest.part_rows
    open_parts: dict[int, OpenPart] = {}
    counts: Counter[str] = Counter()

    def settle(key: int, reply: Reply) -> None:
        opened = open_parts[key // size]
        opened.cells[key] = cells(reply, args)
        if opened.complete:
            run.add(opened.part, opened.table(plan.schema))
            del open_parts[key // size]
            progress.add(opened.part.stop - opened.part.start)

    def questions() -> Iterator[Question]:
        for part, rows in table_parts(frame, source, size):
            counts["parts"] += 1
            if not run.wanted(part.index):
                progress.add(part.stop - part.start)
                continue
            open_parts[part.index] = OpenPart(part=part, rows=rows)
            for key, cell in enumerate(rows.column(plan.column).to_pylist(), part.start):
                try:
                    yield Question(key=key, conversation=conversation(cell, plan, args))
                except ValueError as error:
                    settle(key, Reply(key=key, error=one_line(error)))

    with Progress(count_rows(frame, source), "rows") as progress:
        stream = questions()
        first = next(stream, None)
        if first is not None:  # the model is loaded when there is something to ask it
            require_engine(args.engine, model, base_url=args.base_url)
            engine = start_engine(args.engine, model, engine_settings(tensor, args), token=token)
            for reply in engine.replies(itertools.chain([first], stream), sampling_of(args)):
                settle(reply.key, reply)
    return counts["parts"]


# --- preflight and report ---


def check_sampling(args: argparse.Namespace) -> None:
    """Stop with 2 for numbers that no engine takes."""
    ranges = {
        "temperature": (0, 100),
        "top_p": (1e-9, 1),
        "top_k": (0, 1_000_000),
        "min_p": (0, 1),
        "repetition_penalty": (0.01, 100),
        "gpu_memory_utilization": (0.01, 1),
    }
    for name, (low, high) in ranges.items():
        value = getattr(args, name)
        if not low <= value <= high:
            flag = f"--{name.replace('_', '-')}"
            raise Stop(EXIT_USAGE, f"{flag} is {value}", fix=f"give a number from {low:g} to {high:g}")
    if args.n > 1 and args.temperature == 0:
        raise Stop(
            EXIT_USAGE, f"--n {args.n} with --temperature 0 gives {args.n} equal answers", fix="add --temperature 0.7"
        )
    if args.lora is not None and args.engine != "vllm":
        fix = "use --engine vllm, or give --model the name that the API has for model and adapter"
        raise Stop(EXIT_USAGE, f"--lora has no meaning for --engine {args.engine}", fix=fix)
    if args.json_schema is not None and args.engine == "transformers":
        raise Stop(EXIT_USAGE, "transformers cannot bind an answer to a schema", fix="use --engine vllm or openai")


def find_source(args: argparse.Namespace, revision: str | None, token: str | None) -> Source:
    """Resolve the input to files of one commit."""
    return resolve_source(args.input, config=args.config, split=args.split, revision=revision, token=token)


def find_model(args: argparse.Namespace, held: Held, token: str | None) -> EngineModel:
    """Return the model, at the commit that an earlier attempt of the same run began with where there was one."""
    if args.engine == "openai":
        return EngineModel(name=args.model)
    before = held.manifest.get("request") if isinstance(held.manifest.get("request"), dict) else {}
    same = before.get("model") == args.model and not args.model_revision and not args.overwrite
    revision = before.get("model_commit") if same else args.model_revision
    return describe_model(args.model, revision=revision, token=token)


def parallel_sizes(model: EngineModel, args: argparse.Namespace) -> tuple[int, int]:
    """Return (GPUs a copy, copies of the model)."""
    if args.engine != "vllm":
        return 1, args.data_parallel_size or 1
    tensor, copies = split_gpus(model)
    if args.tensor_parallel_size:
        tensor, copies = args.tensor_parallel_size, max(1, tensor * copies // args.tensor_parallel_size)
    return tensor, args.data_parallel_size or copies


def engine_settings(tensor: int, args: argparse.Namespace) -> EngineSettings:
    """Return what the engine is told beside the model."""
    return EngineSettings(
        chat_template_kwargs=args.chat_template_kwargs,
        max_model_len=args.max_model_len,
        dtype=args.dtype,
        quantization=args.quantization,
        lora=args.lora,
        tensor_parallel=tensor,
        memory_share=args.gpu_memory_utilization,
        seed=args.seed,
        base_url=args.base_url,
        concurrency=args.concurrency,
        extra=args.engine_args,
    )


def sampling_of(args: argparse.Namespace) -> Sampling:
    """Return how answers are drawn."""
    return Sampling(
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        min_p=args.min_p,
        repetition_penalty=args.repetition_penalty,
        max_tokens=args.max_tokens,
        count=args.n,
        stop=tuple(args.stop),
        seed=args.seed,
        json_schema=args.json_schema,
    )


def manifest_of(source: Source, plan: ColumnPlan, model: EngineModel, args: argparse.Namespace) -> RunManifest:
    """Return what identifies the result: the source, and every argument that changes it."""
    asked = (
        "max_samples system output_column model engine base_url lora dtype quantization max_model_len "
        "chat_template_kwargs temperature top_p top_k min_p repetition_penalty max_tokens n stop seed json_schema "
        "keep_thinking"
    )
    request = {
        "input": source.repo_id or source.given,
        "config": source.config,
        "split": source.split,
        "column": plan.column,
        "model_commit": model.commit,
        **{name: getattr(args, name) for name in asked.split()},
        "result_version": RESULT_VERSION,
    }
    return RunManifest(script=SCRIPT_NAME, request=request, source=source.identity, part_rows=args.part_rows)


def is_begun(held: Held, manifest: RunManifest) -> bool:
    """Whether the output holds a run of this very request, finished or not."""
    there = parse_run_manifest(held.manifest)
    return there is not None and dict(there.request) == dict(manifest.request)


def card(
    existing: str | None, totals: DatasetTotals, source: Source, model: EngineModel, args: argparse.Namespace
) -> str:
    """Return the dataset card: what the rows are, how many, who answered how, and where they come from."""
    name = source.repo_id or source.given
    failed = f"; {totals.failed:,} of them have an error instead" if totals.failed else ""
    drawn = "greedily" if args.temperature == 0 else f"with temperature {args.temperature:g}, top-p {args.top_p:g}"
    commit = f" at `{md(model.commit)}`" if model.commit else ""
    sections = [
        f"# {md(TITLE)}",
        f"{totals.rows:,} rows of {md(name)} (config {md(source.config)}, split {md(source.split)}), "
        f"answered by {md(model.name)}{commit}{failed}.",
        f"Answers are in the column {md(args.output_column)}, drawn {drawn}, {args.max_tokens:,} tokens at most. "
        f"`{DATASET_FINISH_COLUMN}` is `length` where that was too few, `error` where there is no answer.",
        provenance(
            ScriptStamp(name=SCRIPT_NAME, url=SCRIPT_URL, version=VERSION),
            source=name,
            identity=source.identity,
            arguments=args.words,
            packages=installed((*CARD_PACKAGES[args.engine], "polars")),
        ),
    ]
    configs = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}]
    return render_card(existing, front_matter={"pretty_name": TITLE, "configs": configs}, body="\n\n".join(sections))


def installed(packages: Iterable[str]) -> tuple[str, ...]:
    """Return those that are there: a finished run may be looked at on a machine that could not have done it."""

    def is_there(name: str) -> bool:
        try:
            return bool(version(name))
        except PackageNotFoundError:
            return False

    return tuple(filter(is_there, packages))


def facts(source: Source, target: Target, model: EngineModel, args: argparse.Namespace) -> dict[str, Any]:
    """Return what is told of every run."""
    return {"input": source.label, "output": str(target), "model": model.name, "engine": args.engine}


def report(done: DatasetResult, shard: Shard, told: Mapping[str, Any], args: argparse.Namespace) -> int:
    """Say what was done; 4 when not a single row could be answered."""
    totals = done.totals
    counted = {"rows": totals.rows, "failed": totals.failed} if totals else {"rows": None, "failed": None}
    show({**told, "output": done.where, "shard": str(shard), **counted}, args)
    if totals and totals.rows and totals.failed == totals.rows:
        message = f"none of the {totals.rows:,} rows could be answered; the column {DATASET_ERROR_COLUMN!r} says why"
        raise Stop(EXIT_INPUT, message, fix="mend the input or the options, then run it again with --overwrite")
    return EXIT_DONE


def show(told: Mapping[str, Any], args: argparse.Namespace) -> int:
    """Print the facts: JSON for programs, one line each for people."""
    if args.json:
        print(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False, default=str))
        return EXIT_DONE
    for name, value in told.items():
        print(one_line(f"{name.replace('_', ' ')}: {value}"))
    return EXIT_DONE


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def _json_object_or_file(text: str) -> dict[str, Any]:
    path = Path(text)
    return _json_object(path.read_text(encoding="utf-8") if not text.startswith("{") and path.is_file() else text)


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


# --- block: preflight 1 (jobshelf) ---
# Job flavors in the order of their price by the hour: memory, GPU memory (all GPUs) and disk in GB, as documented in
# 2026; for several GPUs the memory and disk of one, at least. `hf jobs hardware` says what holds today.
PREFLIGHT_FLAVORS = (
    ("cpu-basic", 16, 0, 50),
    ("cpu-upgrade", 32, 0, 50),
    ("t4-small", 15, 16, 50),
    ("t4-medium", 30, 16, 100),
    ("l4x1", 30, 24, 400),
    ("cpu-xl", 124, 0, 1000),
    ("a10g-large", 46, 24, 200),
    ("l40sx1", 62, 48, 380),
    ("cpu-performance", 256, 0, 1024),
    ("a100-large", 142, 80, 1000),
    ("rtx-pro-6000", 256, 96, 475),
    ("l4x4", 186, 96, 3200),
    ("h200", 256, 141, 3000),
    ("rtx-pro-6000x2", 256, 192, 475),
    ("a100x4", 142, 320, 4000),
    ("rtx-pro-6000x4", 256, 384, 475),
    ("h200x4", 256, 564, 3000),
    ("a100x8", 142, 640, 8000),
    ("rtx-pro-6000x8", 256, 768, 475),
    ("h200x8", 256, 1128, 3000),
)
PREFLIGHT_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
PREFLIGHT_MEMINFO = "/proc/meminfo"
_GB = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as nvidia-smi lists it; `memory` in bytes."""

    name: str
    memory: int


def require_columns(wanted: Iterable[str], available: Sequence[str], *, where: str) -> None:
    """Stop with 4 when a column in `wanted` is not `available`; the message has the likely one and all that there are."""
    for name in wanted:
        if name not in available:
            close = difflib.get_close_matches(name, available, n=1, cutoff=0.5)
            folded = [column for column in available if column.casefold() == name.casefold()]
            listed = ", ".join(available[:20]) + (f" and {len(available) - 20} more" if len(available) > 20 else "")
            likely = [*folded, *close]
            fix = f"did you mean {likely[0]!r}" if likely else "name one of these columns"
            raise Stop(EXIT_INPUT, f"{where} has no column {name!r}; it has: {listed}", fix=fix)


def require_free_columns(added: Iterable[str], available: Sequence[str], *, where: str, flag: str) -> None:
    """Stop with 4 when a column that the script adds is there already; `flag` is the option that names another."""
    taken = [name for name in added if name in available]
    if taken:
        free = next(name for number in range(2, 1000) if (name := f"{taken[0]}_{number}") not in available)
        message = f"{where} has a column {taken[0]!r} already, which would be overwritten"
        raise Stop(EXIT_INPUT, message, fix=f"add {flag} {free}")


def require_disk(needed: int, folder: Path) -> None:
    """Stop with 5 when the disk of `folder` has fewer than `needed` bytes free."""
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise _preflight_too_small(f"disk space at {nearest}", needed, free, disk=needed)


def require_ram(needed: int) -> None:
    """Stop with 5 when this machine or container has less than `needed` bytes of memory available."""
    available = available_ram()
    if available is not None and available < needed:
        raise _preflight_too_small("memory", needed, available, ram=needed)


def require_vram(needed: int) -> tuple[Gpu, ...]:
    """Return the GPUs; stop with 5 when there is none, or when together they have fewer than `needed` bytes."""
    gpus = list_gpus()
    memory = sum(gpu.memory for gpu in gpus)
    if not gpus:
        flavor = preflight_flavor(vram=needed)
        message = f"no GPU here (nvidia-smi finds none), {needed / _GB:.0f} GB of GPU memory needed"
        raise Stop(EXIT_ENVIRONMENT, message, fix=f"run it as a Job with --flavor {flavor}")
    if memory < needed:
        names = ", ".join(gpu.name for gpu in gpus)
        raise _preflight_too_small(f"GPU memory ({names})", needed, memory, vram=needed)
    return gpus


def list_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA programs of this process may use, in the order of nvidia-smi."""
    command = shutil.which("nvidia-smi")
    if command is None or os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return ()
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        note(f"nvidia-smi does not work ({type(error).__name__}): no GPU is counted")
        return ()
    lines = (line.rpartition(",") for line in told.splitlines())
    gpus = [Gpu(name=name.strip(), memory=int(memory) * 2**20) for name, _, memory in lines if memory.strip().isdigit()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    numbers = [int(number) for number in visible if number.strip().isdigit()]
    return tuple(gpus[number] for number in numbers if number < len(gpus)) if numbers else tuple(gpus)


def available_ram() -> int | None:
    """Return the bytes of memory that may still be taken: the machine's, or the container's limit if that is less."""
    bounds = [_preflight_meminfo(), *(_preflight_limit(Path(file)) for file in PREFLIGHT_CGROUPS)]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def preflight_flavor(*, ram: int = 0, vram: int = 0, disk: int = 0) -> str:
    """Return the cheapest Job flavor with so many bytes of memory, GPU memory and disk; the largest if none has."""
    fitting = (
        name
        for name, has_ram, has_vram, has_disk in PREFLIGHT_FLAVORS
        if has_ram * _GB >= ram and has_vram * _GB >= vram and has_disk * _GB >= disk
    )
    return next(fitting, PREFLIGHT_FLAVORS[-1][0])


def _preflight_too_small(what: str, needed: int, found: int, *, ram: int = 0, vram: int = 0, disk: int = 0) -> Stop:
    message = f"{needed / _GB:.1f} GB of {what} needed, {found / _GB:.1f} GB found"
    flavor = preflight_flavor(ram=ram, vram=vram, disk=disk)
    return Stop(EXIT_ENVIRONMENT, message, fix=f"run it as a Job with --flavor {flavor}, or free some here")


def _preflight_meminfo() -> int | None:
    try:
        lines = Path(PREFLIGHT_MEMINFO).read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _preflight_limit(file: Path) -> int | None:
    """Return the limit in a cgroup file; None where there is none ("max", or a number larger than any machine)."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < 2**60 else None


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


# --- block: parts 1 (jobshelf) ---
PARTS_MANIFEST = "jobshelf.json"
PARTS_FOLDER = "data"

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows `start` <= row < `stop` of the input (counted from 0); `index` counts the parts from 0."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """Which run an output belongs to. `request` holds every argument that changes the result, and RESULT_VERSION.

    `source` is the identity of the input (a commit, or "sha256:..." of local files), `part_rows` the rows a part,
    `split` the name of the split that the parts make up.
    """

    script: str
    request: Mapping[str, Any]
    source: str
    part_rows: int
    split: str = "train"

    def to_bytes(self) -> bytes:
        """Return the manifest as the file that is written to the output."""
        content = {
            "script": self.script,
            "request": dict(self.request),
            "source": self.source,
            "part_rows": self.part_rows,
            "split": self.split,
        }
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def path(self, index: int) -> str:
        """Return where part `index` lies, relative to the output."""
        return f"{PARTS_FOLDER}/{self.split}-{index:06d}.parquet"

    def index(self, path: str) -> int | None:
        """Return the number of the part that lies at `path`, None when that is no part of this run."""
        number = path.removeprefix(f"{PARTS_FOLDER}/{self.split}-").removesuffix(".parquet")
        return int(number) if number.isdecimal() and self.path(int(number)) == path else None


def parse_run_manifest(content: Mapping[str, Any]) -> RunManifest | None:
    """Return the manifest that a JSON object says, None when it is not one of a run in parts."""
    kinds = {"script": str, "request": dict, "source": str, "part_rows": int, "split": str}
    if not all(isinstance(content.get(key), kind) for key, kind in kinds.items()) or content["part_rows"] < 1:
        return None
    return RunManifest(**{key: content[key] for key in kinds})


def adopt_manifest(
    there: RunManifest | None, ours: RunManifest, *, where: str, overwrite: bool, complete: bool
) -> RunManifest:
    """Return the manifest to go by: the one that is `there` when it is of the same request, else `ours`.

    `overwrite` begins anew where the request differs, or where a run that is `complete` had another source; it never
    throws away the unfinished work of the same request, so that restarts and sibling shards may all pass it.
    Stops with 4 when the request differs, or when a local input is no longer what the run began with.
    """
    if there is None:
        return ours
    if _parts_request(there) != _parts_request(ours):
        if overwrite:
            return ours
        raise _parts_of_another_run(there, ours, where)
    if there.source == ours.source or (overwrite and complete):
        return there if there.source == ours.source else ours
    if "sha256:" in there.source + ours.source:
        message = f"the input is not what {where} was begun with ({there.source[:15]} then, {ours.source[:15]} now)"
        raise Stop(EXIT_INPUT, message, fix="bring the old input back, or name another output")
    end = "is complete: add --overwrite to compute it from the new one" if complete else "goes on with that"
    note(f"{where} was begun with revision {there.source[:12]} (now {ours.source[:12]}) and {end}")
    return there


def cut(total: int, size: int) -> Iterator[Part]:
    """Yield the parts of `total` rows, `size` rows each, the last one shorter."""
    for index, start in enumerate(range(0, total, size)):
        yield Part(index=index, start=start, stop=min(start + size, total))


def cut_stream(
    items: Iterable[_Item], size: int, *, wanted: Callable[[int], bool]
) -> Iterator[tuple[Part, list[_Item] | None]]:
    """Yield each part of `items` (of a known order, unknown length); its items, or None where not `wanted(index)`.

    Items of an unwanted part are read and dropped one by one: at most one part is in memory.
    """
    stream, start = iter(items), 0
    for index in itertools.count():
        group = itertools.islice(stream, size)
        kept = list(group) if wanted(index) else None
        taken = len(kept) if kept is not None else sum(1 for _ in group)
        if not taken:
            return
        yield Part(index=index, start=start, stop=start + taken), kept
        start += taken


def _parts_request(manifest: RunManifest) -> dict[str, str]:
    """Return each thing asked for as JSON text: what a file brings back as a list may have been a tuple."""
    asked = {"script": manifest.script, "split": manifest.split, **manifest.request}
    return {key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in asked.items()}


def _parts_of_another_run(there: RunManifest, ours: RunManifest, where: str) -> Stop:
    before, now = _parts_request(there), _parts_request(ours)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    told = ", ".join(f"{key}: {before.get(key, '-')[:60]} there, {now.get(key, '-')[:60]} asked" for key in changed[:3])
    message = f"{where} holds the result of another request ({told})"
    return Stop(EXIT_INPUT, message, fix="name another output, or add --overwrite to replace that result")


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


# --- block: table 1 (jobshelf) ---
TABLE_GUESS_ROWS = 10_000  # of a text file, from which the types of its columns are told


def scan_rows(source: Source, limit: int | None, token: str | None) -> pl.LazyFrame:
    """Return the first `limit` rows of the input (None: all), in its order, as one query that has not run."""
    import polars as pl

    readers = {
        "parquet": pl.scan_parquet,
        "jsonl": partial(pl.scan_ndjson, infer_schema_length=TABLE_GUESS_ROWS),
        "csv": partial(pl.scan_csv, infer_schema_length=TABLE_GUESS_ROWS),
    }
    if source.format not in readers:
        fix = f"convert them to {' or '.join(readers)}"
        raise Stop(EXIT_INPUT, f"the files of {source.given} are {source.format}", fix=fix)
    places, options = locate(source, source.files, token)
    try:
        frames = [readers[source.format](place, storage_options=options) for place in places]
        frame = pl.concat(frames) if limit is None else pl.concat(frames).head(limit)
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise unreadable(source, "the data", error) from error
    return frame


def table_parts(frame: pl.LazyFrame, source: Source, size: int) -> Iterator[tuple[Part, pa.Table]]:
    """Yield the rows in parts of `size`, in the order of the input."""
    import polars as pl

    index, rest = 0, frame.head(0).collect()
    try:
        for batch in frame.collect_batches(chunk_size=size, maintain_order=True):
            rest = pl.concat([rest, batch])
            while rest.height >= size:
                yield Part(index=index, start=index * size, stop=(index + 1) * size), rest.head(size).to_arrow()
                index, rest = index + 1, rest.slice(size)
    except pl.exceptions.PolarsError as error:
        raise unreadable(source, "the data", error) from error
    if rest.height:
        yield Part(index=index, start=index * size, stop=index * size + rest.height), rest.to_arrow()


def count_rows(frame: pl.LazyFrame, source: Source) -> int | None:
    """Return the number of rows where the files say it, None where they would have to be read."""
    import polars as pl

    return frame.select(pl.len()).collect().item() if source.format == "parquet" else None


def table_schema(
    known: Sequence[pa.Field], added: Mapping[str, pa.Field], source: Source, token: str | None
) -> pa.Schema:
    """Return the schema of an output with the `known` columns of the input and the `added` ones."""
    import pyarrow as pa

    schema = pa.schema([*known, *added.values()])
    told = _table_features(source, token)
    if not told:
        return schema
    features = {**told, **{name: _table_feature(column.type) for name, column in added.items()}}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _table_features(source: Source, token: str | None) -> dict[str, Any]:
    """Return the features that `datasets` wrote into the first parquet file of the input, {} when there are none."""
    import polars as pl

    if source.format != "parquet":
        return {}
    places, options = locate(source, source.files[:1], token)
    try:
        told = pl.read_parquet_metadata(places[0], storage_options=options).get("huggingface")
        return dict(json.loads(told)["info"]["features"]) if told else {}
    except (pl.exceptions.PolarsError, ValueError, LookupError, TypeError):
        return {}


def _table_feature(kind: pa.DataType) -> dict[str, Any]:
    """Return a type in the words of `datasets`."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return {"feature": _table_feature(kind.value_type), "_type": "List"}
    return {"dtype": "int64" if pa.types.is_integer(kind) else "string", "_type": "Value"}


# --- end block ---


# --- block: copies 1 (jobshelf) ---
def run_copies(words: Sequence[str], shard: Shard, *, gpus_each: int, copies: int) -> int:
    """Run this script with the arguments `words` for each of `copies` groups of GPUs; return the worst exit code.

    The last `--shard` on a command line counts: each copy gets its share of `shard` appended.
    """
    script = globals().get("__file__")
    if script is None or not Path(script).is_file():
        message = "a script on stdin cannot start the copies that several GPUs need"
        raise Stop(EXIT_USAGE, message, fix="run it from its URL or from a file, or add --data-parallel-size 1")
    note(f"{copies} copies of the model, {gpus_each} GPU{'s' if gpus_each > 1 else ''} each")
    running: list[subprocess.Popen[bytes]] = []
    try:
        for copy in range(copies):
            gpus = ",".join(_gpu_names(gpus_each * copies)[copy * gpus_each : (copy + 1) * gpus_each])
            share = f"{(shard.index - 1) * copies + copy + 1}/{shard.count * copies}"
            argv = [sys.executable, script, *words, "--shard", share]
            running.append(subprocess.Popen(argv, env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus}, stdout=sys.stderr))
        codes = [process.wait() for process in running]
    except BaseException:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        raise
    return max((code if code >= 0 else EXIT_UNEXPECTED for code in codes), default=EXIT_DONE)


def _gpu_names(count: int) -> list[str]:
    """Return the names of `count` GPUs: of those that this process may use, where somebody has said which."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible or [str(gpu) for gpu in range(count)]


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


# --- block: persist_dataset 1 (jobshelf) ---
DATASET_COMMITS_PER_HOUR = 128  # the Hub's assumed limit for one repository, over all shards
DATASET_COMMIT_EVERY_S = 300.0
DATASET_RESERVED_COMMITS = 4  # of each shard: manifest, last parts, collected parts, card
DATASET_RACES = 7
DATASET_BUCKET_SHARDS = 8  # above this many shards, parts go to the run's bucket and one commit collects them
DATASET_RETRY_EVERY_S = 30.0
DATASET_MARGIN_S = 120.0
DATASET_JOB_TIMEOUT_S = 1800.0  # what a Job gets that asks for none
DATASET_STATS = "stats"
DATASET_DERIVED = "stats/derived.json"  # the files made from the parts, and the parts that they were made from
DATASET_ERROR_COLUMN = "error"
DATASET_FINISH_COLUMN = "finish_reason"
DatasetDerive = Callable[[Iterator["pa.Table"]], Mapping[str, bytes]]
_DATASET_FAILURES = (Stop, OSError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTotals:
    """What a complete run holds: parts, rows, and those of the rows that keep an error."""

    parts: int
    rows: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetResult:
    """Where the rows are. `totals` is None while other shards are still at work.

    `derived` is the number of rows of each file that was made from the parts.
    """

    where: str
    totals: DatasetTotals | None
    derived: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReceipt:
    """What was written as one part: rows, rows with an error, bytes, sha256 of the file."""

    rows: int
    failed: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetEntry:
    """A file as a store lists it; only repositories tell the sha256."""

    size: int
    sha256: str | None

    def fits(self, receipt: PartReceipt) -> bool:
        return self.size == receipt.size and self.sha256 in {None, receipt.sha256}


def failed_row(row: Mapping[str, Any], error: object, *, outputs: Iterable[str]) -> dict[str, Any]:
    """Return `row` as it is kept when it could not be done: `outputs` are None, `error` and `finish_reason` say why."""
    blank = dict.fromkeys(outputs)
    return {**row, **blank, DATASET_ERROR_COLUMN: one_line(error), DATASET_FINISH_COLUMN: "error"}


def parse_commit_every(given: str) -> float:
    """Return the seconds that `--commit-every` names, 0 for a commit a part; stop with 2 for anything else."""
    seconds = float(given) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", given) else -1.0
    if not 0 <= seconds <= 86400:
        message = f"--commit-every {given!r} is no number of seconds from 0 to 86400"
        raise Stop(EXIT_USAGE, message, fix=f"write --commit-every {DATASET_COMMIT_EVERY_S:g}, or 0 for each part")
    return seconds


def open_dataset(
    target: Target,
    held: Held,
    manifest: RunManifest,
    *,
    schema: pa.Schema,
    token: str | None,
    shard: Shard | None = None,
    overwrite: bool = False,
    commit_every: float = DATASET_COMMIT_EVERY_S,
) -> DatasetRun:
    """Begin the run `manifest` on `target`, or go on with it; `held` is what `look_at` found there.

    The result's `manifest` is the one to go by: its source and part size are those of the first attempt. Every part
    has the columns of `schema`. On a Job, JOBSHELF_VOLUME names a mounted folder to fall back on, JOBSHELF_TIMEOUT the
    Job's timeout. Stops with 4 when the target holds another request's result or somebody else's files.
    """
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # a bar for each commit would fill the Job's log
    shard = shard or Shard(index=1, count=1)
    if target.folder is not None:
        adopted = _dataset_begin_in_folder(target, held, manifest, overwrite=overwrite)
        home = _DatasetPlace(
            place=BucketPlace(bucket_id=None, prefix="", folder=target.folder), token=None, role="output"
        )
        return DatasetRun(adopted, schema, shard, home=home, desk=home, sides=(), commit_every=0)
    adopted = _dataset_begin_on_hub(target, held, manifest, str(token), overwrite=overwrite)
    repo = _DatasetRepo(repo_id=str(target.repo_id), token=str(token))
    sides = _dataset_sides(repo, adopted)
    # Writers of one repository share its commits; where there are too many, only the one that collects commits.
    desk = sides[-1] if shard.count > DATASET_BUCKET_SHARDS else repo
    if desk is not repo:
        sides[-1].prepare()
    return DatasetRun(adopted, schema, shard, home=repo, desk=desk, sides=sides, commit_every=commit_every)


class DatasetRun:
    """One shard's work on one output. Use it as a context manager: leaving it, however, commits what is finished."""

    def __init__(
        self,
        manifest: RunManifest,
        schema: pa.Schema,
        shard: Shard,
        *,
        home: _DatasetRepo | _DatasetPlace,
        desk: _DatasetRepo | _DatasetPlace,
        sides: Sequence[_DatasetPlace],
        commit_every: float,
    ) -> None:
        self.manifest = manifest
        self.finished: frozenset[int] = frozenset()
        self._schema, self._shard = schema, shard
        self._home, self._desk, self._sides = home, desk, sides
        self._commit_every = commit_every
        self._stats = _dataset_stats_name(shard)
        self._receipts: dict[int, PartReceipt] = {}
        self._pending: dict[str, Path] = {}
        self._commits: deque[float] = deque()
        self._markers: set[bytes] = set()
        self._keep_spool = False
        self._lock, self._committing = threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self._committer = threading.Thread(target=self._commit_now_and_then, name="committer", daemon=True)
        self._deadline = time.monotonic() + _dataset_job_timeout() - DATASET_MARGIN_S

    def __enter__(self) -> DatasetRun:
        self._spool = Path(tempfile.mkdtemp(prefix="parts-"))
        try:
            self._take_stock()
        except BaseException:
            shutil.rmtree(self._spool, ignore_errors=True)
            raise
        if self._commit_every > 0:
            self._committer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _dataset_no_second_sigterm():
            self._stop_committer()
            self._commit_or_rescue(patient=error is None)
            if not self._keep_spool:
                shutil.rmtree(self._spool, ignore_errors=True)

    def wanted(self, index: int) -> bool:
        """Whether part `index` is this shard's and was not finished when the run was opened."""
        return self._shard.holds(index) and index not in self.finished

    def add(self, part: Part, rows: pa.Table | Sequence[Mapping[str, Any]]) -> None:
        """Take the finished rows of `part`; they are on this machine's disk when this returns, and committed later.

        With `commit_every` 0 they are committed when this returns. Stops with 4 when they do not fit the schema.
        """
        path = self._spool / self.manifest.path(part.index)
        receipt = _dataset_write_part(path, rows, self._schema)
        with self._lock:
            self._receipts[part.index] = receipt
            self._pending[self.manifest.path(part.index)] = path
        if self._commit_every == 0:
            self._commit_if_allowed()

    def finish(
        self,
        total: int,
        make_card: Callable[[str | None, DatasetTotals], str],
        *,
        derive: DatasetDerive | None = None,
    ) -> DatasetResult:
        """Commit the rest, leave this shard's marker, and complete the run where no other shard has work left.

        `total` is the number of parts of the whole run. `make_card` gets the card that is there now (None: none) and
        what the run holds, and returns the new one. `derive` gets the tables of all parts, in their order and one at a
        time, and returns further files (path -> content), which go into one commit with the card; it is not called
        where what it made of these parts is there. Stops with 6 when the result is not, or not provably, there.
        """
        if total == 0 and self.wanted(0):  # no rows at all still make a dataset, which has columns and loads
            self.add(Part(index=0, start=0, stop=0), [])
        total = max(total, 1)
        self._stop_committer()
        marker = shard_marker(self._shard, parts_in_all=total)
        if marker not in self._markers:
            path = self._spool / "marker"
            path.write_bytes(marker)
            with self._lock:
                self._pending[self._shard.marker] = path
        self._commit_or_rescue(patient=True)
        try:
            return self._complete(total, make_card, derive)
        except _DATASET_FAILURES as error:
            if isinstance(error, Stop) and error.code == EXIT_INPUT:
                raise
            message = f"the rows are in {self._desk}, but the run could not be completed ({_dataset_reason(error)})"
            raise Stop(
                EXIT_NOT_PERSISTED, message, fix="run the same command again: it does what is missing"
            ) from error

    def _take_stock(self) -> None:
        """Find the parts that are finished: in the output, or where an earlier attempt had to put them."""
        for store in (self._home, *self._sides):
            listed = store.listing()
            known = _dataset_receipts(store, [self._stats] if self._stats in listed else [], self._spool)
            markers = [self._shard.marker] if self._shard.marker in listed else []
            self._markers.update(_dataset_read(store, markers, self._spool).values())
            there = _dataset_parts(self.manifest, listed)
            whole = {index for index, path in there.items() if index not in known or listed[path].fits(known[index])}
            self._receipts.update({index: known[index] for index in whole & known.keys()})
            self.finished |= whole

    def _commit_now_and_then(self) -> None:
        while not self._closing.wait(self._commit_every):
            self._commit_if_allowed()

    def _commit_if_allowed(self) -> None:
        """Commit what is finished, within this shard's share of commits; what fails is kept for the next time."""
        now = time.monotonic()
        while self._commits and now - self._commits[0] > 3600:
            self._commits.popleft()
        share = DATASET_COMMITS_PER_HOUR // min(self._shard.count, DATASET_BUCKET_SHARDS) - DATASET_RESERVED_COMMITS
        if isinstance(self._desk, _DatasetRepo) and len(self._commits) >= share:
            return
        try:
            self._commit_pending()
        except _DATASET_FAILURES as error:
            note(
                f"{len(self._pending)} files are not in {self._desk} yet ({_dataset_reason(error)}); trying again later"
            )

    def _commit_pending(self) -> None:
        with self._committing:
            with self._lock:
                batch, receipts = dict(self._pending), dict(self._receipts)
            if not batch:
                return
            self._commits.append(time.monotonic())
            self._desk.put(self._with_stats(batch, receipts), self._title(batch))
            with self._lock:
                for path, file in batch.items():
                    del self._pending[path]
                    file.unlink()

    def _with_stats(self, batch: Mapping[str, Path], receipts: Mapping[int, PartReceipt]) -> dict[str, Path]:
        # Into a folder they go one by one: a receipt without its part is no harm, a part without its receipt is read.
        return {self._stats: self._stats_file(receipts), **batch}

    def _stats_file(self, receipts: Mapping[int, PartReceipt]) -> Path:
        path = self._spool / "stats.json"
        content = {str(index): asdict(receipt) for index, receipt in sorted(receipts.items())}
        path.write_text(json.dumps({"parts": content}, sort_keys=True) + "\n", encoding="utf-8")
        return path

    def _title(self, batch: Mapping[str, Path]) -> str:
        indexes = _dataset_parts(self.manifest, batch)
        what = f"parts {min(indexes)} to {max(indexes)}" if indexes else "done"
        return f"{self.manifest.script}: {what} (shard {self._shard})"

    def _stop_committer(self) -> None:
        self._closing.set()
        if self._committer.is_alive():
            self._committer.join()

    def _commit_or_rescue(self, *, patient: bool) -> None:
        """Commit what is left; where that fails, put it where it outlives this process and stop with 6.

        On a Job the places are the volume, the run's bucket and, when there is time (`patient`), the output again.
        """
        try:
            self._commit_pending()
        except _DATASET_FAILURES as error:
            reason = _dataset_reason(error)
        else:
            return
        if os.environ.get("JOB_ID"):
            self._save_and_stop(("volume", "bucket"), reason)
            if patient and self._committed_before_the_deadline():
                return
        self._save_and_stop(("folder",), reason)
        self._keep_spool = True
        self._pending.clear()
        message = f"{self._desk} does not take the parts ({reason}); they are in {self._spool}"
        raise Stop(EXIT_NOT_PERSISTED, message, fix="mend the cause, then run the same command again")

    def _save_and_stop(self, roles: Sequence[str], reason: str) -> None:
        """Put what is left into the first side of these roles that takes it, and stop with 6; return if none does."""
        with self._lock:
            batch, receipts = dict(self._pending), dict(self._receipts)
        for side in self._sides:
            if side.role not in roles or side is self._desk:
                continue
            try:
                side.prepare()
                side.put({**self._with_stats(batch, receipts), **self._manifest_file()}, self._title(batch))
            except _DATASET_FAILURES as error:
                note(f"{side} does not take the parts either ({_dataset_reason(error)})")
                continue
            self._pending.clear()
            message = f"{len(batch)} files are not in {self._desk} ({reason}); they are saved in {side}"
            raise Stop(
                EXIT_NOT_PERSISTED, message, fix=f"{side.push_command(self._home)}, or run the same command again"
            )

    def _manifest_file(self) -> dict[str, Path]:
        path = self._spool / "manifest.json"
        path.write_bytes(self.manifest.to_bytes())
        return {PARTS_MANIFEST: path}

    def _committed_before_the_deadline(self) -> bool:
        while time.monotonic() + DATASET_RETRY_EVERY_S < self._deadline:
            time.sleep(DATASET_RETRY_EVERY_S)
            try:
                self._commit_pending()
            except _DATASET_FAILURES as error:
                note(f"{self._desk} does not take the parts yet ({_dataset_reason(error)})")
            else:
                return True
        return False

    def _complete(
        self, total: int, make_card: Callable[[str | None, DatasetTotals], str], derive: DatasetDerive | None
    ) -> DatasetResult:
        """Bring together what all shards did, verify it and write the card; leave that to the last shard."""
        listings = {store: store.listing() for store in (self._home, *self._sides)}
        places: dict[int, _DatasetRepo | _DatasetPlace] = {}
        for store, listed in listings.items():
            for index in _dataset_parts(self.manifest, listed):
                places.setdefault(index, store)
        _dataset_verify(self.manifest, listings[self._desk], self._own_receipts(places))
        missing = missing_parts(total, places)
        if missing:
            note(f"shard {self._shard} is done; other shards still have {len(missing)} of {total} parts to do")
            return DatasetResult(where=str(self._home), totals=None)
        receipts = self._all_receipts(total, listings, places)
        if isinstance(self._home, _DatasetRepo) and any(store is not self._home for store in places.values()):
            self._collect(self._home, total, places, receipts)
        _dataset_verify(self.manifest, self._home.listing(), receipts)
        totals = DatasetTotals(
            parts=total,
            rows=sum(receipt.rows for receipt in receipts.values()),
            failed=sum(receipt.failed for receipt in receipts.values()),
        )
        if derive is None:
            self._home.put_card(lambda card: make_card(card, totals), {}, self._spool)
            return DatasetResult(where=str(self._home), totals=totals)
        derived = self._derived(receipts, derive, lambda card: make_card(card, totals))
        rows = {name: receipt.rows for name, receipt in derived.items()}
        return DatasetResult(where=str(self._home), totals=totals, derived=rows)

    def _derived(
        self, receipts: Mapping[int, PartReceipt], derive: DatasetDerive, make_card: Callable[[str | None], str]
    ) -> dict[str, PartReceipt]:
        """Put what `derive` makes of the parts beside them, with the card; leave it where it is there already."""
        parts = [receipt.sha256 for _, receipt in sorted(receipts.items())]
        listed = self._home.listing()
        made_of, there = _dataset_noted_derived(self._home, listed, self._spool)
        if made_of == parts and all(name in listed and listed[name].fits(there[name]) for name in there):
            return there
        folder = self._spool / "derived"
        contents = derive(self._tables(sorted(receipts)))
        made = {name: folder / name for name in sorted(contents)}
        for name, path in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[name])
        noted = {name: _dataset_receipt_of(path) for name, path in made.items()}
        stats = folder / "derived.json"
        content = {"parts": parts, "files": {name: asdict(receipt) for name, receipt in noted.items()}}
        stats.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self._home.put_card(make_card, {**made, DATASET_DERIVED: stats}, self._spool)
        listed = self._home.listing()
        wrong = [name for name, receipt in noted.items() if name not in listed or not listed[name].fits(receipt)]
        if wrong:
            raise RuntimeError(f"{len(wrong)} files are not there as they were written: {', '.join(wrong[:3])}")
        return noted

    def _tables(self, indexes: Iterable[int]) -> Iterator[pa.Table]:
        """Yield the parts as they were written, read back from the output."""
        import pyarrow.parquet as pq

        for index in indexes:
            path = self._spool / "table.parquet"
            self._home.fetch({self.manifest.path(index): path})
            yield pq.read_table(path)
            path.unlink()

    def _own_receipts(self, places: Mapping[int, object]) -> dict[int, PartReceipt]:
        return {index: receipt for index, receipt in self._receipts.items() if places.get(index) in {self._desk, None}}

    def _all_receipts(
        self,
        total: int,
        listings: Mapping[_DatasetRepo | _DatasetPlace, Mapping[str, _DatasetEntry]],
        places: Mapping[int, _DatasetRepo | _DatasetPlace],
    ) -> dict[int, PartReceipt]:
        """Return the receipt of every part: what its shard noted, else what the part itself says."""
        found: dict[int, PartReceipt] = {}
        markers: dict[str, bytes] = {}
        for store, listed in listings.items():
            own = (f"{DATASET_STATS}/", f"{SHARD_MARKERS}/")
            names = [name for name in listed if name.startswith(own) and name != DATASET_DERIVED]
            markers.update(
                _dataset_read(store, [name for name in names if name.startswith(SHARD_MARKERS)], self._spool)
            )
            noted = _dataset_receipts(store, [name for name in names if name.startswith(DATASET_STATS)], self._spool)
            for index, path in _dataset_parts(self.manifest, listed).items():
                if places[index] is store and index in noted and listed[path].fits(noted[index]):
                    found[index] = noted[index]
        parts_in_all(markers)
        for index in missing_parts(total, found):
            path = self._spool / "unknown.parquet"
            places[index].fetch({self.manifest.path(index): path})
            found[index] = _dataset_receipt_of(path)
            path.unlink()
        return {index: found[index] for index in range(total)}

    def _collect(
        self,
        home: _DatasetRepo,
        total: int,
        places: Mapping[int, _DatasetRepo | _DatasetPlace],
        receipts: Mapping[int, PartReceipt],
    ) -> None:
        """Bring the parts that lie elsewhere into the repository in one commit, one part at a time on this disk."""

        def fetched() -> Iterator[tuple[str, Path]]:
            for index in range(total):
                if places[index] is not home:
                    name = self.manifest.path(index)
                    places[index].fetch({name: self._spool / name})
                    yield name, self._spool / name

        whole = Shard(index=1, count=1)  # the same files whoever collects: two at once make one commit
        marker = self._spool / "marker"
        marker.write_bytes(shard_marker(whole, parts_in_all=total))
        small = {whole.marker: marker, _dataset_stats_name(whole): self._stats_file(receipts)}
        home.put_one_by_one(fetched(), small, f"{self.manifest.script}: {total} parts collected")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetRepo:
    """A dataset repository as a store of parts. Commits have no parent, so that shards do not stop each other."""

    repo_id: str
    token: str

    def __str__(self) -> str:
        return self.repo_id

    def listing(self) -> dict[str, _DatasetEntry]:
        from huggingface_hub import HfApi

        api = HfApi(token=self.token)
        items = retry(
            lambda: list(api.list_repo_tree(self.repo_id, recursive=True, repo_type="dataset")),
            what=f"listing {self.repo_id}",
        )
        files = ((item, getattr(item, "lfs", None)) for item in items if hasattr(item, "size"))
        return {
            item.path: _DatasetEntry(size=item.size, sha256=str(lfs.sha256) if lfs else None) for item, lfs in files
        }

    def put(self, files: Mapping[str, Path], title: str) -> None:
        from huggingface_hub import CommitOperationAdd

        _dataset_commit(
            self,
            lambda: [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()],
            title,
        )

    def put_one_by_one(self, large: Iterable[tuple[str, Path]], small: Mapping[str, Path], title: str) -> None:
        """Put files in one commit; a large one is sent ahead as it comes, and removed from this disk."""
        from huggingface_hub import CommitOperationAdd, HfApi

        api, operations = HfApi(token=self.token), []
        for name, path in large:
            addition = CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
            retry(
                lambda addition=addition: api.preupload_lfs_files(self.repo_id, [addition], repo_type="dataset"),
                what=f"sending {name} to {self.repo_id}",
            )
            operations.append(addition)
            if addition.path_or_fileobj == b"":
                path.unlink()
        operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in small.items()]
        _dataset_commit(self, lambda: operations, title)

    def fetch(self, wanted: Mapping[str, Path]) -> None:
        from huggingface_hub import hf_hub_download

        def read(name: str, folder: str) -> str:
            return hf_hub_download(
                self.repo_id, name, repo_type="dataset", local_dir=folder, token=self.token, force_download=True
            )

        for name, path in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                file = retry(lambda name=name, folder=folder: read(name, folder), what=f"reading {name}")
                Path(file).replace(path)

    def put_card(self, make_card: Callable[[str | None], str], files: Mapping[str, Path], spool: Path) -> None:
        """Write the card and `files` on the head that was looked at; look again when that has moved."""
        from huggingface_hub import CommitOperationAdd

        target = Target(repo_id=self.repo_id, folder=None)
        for _ in range(DATASET_RACES):
            held = look_at(target, token=self.token, private=False, public=True)
            card = make_card(held.card)
            operations = [CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=card.encode())]
            operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
            if (card == held.card and not files) or _dataset_commit_on(self, held, operations, "Card"):
                return
        raise RuntimeError(f"{self.repo_id} changed {DATASET_RACES} times while its card was written")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetPlace:
    """A folder or a bucket as a store of parts. `role`: output, volume, folder (saved on this machine) or bucket."""

    place: BucketPlace
    token: str | None
    role: str

    def __str__(self) -> str:
        return str(self.place)

    def listing(self) -> dict[str, _DatasetEntry]:
        there = list_bucket(self.place, self.token)
        return {name: _DatasetEntry(size=size, sha256=None) for name, size in there.items()}

    def prepare(self) -> None:
        """Create the bucket where there is none."""
        if self.place.bucket_id is not None:
            create_bucket_once(self.place, str(self.token))

    def put(self, files: Mapping[str, Path], title: str) -> None:
        put_in_bucket(self.place, files, self.token)
        there = list_bucket(self.place, self.token)
        wrong = [name for name, path in files.items() if there.get(name) != path.stat().st_size]
        if wrong:
            raise RuntimeError(f"{self}: {', '.join(wrong[:3])} did not arrive whole ({title})")

    def fetch(self, wanted: Mapping[str, Path]) -> None:
        fetch_from_bucket(self.place, wanted, self.token)

    def put_card(self, make_card: Callable[[str | None], str], files: Mapping[str, Path], spool: Path) -> None:
        """Write the card into the folder, then `files`: the last of them says that all of it is there."""
        there = Path(str(self.place.folder)) / "README.md"
        card = make_card(there.read_text(encoding="utf-8") if there.is_file() else None)
        path = spool / "README.md"
        path.write_text(card, encoding="utf-8")
        self.put({"README.md": path, **files}, "card")

    def push_command(self, home: object) -> str:
        """Return the shell command that brings what lies here into the repository `home`."""
        folder = str(self.place.folder or "./to-push")
        push = shlex.join(["hf", "upload", str(home), folder, ".", "--repo-type", "dataset"])
        if self.place.folder is not None:
            return push
        return f"{shlex.join(['hf', 'buckets', 'sync', str(self.place), folder])} && {push}"


def _dataset_begin_on_hub(target: Target, held: Held, ours: RunManifest, token: str, *, overwrite: bool) -> RunManifest:
    """Return the manifest in the repository after writing it where needed; of racing shards the first one's counts."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo = _DatasetRepo(repo_id=str(target.repo_id), token=token)
    for attempt in range(DATASET_RACES):
        if attempt or held.head is None:
            held = look_at(target, token=token, private=False, public=True)
        there, adopted = _dataset_adopted(target, held, ours, repo, overwrite=overwrite)
        if adopted == there:
            return adopted
        operations = [CommitOperationAdd(path_in_repo=PARTS_MANIFEST, path_or_fileobj=adopted.to_bytes())]
        outdated = _dataset_outdated(there, held.names, repo)
        operations += [CommitOperationDelete(path_in_repo=name) for name in outdated]
        if _dataset_commit_on(repo, held, operations, f"{ours.script}: a run begins"):
            return adopted
    message = f"{target} changed {DATASET_RACES} times while the run began"
    raise Stop(EXIT_NOT_PERSISTED, message, fix="run the same command again when nobody else writes to it")


def _dataset_begin_in_folder(target: Target, held: Held, ours: RunManifest, *, overwrite: bool) -> RunManifest:
    """Return the manifest in the folder after writing it where needed; of racing shards the first one's counts."""
    folder = Path(str(target.folder))
    home = _DatasetPlace(place=BucketPlace(bucket_id=None, prefix="", folder=folder), token=None, role="output")
    for attempt in range(DATASET_RACES):
        if attempt:
            held = look_at(target, token=None, private=False, public=True)
        there, adopted = _dataset_adopted(target, held, ours, home, overwrite=overwrite)
        if adopted == there:
            for path in half_written(folder / PARTS_MANIFEST):
                path.unlink(missing_ok=True)
            return adopted
        for name in _dataset_outdated(there, held.names, home):
            (folder / name).unlink(missing_ok=True)
        _dataset_place_manifest(folder, adopted, replace=there is not None)
    raise Stop(EXIT_NOT_PERSISTED, f"{target} changed while the run began", fix="run the same command again")


def _dataset_place_manifest(folder: Path, manifest: RunManifest, *, replace: bool) -> None:
    """Write the manifest whole; unless it is to `replace` one, not over that of a sibling shard that was first."""
    folder.mkdir(parents=True, exist_ok=True)
    there = folder / PARTS_MANIFEST
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{PARTS_MANIFEST}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(manifest.to_bytes())
        # a sibling may have been first, and then taken this for a leftover
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            try:
                temporary.replace(there) if replace or there.exists() else there.hardlink_to(temporary)
            except (FileExistsError, FileNotFoundError):
                raise
            except OSError:  # a mounted bucket has no links
                temporary.replace(there)
    finally:
        temporary.unlink(missing_ok=True)


def _dataset_adopted(
    target: Target, held: Held, ours: RunManifest, store: _DatasetRepo | _DatasetPlace, *, overwrite: bool
) -> tuple[RunManifest | None, RunManifest]:
    """Return (the manifest that is there, the manifest to go by)."""
    there = parse_run_manifest(held.manifest)
    if there is None:
        run = Run(script=ours.script, request=ours.request, source=ours.source)
        refuse_foreign(target, held, run, overwrite=overwrite)
    complete = there is not None and there.source != ours.source and _dataset_is_complete(there, held.names, store)
    return there, adopt_manifest(there, ours, where=str(target), overwrite=overwrite, complete=complete)


def _dataset_is_complete(manifest: RunManifest, names: Sequence[str], store: _DatasetRepo | _DatasetPlace) -> bool:
    markers = [name for name in names if name.startswith(f"{SHARD_MARKERS}/")]
    with tempfile.TemporaryDirectory() as folder:
        total = parts_in_all(_dataset_read(store, markers[:1], Path(folder)))
    return total is not None and not missing_parts(total, _dataset_parts(manifest, names))


def _dataset_outdated(
    there: RunManifest | None, names: Sequence[str], store: _DatasetRepo | _DatasetPlace
) -> list[str]:
    """Return the files of a run that is replaced: its parts, what was made from them, stats and markers."""
    if there is None:
        return []
    own = (f"{DATASET_STATS}/", f"{SHARD_MARKERS}/")
    with tempfile.TemporaryDirectory() as folder:
        made = _dataset_noted_derived(store, names, Path(folder))[1]
    outdated = [name for name in names if name in made or name.startswith(own) or there.index(name) is not None]
    return sorted(outdated, key=lambda name: name == DATASET_DERIVED)  # last: it tells a second attempt of the others


def _dataset_sides(repo: _DatasetRepo, manifest: RunManifest) -> tuple[_DatasetPlace, ...]:
    """Return where this run's parts lie or go when they are not in `repo`; the run's bucket is the last."""
    run = hashlib.sha256(manifest.to_bytes()).hexdigest()[:8]
    name = f"{repo.repo_id.replace('/', '--')}-not-pushed-{run}"
    folders = {"folder": Path(name).absolute()}
    volume = os.environ.get("JOBSHELF_VOLUME")
    if volume:
        folders = {"volume": Path(volume) / name, **folders}
    sides = [
        _DatasetPlace(place=BucketPlace(bucket_id=None, prefix="", folder=folder), token=None, role=role)
        for role, folder in folders.items()
    ]
    bucket = BucketPlace(bucket_id=f"{repo.repo_id}-parts", prefix=run, folder=None)
    return (*sides, _DatasetPlace(place=bucket, token=repo.token, role="bucket"))


def _dataset_commit(repo: _DatasetRepo, operations: Callable[[], list[Any]], title: str) -> None:
    """Commit without a parent; a refusal because somebody else commits at this moment (409, 412) is tried again."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=repo.token)
    for race in range(1, DATASET_RACES + 1):
        try:
            retry(
                lambda: api.create_commit(repo.repo_id, operations(), commit_message=title, repo_type="dataset"),
                what=f"writing to {repo}",
            )
        except HfHubHTTPError as error:
            if http_status(error) not in {409, 412} or race == DATASET_RACES:
                raise
            time.sleep(retry_pause(error, race) * random.uniform(0.5, 1.5))  # noqa: S311 - it only spreads shards
        else:
            return


def _dataset_commit_on(repo: _DatasetRepo, held: Held, operations: list[Any], title: str) -> bool:
    """Commit on the head that was looked at; False when it has moved since."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=repo.token)
    try:
        retry(
            lambda: api.create_commit(
                repo.repo_id, operations, commit_message=title, repo_type="dataset", parent_commit=held.head
            ),
            what=f"writing to {repo}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {404, 409, 412}:
            raise
        return False
    return True


def _dataset_stats_name(shard: Shard) -> str:
    return f"{DATASET_STATS}/{shard.rank:05d}.json"


def _dataset_parts(manifest: RunManifest, names: Iterable[str]) -> dict[int, str]:
    """Return the parts among `names`: number -> path."""
    numbered = {name: manifest.index(name) for name in sorted(names)}
    return {index: name for name, index in numbered.items() if index is not None}


def _dataset_read(store: _DatasetRepo | _DatasetPlace, names: Sequence[str], spool: Path) -> dict[str, bytes]:
    """Return the content of small files of `store`."""
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        wanted = {name: Path(folder) / f"{number}" for number, name in enumerate(names)}
        if wanted:
            store.fetch(wanted)
        return {name: path.read_bytes() for name, path in wanted.items()}


def _dataset_receipts(store: _DatasetRepo | _DatasetPlace, names: Sequence[str], spool: Path) -> dict[int, PartReceipt]:
    """Return the receipts in the stats files `names`; what is not a receipt counts as not noted."""
    found: dict[int, PartReceipt] = {}
    for content in _dataset_read(store, names, spool).values():
        try:
            noted = json.loads(content)["parts"]
            found.update({int(index): PartReceipt(**receipt) for index, receipt in noted.items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            note(f"a file in {DATASET_STATS}/ of {store} is damaged; the parts are read instead")
    return found


def _dataset_noted_derived(
    store: _DatasetRepo | _DatasetPlace, names: Iterable[str], spool: Path
) -> tuple[list[str], dict[str, PartReceipt]]:
    """Return (sha256 of the parts, receipts of the files made from them); none where nothing was made, or it is damaged."""
    if DATASET_DERIVED not in names:
        return [], {}
    content = _dataset_read(store, [DATASET_DERIVED], spool)[DATASET_DERIVED]
    try:
        noted = json.loads(content)
        return list(noted["parts"]), {name: PartReceipt(**receipt) for name, receipt in noted["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        note(f"{DATASET_DERIVED} of {store} is damaged; what it lists is made again")
        return [], {}


def _dataset_write_part(path: Path, rows: pa.Table | Sequence[Mapping[str, Any]], schema: pa.Schema) -> PartReceipt:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if isinstance(rows, pa.Table):
            table = rows.select(schema.names).cast(schema)
        else:
            table = pa.Table.from_pylist(list(rows), schema=schema)
    except (ValueError, TypeError, KeyError) as error:
        message = f"the rows of {path.name} do not have the columns of the output: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix=f"expected {one_line(', '.join(schema.names))} of these types") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return _dataset_receipt_of(path)


def _dataset_receipt_of(path: Path) -> PartReceipt:
    """Return what a part says of itself. Only the column of errors is read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows, failed = file.metadata.num_rows, 0
        if DATASET_ERROR_COLUMN in file.schema_arrow.names:
            errors = file.read(columns=[DATASET_ERROR_COLUMN]).column(0)
            failed = rows - errors.null_count
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return PartReceipt(rows=rows, failed=failed, size=path.stat().st_size, sha256=digest)


def _dataset_verify(
    manifest: RunManifest, listed: Mapping[str, _DatasetEntry], receipts: Mapping[int, PartReceipt]
) -> None:
    """Raise RuntimeError when a part is not listed as it was written."""
    paths = {index: manifest.path(index) for index in receipts}
    wrong = [path for index, path in paths.items() if path not in listed or not listed[path].fits(receipts[index])]
    if wrong:
        raise RuntimeError(f"{len(wrong)} parts are not there as they were written: {', '.join(sorted(wrong)[:3])}")


def _dataset_reason(error: BaseException) -> str:
    return one_line(error.message if isinstance(error, Stop) else error)


def _dataset_job_timeout() -> float:
    """Return the seconds that this Job may run as JOBSHELF_TIMEOUT says (`300`, `90m`, `1.5h`, `2d`)."""
    given = os.environ.get("JOBSHELF_TIMEOUT", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", given)
    if match is None:
        return DATASET_JOB_TIMEOUT_S
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


@contextlib.contextmanager
def _dataset_no_second_sigterm() -> Iterator[None]:
    """Hold off SIGTERM: it often comes twice, from `uv run` and to the whole group, and the first is being obeyed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


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


# --- block: engine 1 (jobshelf) ---
ENGINES = ("vllm", "openai", "transformers")
ENGINE_API_KEY = "OPENAI_API_KEY"
ENGINE_API_ATTEMPTS = 8
ENGINE_API_TIMEOUT_S = 600.0
ENGINE_BATCH = 32  # conversations that transformers answers at a time
ENGINE_WINDOWS = 2  # times as many conversations wait in vLLM as it answers at once, so that it never runs dry
ENGINE_LONGEST_THAT_FITS = -1  # vLLM finds it: a model for long texts also runs where the memory holds short ones alone
ENGINE_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
ENGINE_OVERHEAD = 1.25  # memory for the cache and the work beside the weights, at least
_ENGINE_SEED_BITS = 31

Conversation = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """Which model answers and how it is loaded. `weights` is its size in bytes, `heads` its attention heads.

    `commit` pins a model of the Hub; None for a local folder and for an API. What is not known is 0.
    """

    name: str
    commit: str | None = None
    weights: int = 0
    heads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How an answer is drawn: `temperature` 0 is greedy; `count` answers each; `json_schema` binds their form."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 1024
    count: int = 1
    stop: tuple[str, ...] = ()
    seed: int = 0
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What the engine is told beside the model. `extra` goes to it as it is; `base_url` and `concurrency` to an API."""

    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_model_len: int | None = None
    dtype: str = "auto"
    quantization: str | None = None
    lora: str | None = None
    tensor_parallel: int = 1
    memory_share: float = 0.9
    seed: int = 0
    base_url: str | None = None
    concurrency: int = 32
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A conversation to answer; `key` tells its reply from the others and, with the seed, draws its answer.

    `sampling` is how this one is answered, where it is not as the others are.
    """

    key: int
    conversation: Conversation
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: `finish_reason` is "stop" when the model ended it and "length" when the tokens did.

    `tokens` is None where an API tells only how many all answers to a question have together.
    """

    text: str
    finish_reason: str
    tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for the question `key`: the answers, or the `error` that took their place.

    `output_tokens` are those of all answers together.
    """

    key: int
    answers: tuple[Answer, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None


class Engine(Protocol):
    """What all engines can do. `packages` are those whose versions a card should tell."""

    packages: tuple[str, ...]

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room.

        Where `questions` is a `QuestionQueue`, what is put in while replies are read is answered too.
        """
        ...


class QuestionQueue:
    """Questions that come up while others are answered. It seems to end whenever it is empty, and goes on later."""

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque()

    def __iter__(self) -> QuestionQueue:
        return self

    def __next__(self) -> Question:
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()

    def put(self, question: Question) -> None:
        """Add a question; those put in first are asked first."""
        self._waiting.append(question)


def describe_model(name: str, *, revision: str | None, token: str | None) -> EngineModel:
    """Return what is known of a model on the Hub or in a local folder, before anything of it is loaded.

    Stops with 3 when it is gated, with 4 when there is none.
    """
    if Path(name).is_dir():
        return _local_model(Path(name))
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi(token=token or False)
        info = retry(lambda: api.model_info(name, revision=revision, files_metadata=True), what=f"looking at {name}")
        if info.gated:
            retry(lambda: api.auth_check(name), what=f"asking for access to {name}")
    except (HfHubHTTPError, ValueError) as error:
        raise _no_model(error, name, revision) from error
    sizes = [sibling.size or 0 for sibling in info.siblings or () if sibling.rfilename.endswith(".safetensors")]
    heads = _heads(info.config or {})
    return EngineModel(name=name, commit=info.sha, weights=sum(sizes), heads=heads)


def require_engine(engine: str, model: EngineModel, *, base_url: str | None) -> None:
    """Stop with 5 when this machine cannot hold the model, in milliseconds and before anything heavy is imported."""
    if engine == "openai" and not base_url:
        raise Stop(EXIT_USAGE, "--engine openai needs the address of an API", fix="add --base-url https://.../v1")
    if engine == "vllm" and not _vllm_for_cpu():
        require_vram(int(model.weights * ENGINE_OVERHEAD))


def split_gpus(model: EngineModel) -> tuple[int, int]:
    """Return (tensor parallel, data parallel): the fewest GPUs that hold the model, and how many such groups there are.

    Copies of a model that answer apart are faster than one that is cut up. The GPUs of a group divide the heads.
    """
    gpus = list_gpus()
    if not gpus:
        return 1, 1
    smallest = min(gpu.memory for gpu in gpus)
    sizes = [n for n in range(1, len(gpus) + 1) if len(gpus) % n == 0 and (not model.heads or model.heads % n == 0)]
    holding = [n for n in sizes if n * smallest >= model.weights * ENGINE_OVERHEAD]
    tensor = holding[0] if holding else sizes[-1]
    return tensor, len(gpus) // tensor


def start_engine(engine: str, model: EngineModel, settings: EngineSettings, *, token: str | None) -> Engine:
    """Load the model into `engine` (one of `ENGINES`)."""
    if engine == "openai":
        return ApiEngine(model, settings, token=token)
    kind: Callable[..., Engine] = VllmEngine if engine == "vllm" else TransformersEngine
    try:
        return kind(model, settings)
    except (ImportError, RuntimeError, ValueError) as error:
        message = f"{engine} cannot load {model.name}: {one_line(error)[:500]}"
        fix = "check the model, its options and the memory of the machine (--max-model-len, --quantization, --flavor)"
        raise Stop(EXIT_ENVIRONMENT, message, fix=fix) from error


class VllmEngine:
    """vLLM in this process, fed while it answers."""

    packages = ("vllm", "torch", "transformers")

    def __init__(self, model: EngineModel, settings: EngineSettings) -> None:
        # The sampler of FlashInfer is compiled on first use, by a compiler that the image of a Job does not have.
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is for --json
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from vllm import LLM

        adapter = _adapter_folder(settings.lora)
        options = {
            "model": model.name,
            "revision": model.commit,
            "tokenizer_revision": model.commit,
            "dtype": settings.dtype,
            "quantization": settings.quantization,
            "max_model_len": settings.max_model_len or ENGINE_LONGEST_THAT_FITS,
            "tensor_parallel_size": settings.tensor_parallel,
            "gpu_memory_utilization": settings.memory_share,
            "seed": settings.seed,
        }
        given = {name: value for name, value in options.items() if value is not None}
        self._llm = LLM(**{**given, **_lora_options(adapter), **settings.extra})
        self._lora = _vllm_lora(adapter)
        self._tokenizer = self._llm.get_tokenizer()
        self._template = settings.chat_template_kwargs
        self._longest = self._llm.llm_engine.vllm_config.model_config.max_model_len
        self._window = self._llm.llm_engine.vllm_config.scheduler_config.max_num_seqs * ENGINE_WINDOWS
        # On the CPU a generator of its own for each request fails once a prompt is read in pieces (vLLM 0.32).
        self._seeded = not _vllm_for_cpu()

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        waiting = 0
        while True:
            for question in itertools.islice(stream, self._window - waiting):
                refusal = self._ask(question, question.sampling or sampling)
                if refusal is None:
                    waiting += 1
                else:
                    yield refusal
            if not waiting:
                return
            for done in self._llm.llm_engine.step():
                if done.finished:
                    waiting -= 1
                    yield _vllm_reply(done)

    def _ask(self, question: Question, sampling: Sampling) -> Reply | None:
        """Hand the question over to the engine, or return the reply that says why it cannot be asked."""
        from vllm.exceptions import VLLMValidationError

        try:
            tokens = _prompt_tokens(self._tokenizer, question.conversation, self._template)
            if len(tokens) >= self._longest:
                return Reply(key=question.key, prompt_tokens=len(tokens), error=_too_long(len(tokens), self._longest))
            seed = _seed_of(sampling.seed, question.key) if self._seeded and sampling.temperature > 0 else None
            self._llm.llm_engine.add_request(
                str(question.key),
                {"prompt_token_ids": tokens},
                _vllm_sampling(sampling, seed),
                lora_request=self._lora,
            )
        except (*_template_errors(), VLLMValidationError) as error:
            return Reply(key=question.key, error=one_line(error))
        return None


class ApiEngine:
    """Any server with OpenAI's chat completions: `vllm serve`, llama.cpp's, `transformers serve`, a provider."""

    packages = ("openai",)

    def __init__(self, model: EngineModel, settings: EngineSettings, *, token: str | None) -> None:
        from openai import OpenAI

        self._model, self._settings = model.name, settings
        self._client: OpenAI = OpenAI(
            base_url=settings.base_url,
            api_key=_api_key(str(settings.base_url), token),
            max_retries=ENGINE_API_ATTEMPTS,
            timeout=ENGINE_API_TIMEOUT_S,
        )

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        stopped = threading.Event()
        with ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="ask") as pool:
            running: set[Future[Reply]] = set()
            try:
                while True:
                    room = itertools.islice(stream, self._settings.concurrency - len(running))
                    running |= {pool.submit(self._ask, asked, asked.sampling or sampling, stopped) for asked in room}
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                stopped.set()  # what has not been asked yet is not asked any more
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: Question, sampling: Sampling, stopped: threading.Event) -> Reply:
        from openai import APIConnectionError, APIError, APIStatusError

        if stopped.is_set():
            return Reply(key=question.key, error="not asked: the run was stopped")
        try:
            done = self._client.chat.completions.create(
                model=self._model,
                messages=[dict(message) for message in question.conversation],
                **_api_sampling(sampling, question.key, self._settings),
            )
        except APIStatusError as error:
            if http_status(error) in {400, 413, 422}:  # this conversation is at fault, not the run
                return Reply(key=question.key, error=one_line(error.message))
            raise _api_refusal(error, str(self._settings.base_url)) from error
        except APIConnectionError as error:
            message = f"{self._settings.base_url} cannot be reached: {one_line(error.__cause__ or error)}"
            raise Stop(EXIT_ENVIRONMENT, message, fix="check --base-url and the network, then run it again") from error
        except (APIError, ValueError) as error:
            return Reply(key=question.key, error=one_line(error))
        return _api_reply(question.key, done)


class TransformersEngine:
    """transformers, one batch after the other: for small models, and machines without a GPU."""

    packages = ("transformers", "torch")

    def __init__(self, model: EngineModel, settings: EngineSettings) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        if settings.lora is not None:
            raise Stop(EXIT_USAGE, "an adapter needs vLLM here", fix="add --engine vllm, or merge it into the model")
        logging.disable_progress_bar()
        place = "cuda" if torch.cuda.is_available() else "cpu"
        dtype: Any = settings.dtype if settings.dtype != "auto" or place == "cuda" else torch.float32
        options = {"revision": model.commit} if model.commit else {}
        self._tokenizer = AutoTokenizer.from_pretrained(model.name, padding_side="left", **options)
        self._model = AutoModelForCausalLM.from_pretrained(model.name, dtype=dtype, **options, **settings.extra)
        self._model.to(place).eval()
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        known = getattr(self._model.config, "max_position_embeddings", None) or self._tokenizer.model_max_length
        self._longest = min(settings.max_model_len or known, known)
        self._template = settings.chat_template_kwargs

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        while batch := list(itertools.islice(stream, ENGINE_BATCH)):
            for alike, group in itertools.groupby(batch, key=lambda question: question.sampling or sampling):
                asked: list[tuple[int, list[int]]] = []
                for question in group:
                    prompt = self._prompt(question)
                    if isinstance(prompt, Reply):
                        yield prompt
                    else:
                        asked.append((question.key, prompt))
                if asked:
                    yield from self._answer(asked, alike)

    def _prompt(self, question: Question) -> list[int] | Reply:
        try:
            tokens = _prompt_tokens(self._tokenizer, question.conversation, self._template)
        except _template_errors() as error:
            return Reply(key=question.key, error=one_line(error))
        if len(tokens) >= self._longest:
            return Reply(key=question.key, prompt_tokens=len(tokens), error=_too_long(len(tokens), self._longest))
        return tokens

    def _answer(self, asked: Sequence[tuple[int, list[int]]], sampling: Sampling) -> Iterator[Reply]:
        import torch

        if sampling.json_schema is not None:
            raise Stop(EXIT_USAGE, "transformers cannot bind an answer to a schema", fix="use --engine vllm or openai")
        padded = self._tokenizer.pad({"input_ids": [tokens for _, tokens in asked]}, return_tensors="pt")
        inputs = {name: value.to(self._model.device) for name, value in padded.items()}
        width = inputs["input_ids"].shape[1]
        torch.manual_seed(_seed_of(sampling.seed, asked[0][0]))
        with torch.inference_mode():
            output = self._model.generate(**inputs, **self._sampling(sampling, width))
        rows = output[:, width:].reshape(len(asked), sampling.count, -1)
        for (key, tokens), answers in zip(asked, rows, strict=True):
            told = tuple(self._cut(answer, sampling.stop) for answer in answers)
            yield _counted(key, told, len(tokens))

    def _sampling(self, sampling: Sampling, width: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_new_tokens": min(sampling.max_tokens, self._longest - width),
            "num_return_sequences": sampling.count,
            "repetition_penalty": sampling.repetition_penalty,
            "pad_token_id": self._tokenizer.pad_token_id,
            "do_sample": sampling.temperature > 0,
        }
        if sampling.temperature > 0:
            drawn = {"top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p or None}
            options |= {"temperature": sampling.temperature, **drawn}
        if sampling.stop:
            options |= {"stop_strings": list(sampling.stop), "tokenizer": self._tokenizer}
        return options

    def _cut(self, tokens: torch.Tensor, stop: Sequence[str]) -> Answer:
        """Return the answer in a row of the batch, which goes on with padding after its end."""
        ends = self._model.generation_config.eos_token_id
        ending = {
            self._tokenizer.eos_token_id,
            self._tokenizer.pad_token_id,
            *(ends if isinstance(ends, list) else [ends]),
        }
        numbers = tokens.tolist()
        end = next((place for place, number in enumerate(numbers) if number in ending), None)
        text = self._tokenizer.decode(numbers[:end], skip_special_tokens=True)
        found = [place for word in stop if (place := text.find(word)) >= 0]
        ended = end is not None or bool(found)
        return Answer(
            text=text[: min(found)] if found else text,
            finish_reason="stop" if ended else "length",
            tokens=len(numbers) if end is None else end + 1,
        )


def split_thinking(text: str) -> tuple[str | None, str]:
    """Return (what the model thought, its answer). Some templates open <think> in the prompt: only its end is there."""
    if "</think>" in text:
        thought, _, answer = text.partition("</think>")
    elif text.lstrip().startswith("<think>"):  # cut off before it came to an answer
        thought, answer = text, ""
    else:
        return None, text
    return thought.strip().removeprefix("<think>").strip(), answer.strip()


def _local_model(folder: Path) -> EngineModel:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{folder} has no config.json that can be read ({one_line(error)})"
        raise Stop(EXIT_INPUT, message, fix="name a folder that save_pretrained() wrote") from error
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return EngineModel(name=str(folder), weights=weights, heads=_heads(config))


def _heads(config: Mapping[str, Any]) -> int:
    text = config.get("text_config") or config
    heads = text.get("num_attention_heads", 0)
    return heads if isinstance(heads, int) else 0


def _no_model(error: Exception, name: str, revision: str | None) -> Stop:
    kind, status = type(error).__name__, http_status(error)
    if kind == "GatedRepoError":
        fix = f"ask for access at its page on the Hub, then {token_advice()}"
        return Stop(EXIT_TOKEN, f"the model {name} is gated and this account has no access", fix=fix)
    if kind == "RevisionNotFoundError":
        return Stop(EXIT_INPUT, f"the model {name} has no revision {revision!r}", fix="name a branch, tag or commit")
    if status in {401, 403} and kind != "RepositoryNotFoundError":
        return Stop(EXIT_TOKEN, f"the Hub does not accept the token for the model {name}", fix=token_advice())
    message = f"there is no model {name} on the Hub for this account, and no such folder"
    return Stop(EXIT_INPUT, message, fix=f"check the spelling; if it is private, {token_advice()}")


def _vllm_for_cpu() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return "cpu" in version("vllm")
    except PackageNotFoundError:
        return False


def _vllm_sampling(sampling: Sampling, seed: int | None) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    schema = sampling.json_schema
    return SamplingParams(
        n=sampling.count,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        seed=seed,
        structured_outputs=None if schema is None else StructuredOutputsParams(json=dict(schema)),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _vllm_reply(done: RequestOutput) -> Reply:
    answers = tuple(
        Answer(text=said.text, finish_reason=str(said.finish_reason), tokens=len(said.token_ids))
        for said in sorted(done.outputs, key=lambda said: said.index)
    )
    return _counted(int(done.request_id), answers, len(done.prompt_token_ids))


def _counted(key: int, answers: tuple[Answer, ...], prompt_tokens: int) -> Reply:
    spoken = sum(answer.tokens or 0 for answer in answers)
    return Reply(key=key, answers=answers, prompt_tokens=prompt_tokens, output_tokens=spoken)


def _vllm_lora(adapter: Path | None) -> LoRARequest | None:
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, str(adapter)) if adapter else None


def _adapter_folder(name: str | None) -> Path | None:
    """Return the folder of a LoRA adapter, fetched from the Hub when it is none."""
    if name is None or Path(name).is_dir():
        return Path(name) if name else None
    from huggingface_hub import snapshot_download

    return Path(retry(lambda: snapshot_download(name), what=f"fetching {name}"))


def _lora_options(adapter: Path | None) -> dict[str, Any]:
    """Return what vLLM has to reserve for `adapter`: of the few ranks that it knows, the least that holds it."""
    if adapter is None:
        return {}
    rank = int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    return {"enable_lora": True, "max_lora_rank": next((known for known in ENGINE_LORA_RANKS if known >= rank), rank)}


def _prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, conversation: Conversation, template: Mapping[str, Any]
) -> list[int]:
    """Return the tokens of the conversation, ready for the assistant to speak; special tokens as the template sets them."""
    messages = [dict(message) for message in conversation]
    given = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **template)
    return list(tokenizer(given, add_special_tokens=False, verbose=False)["input_ids"])


def _template_errors() -> tuple[type[Exception], ...]:
    """Return what a chat template raises at a conversation that it was not written for."""
    from jinja2 import TemplateError

    return TemplateError, LookupError, ValueError, TypeError, AttributeError


def _too_long(tokens: int, longest: int) -> str:
    return f"the prompt has {tokens} tokens; the model takes {longest}, the answer included"


def _seed_of(seed: int, key: int) -> int:
    """Return a seed for one question, so that a restart draws the same answer for it."""
    return random.Random(f"{seed} {key}").getrandbits(_ENGINE_SEED_BITS)  # noqa: S311 - drawing answers, not secrets


def _api_key(base_url: str, token: str | None) -> str:
    """Return the key for an API: OPENAI_API_KEY; the Hub's token is for the Hub's own hosts, and nobody else."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme == "https" and (host == "huggingface.co" or host.endswith(".huggingface.co")):
        if token is None:
            raise Stop(EXIT_TOKEN, f"no Hub token, needed to ask {host}", fix=token_advice())
        return token
    return os.environ.get(ENGINE_API_KEY) or "none"


def _api_sampling(sampling: Sampling, key: int, settings: EngineSettings) -> dict[str, Any]:
    beyond_openai = {
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "chat_template_kwargs": dict(settings.chat_template_kwargs),
    }
    usual = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "chat_template_kwargs": {}}
    extra = {name: value for name, value in beyond_openai.items() if value != usual[name]}
    options: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "extra_body": {**extra, **settings.extra},
    }
    if sampling.temperature > 0:
        options["seed"] = _seed_of(sampling.seed, key)
    if sampling.count > 1:
        options["n"] = sampling.count
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": dict(sampling.json_schema), "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    return options


def _api_refusal(error: APIStatusError, base_url: str) -> Stop:
    status, said = http_status(error), one_line(error.message)[:300]
    if status in {401, 403}:
        fix = f"set {ENGINE_API_KEY} (in a Job: --secrets {ENGINE_API_KEY})"
        return Stop(EXIT_TOKEN, f"{base_url} does not accept the key: {said}", fix=fix)
    if status == 404:
        return Stop(EXIT_INPUT, f"{base_url} has no such model or address: {said}", fix="check --model and --base-url")
    message = f"{base_url} answered {status} {ENGINE_API_ATTEMPTS + 1} times: {said}"
    return Stop(EXIT_ENVIRONMENT, message, fix="run the same command again later: it does what is missing")


def _api_reply(key: int, done: ChatCompletion) -> Reply:
    usage = done.usage
    asked, spoken = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    each = spoken if len(done.choices) == 1 else None
    answers = tuple(
        Answer(text=choice.message.content or "", finish_reason=str(choice.finish_reason), tokens=each)
        for choice in done.choices
    )
    if not answers:
        return Reply(key=key, error="the API gave no answer")
    return Reply(key=key, answers=answers, prompt_tokens=asked, output_tokens=spoken)


# --- end block ---


if __name__ == "__main__":
    raise SystemExit(main())
