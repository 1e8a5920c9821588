# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "jinja2>=3.1,<4",
#     "pyarrow>=26,<27",
#     "tenacity>=9.1,<10",
#     "torch>=2.13,<3",
#     "transformers>=5.19,<6",
#     "vllm>=0.32,<0.33; sys_platform == 'linux'",
#     "zstandard>=0.25,<1",  # used by: fsspec
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
# version = "0.2.0"
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
# rehearse = ["{input:questions}", "{output}", "--prompt-column", "question", "--model", "{model}", "--engine", "transformers", "--temperature", "0", "--max-tokens", "8", "--part-rows", "4", "--commit-every", "0"]
# estimate = ["--job", "generate", "--max-new-tokens", "2048"]
# ///
"""Generate a response for every row of a dataset; resumable.

Reads a Hub dataset or local files (parquet, jsonl, json, csv, tsv, arrow, also .gz and .zst) and adds a language model's
response to each row. A row is a prompt, a conversation, or a list of turns, which are answered one after the other; a
column `tools` is offered to the model. A row that cannot be answered gets an `error`. Run the same command again after a
crash or a timeout: only missing parts are computed, and each row gets the response of an uninterrupted run.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/generate-responses.py user/prompts user/answers --model Qwen/Qwen3-4B
    hf jobs uv run --secrets HF_TOKEN https://huggingface.co/datasets/jobshelf/scripts/resolve/main/generate-responses.py user/prompts user/answers --model Qwen/Qwen3-4B

vLLM uses all GPUs of the machine; several Jobs share one OUTPUT with `--shard I/N`. `--engine openai --base-url URL` asks
an API (key in OPENAI_API_KEY); `--engine transformers` runs small models without a GPU. Needs a token that may write.
Exit codes: 0 done; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 computed, but not persisted.
"""

import argparse
import ast
import atexit
import csv
import glob
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/generate-responses.py"
CHATS = ("messages", "conversations")  # columns that hold conversations
ROLES = {role: role for role in ("system", "developer", "user", "assistant", "tool")}
ROLES |= {"human": "user", "gpt": "assistant", "function": "tool", "observation": "tool"}
PACKAGES = {"vllm": ("vllm", "torch"), "openai": ("datasets",), "transformers": ("transformers", "torch")}
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
SAMPLING = ("temperature", "top_p", "top_k", *PENALTIES, "max_tokens", "stop", "stop_token_ids")

Message = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = parse_arguments(argv)
    require_write(args.output)
    rows, commit, private = read_rows(args.input, args.config, args.split)
    rows = choose_columns(args, rows)
    run = run_identity(argparse.Namespace(**{**vars(args), "concurrency": None}), commit)
    run["model"], private_model = model_commit(args)
    output = Output(args, run)
    parts = {f"data/train-{start:08d}.parquet": start for start in range(0, len(rows), args.part_rows)}
    print(f"{len(rows):,} rows of {args.input} at {commit}, in {len(parts):,} parts, to {args.output}")
    if not args.dry_run:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that finished parts are sent
        answer_parts(args, output, rows, parts, private=private or private_model)
    return 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("input", metavar="INPUT", help="Hub dataset (user/name), or a local file or folder")
    add("output", metavar="OUTPUT", help="Hub dataset (user/name), hf://buckets/user/name/folder, or a folder (./out)")
    add("--config", metavar="NAME", help="configuration of the dataset")
    add("--split", default="train", help="split to read (default: train)")
    add("--map", nargs="+", default=[], metavar="OLD=NEW", help="rename columns first")
    add("--messages-column", metavar="NAME", help="column of conversations (default: messages or conversations)")
    add("--prompt-column", metavar="NAME", help="column of prompts or lists of turns (default: prompt or turns)")
    add("--system", metavar="TEXT", help="system message for conversations that have none")
    add("--output-column", default="response", metavar="NAME", help="column to add (default: response)")
    add("--max-samples", type=int, metavar="N", help="read only the first N rows")
    add("--model", "--model-id", required=True, metavar="M", help="model on the Hub, local folder, or an API's name")
    add("--model-revision", metavar="REV", help="branch, tag or commit of the model")
    add("--engine", choices=tuple(ENGINES), default="vllm", help="what answers (default: vllm)")
    add("--engine-args", type=json.loads, default={}, metavar="JSON", help="more arguments of the engine or the API")
    add("--base-url", metavar="URL", help="address of an OpenAI-compatible API, for --engine openai")
    add("--concurrency", type=int, default=32, metavar="N", help="requests to an API at once (default: 32)")
    add("--chat-template-kwargs", type=json.loads, default={}, metavar="JSON", help='as {"enable_thinking": false}')
    add("--temperature", type=float, default=0.7, help="randomness, 0 for none (default: 0.7)")
    add("--top-p", type=float, default=1.0, help="share of the likeliest tokens to draw from (default: 1)")
    add("--top-k", type=int, default=0, help="number of the likeliest tokens to draw from (default: all)")
    add("--repetition-penalty", type=float, default=1.0, help="above 1: less repetition")
    add("--presence-penalty", type=float, default=0.0, help="above 0: more new words")
    add("--frequency-penalty", type=float, default=0.0, help="above 0: fewer frequent words")
    add("--max-tokens", type=int, default=2048, metavar="N", help="tokens of a response (default: 2048)")
    add("--stop", action="append", default=[], metavar="TEXT", help="end a response before this text; repeatable")
    add("--stop-token-ids", type=int, nargs="+", default=[], metavar="ID", help="end a response at these tokens")
    add("--seed", type=int, default=0, metavar="N", help="seed, together with a row's number (default: 0)")
    add("--shard", default="1/1", metavar="I/N", help="do every N-th part, as process I of N")
    add("--part-rows", type=int, default=500, metavar="N", help="rows of one file (default: 500)")
    add("--commit-every", type=int, default=240, metavar="S", help="seconds between commits (default: 240)")
    privacy = parser.add_mutually_exclusive_group()
    privacy.add_argument("--private", action="store_true", help="make the output private, as for private input")
    privacy.add_argument("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="keep the parts that another version of this run finished")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    args = parser.parse_args(argv)
    if wrong := [text for text, is_right in usage(args).items() if not is_right]:
        parser.error(wrong[0])
    args.shard = tuple(map(int, args.shard.split("/")))
    if args.shard[1] > 1:  # all shards together make at most 60 commits an hour
        args.commit_every = max(args.commit_every, 60 * args.shard[1])
    return args


def usage(args: argparse.Namespace) -> dict[str, bool]:
    """Return what the arguments must be, and whether they are."""
    shard = re.fullmatch(r"(\d+)/(\d+)", args.shard)
    url = re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", args.base_url or "")
    penalties = (args.presence_penalty, args.frequency_penalty)
    outside = not Path(args.input).absolute().is_relative_to(Path(args.output).absolute())
    objects = isinstance(args.engine_args, dict) and isinstance(args.chat_template_kwargs, dict)
    samples = 1 if args.max_samples is None else args.max_samples
    return {
        "INPUT must not be empty or lie in OUTPUT": bool(args.input) and outside,
        "--map takes OLD=NEW": all(re.fullmatch("[^=]+=[^=]+", pair) for pair in args.map),
        "give --messages-column or --prompt-column": not (args.messages_column and args.prompt_column),
        "--engine-args and --chat-template-kwargs take a JSON object": objects,
        "--engine openai needs --base-url https://host/v1": args.engine != "openai" or url is not None,
        "--max-samples and --part-rows must be at least 1": min(samples, args.part_rows) >= 1,
        "--max-tokens and --concurrency must be at least 1": min(args.max_tokens, args.concurrency) >= 1,
        "--temperature must be at least 0": args.temperature >= 0,
        "--top-k and --commit-every must be at least 0": min(args.top_k, args.commit_every) >= 0,
        "--top-p must be above 0 and at most 1": 0 < args.top_p <= 1,
        "--repetition-penalty must be above 0": args.repetition_penalty > 0,
        "penalties must be from -2 to 2": all(abs(number) <= 2 for number in penalties),
        "transformers has no such penalty": args.engine != "transformers" or not any(penalties),
        "--shard takes I/N, I from 1 to N": shard is not None and 1 <= int(shard[1]) <= int(shard[2]),
    }


def choose_columns(args: argparse.Namespace, rows: Any) -> Any:
    """Return the rows with their columns renamed; `args.column` becomes the one to answer."""
    names = dict(pair.split("=") for pair in args.map)
    listed = f"choose from {', '.join(rows.column_names[:20])}"
    if missing := names.keys() - set(rows.column_names):
        stop(4, f"{args.input} has no column {min(missing)!r}", listed)
    renamed = [names.get(name, name) for name in rows.column_names]
    known = [name for name in (*CHATS, "prompt", "turns") if name in renamed]
    args.column = args.messages_column or args.prompt_column or next(iter(known), "prompt")
    if args.column not in renamed:
        stop(4, f"{args.input} has no column {args.column!r}", f"add --prompt-column; {listed}")
    kind = rows.features[rows.column_names[renamed.index(args.column)]]
    args.turns = getattr(getattr(kind, "feature", None), "dtype", None) in {"string", "large_string"}
    all_names = [*renamed, *added_cells(args, Row(0))]
    if twice := sorted(name for name in renamed if all_names.count(name) > 1):
        stop(4, f"there would be two columns {twice[0]!r}", f"rename one: --map '{twice[0]}=my_{twice[0]}'")
    return rows.rename_columns(names).select(range(len(rows))[: args.max_samples])


class Answer(NamedTuple):
    """What the model said, why it ended, and the tokens of the prompt and of the answer."""

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Row:
    """A row on its way: `chat` are the messages so far, `turns` those to add before each answer."""

    number: int
    turns: list[list[Message]] = field(default_factory=list)
    tools: list[Any] | None = None
    chat: list[Message] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    error: str | None = None


def make_row(args: argparse.Namespace, number: int, cells: dict[str, Any]) -> Row:
    """Return what the model is asked for a row; one that cannot be asked has an error."""
    try:
        tools = cells.get("tools")
        tools = without_nulls(json.loads(tools) if isinstance(tools, str) and tools else tools)
        if tools and not isinstance(tools, list):
            raise ValueError(f"found tools that are {type(tools).__name__}, expected a list")
        row = Row(number, read_turns(args, cells[args.column]), tools or None)
    except (ValueError, LookupError, AttributeError) as error:
        return Row(number, error=f"{args.column}: {error}")
    if args.system and row.turns[0][0]["role"] not in {"system", "developer"}:
        row.turns[0].insert(0, {"role": "system", "content": args.system})
    return row


def read_turns(args: argparse.Namespace, cell: Any) -> list[list[Message]]:
    """Return the messages of each turn. Raises ValueError when there is nothing to ask."""
    if isinstance(cell, str) and cell and args.column in {*CHATS, args.messages_column}:
        cell = json.loads(cell)
    elif isinstance(cell, str) and cell.strip():
        cell = [{"role": "user", "content": cell}]
    if not isinstance(cell, list) or not cell:
        raise ValueError(f"found {type(cell).__name__ if cell else 'nothing'}, expected text or a list of messages")
    if args.turns:
        return [[{"role": "user", "content": turn}] for turn in cell]
    messages = [read_message(args, without_nulls(message)) for message in cell]
    if messages[-1]["role"] == "assistant":
        raise ValueError("the conversation ends with the assistant: there is nothing to answer")
    return [messages]


def read_message(args: argparse.Namespace, message: Any) -> Message:
    """Return a message with one of the usual roles, and text as its content. Raises ValueError if that is impossible."""
    if not isinstance(message, dict):
        raise ValueError(f"found {type(message).__name__}, expected a message with role and content")  # noqa: TRY004
    message = {{"from": "role", "value": "content"}.get(key, key): value for key, value in message.items()}
    content, calls = message.get("content", ""), message.get("tool_calls", [])
    if message.get("role") not in ROLES:
        raise ValueError(f"found a message of {message.get('role')!r}, expected one of {', '.join(ROLES)}")
    for function in (call["function"] for call in calls):  # a chat template takes an object, an API its JSON text
        arguments = function.get("arguments", {})
        if isinstance(arguments, str) != (args.engine == "openai"):
            function["arguments"] = json.loads(arguments) if isinstance(arguments, str) else json.dumps(arguments)
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str) or not (content or calls):
        raise ValueError(f"found a message without text: {json.dumps(message)[:80]}")
    return {**message, "role": ROLES[message["role"]], "content": content}


def without_nulls(value: Any) -> Any:
    """Return the value without the keys that are only there because other rows have them."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def answer_parts(args: argparse.Namespace, output: Any, rows: Any, parts: dict[str, int], *, private: bool) -> None:
    """Answer this process's parts that are not finished; whichever process is the last writes the card."""
    mine = [name for name in list(parts)[args.shard[0] - 1 :: args.shard[1]] if name not in output.finished]
    if mine:
        engine = start_engine(args, output.run["model"])
        first = answer_rows(args, engine, rows, parts[mine[0]])
        failed = [f"row {row.number}, {row.error}"[:150] for row in first if row.error]
        if len(failed) == len(first) and not output.finished & parts.keys():
            stop(
                4, f"the first {len(first)} rows all failed: {'; '.join(failed[:3])}", "correct the rows or the options"
            )
    output.claim(private=private)  # not before there is an answer: a run that cannot work leaves nothing
    try:
        for name in mine:
            done = first if name == mine[0] else answer_rows(args, engine, rows, parts[name])
            output.write(name, to_parquet(args, rows, done, parts[name]))
            failures = sum(row.error is not None for row in done)
            print(f"{name}: {len(done):,} rows, {failures:,} failed", flush=True)
        output.send()
        if "README.md" not in output.finished and parts.keys() <= retrying(output.look)[0]:
            output.write("README.md", card(args, output, len(rows), list(parts)).encode())
    finally:
        output.send()


def answer_rows(args: argparse.Namespace, engine: Any, rows: Any, start: int) -> list[Row]:
    """Return the rows of the part that begins at row `start`, answered turn by turn."""
    part = rows.select(range(start, min(start + args.part_rows, len(rows))))
    done = [make_row(args, number, cells) for number, cells in enumerate(part, start)]
    for turn in range(max((len(row.turns) for row in done), default=0)):
        asked = [row for row in done if row.error is None and turn < len(row.turns)]
        for row in asked:
            row.chat += row.turns[turn]
        for row, answer in zip(asked, engine(asked), strict=True):
            if isinstance(answer, str):
                row.error = f"{args.column}: {answer}"
            else:
                row.answers.append(answer)
                row.chat.append({"role": "assistant", "content": split_thinking(answer.text)[1]})
    return done


def split_thinking(text: str) -> tuple[str | None, str]:
    """Return what the model thought, and its response; some templates open <think> in the prompt."""
    thought, is_there, response = text.rpartition("</think>")
    return (thought.strip().removeprefix("<think>").strip(), response.strip()) if is_there else (None, text)


def to_parquet(args: argparse.Namespace, rows: Any, done: list[Row], start: int) -> bytes:
    """Return the rows of a part with what is added to them, as a parquet file."""
    from datasets import List, Value

    part = rows.select(range(start, start + len(done)))
    cells = [added_cells(args, row) for row in done]
    for name, value in added_cells(args, Row(0)).items():
        kind = Value("int64" if value == 0 else "string")
        feature = List(kind) if isinstance(value, list) else kind
        part = part.add_column(name, [row[name] for row in cells], feature=feature)
    buffer = io.BytesIO()
    part.to_parquet(buffer)
    return buffer.getvalue()


def added_cells(args: argparse.Namespace, row: Row) -> dict[str, Any]:
    """Return what is added to a row, by column: lists where there are several turns, and the tokens of all of them."""
    split = [split_thinking(answer.text) for answer in row.answers]
    texts: dict[str, Any] = {
        args.output_column: [response for _, response in split],
        f"{args.output_column}_reasoning": [thought for thought, _ in split],
        "finish_reason": [answer.finish_reason for answer in row.answers],
    }
    if not args.turns:
        texts = {name: next(iter(values), None) for name, values in texts.items()}
    prompt_tokens = sum(answer.prompt_tokens for answer in row.answers)
    output_tokens = sum(answer.output_tokens for answer in row.answers)
    return {**texts, "prompt_tokens": prompt_tokens, "output_tokens": output_tokens, "error": row.error}


def card(args: argparse.Namespace, output: Any, count: int, parts: list[str]) -> str:
    """Return the dataset card: what was made of what, by what, and how many rows failed in all parts."""
    from importlib.metadata import version

    with ThreadPoolExecutor(8) as pool:
        failed = sum(pool.map(partial(retrying, count_failed, output), parts))
    configs = [{"config_name": "default", "data_files": "data/*.parquet"}]
    front = json.dumps({"tags": ["uv-script", "jobshelf"], "configs": configs})
    run = {**output.run, "versions": {name: version(name) for name in PACKAGES[args.engine]}}
    source, model = (" ".join(text.replace("`", "'").split()) for text in (args.input, args.model))
    made = f"{count:,} rows of `{source}` at `{output.run['input']}`, answered by `{model}` with [{URL.rpartition('/')[2]}]({URL})."
    made += (
        f"\n{failed:,} of them have an `error` instead of a response.\n\n```json\n{json.dumps(run, indent=1)}\n```\n"
    )
    return f"---\n{front}\n---\n# Generated responses\n\n{made}"


def count_failed(output: Any, part: str) -> int:
    """Return how many rows of a part have an error."""
    from pyarrow.parquet import ParquetFile

    with output.fs.open(part) as opened:  # without Arrow's threads, which can outlive the file and end the process
        errors = ParquetFile(opened, pre_buffer=False).read(["error"], use_threads=False)["error"]
    return len(errors) - errors.null_count


def model_commit(args: argparse.Namespace) -> tuple[str | None, bool]:
    """Return the commit of a model on the Hub, None for another one, and whether it is private."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if args.engine == "openai" or Path(args.model).is_dir():
        return None, False
    try:
        info = retrying(HfApi().model_info, args.model, revision=args.model_revision)
    except (HfHubHTTPError, HFValidationError) as error:
        fix = "check the name; a private model needs `hf auth login`, or --secrets HF_TOKEN for a Job"
        stop(4, f"there is no model {args.model} for this account: {error}", fix)
    return info.sha, bool(info.private)


def start_engine(args: argparse.Namespace, commit: str | None) -> Any:
    """Return what answers, with its model loaded."""
    try:
        return ENGINES[args.engine](args, commit)
    except Exception as error:  # noqa: BLE001 -- each engine and each model fails in its own way
        fix = "check the model, --engine-args and the machine's memory"
        stop(5, f"{args.engine} cannot load {args.model}: {error}", fix)


def seed_of(args: argparse.Namespace, row: Row) -> int:
    """Return the seed of a row's next answer, which depends on no other row."""
    return random.Random(f"{args.seed} {row.number} {len(row.answers)}").getrandbits(31)  # noqa: S311 -- no secret


def encode(args: argparse.Namespace, tokenizer: Any, longest: int, row: Row) -> list[int] | str:
    """Return the tokens of a conversation, or why it cannot be asked."""
    from jinja2 import TemplateError

    options = {"add_generation_prompt": True, "tokenize": False, **args.chat_template_kwargs}
    try:
        text = tokenizer.apply_chat_template(row.chat, tools=row.tools, **options)
        if row.tools and text == tokenizer.apply_chat_template(row.chat, **options):
            return "the model's chat template has no place for tools"
    except (TemplateError, ValueError, TypeError, LookupError, AttributeError) as error:
        return f"the chat template refuses the conversation: {error}"
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    too_long = f"the prompt has {len(tokens):,} tokens; the model takes {longest:,}, the response included"
    return tokens if len(tokens) < longest else too_long


class Vllm:
    """vLLM: a copy of the model on each GPU, or on as many as --engine-args '{"tensor_parallel_size": N}' says."""

    def __init__(self, args: argparse.Namespace, commit: str | None) -> None:
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")  # it needs a compiler, which a Job does not have
        import asyncio

        import torch
        from vllm import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        async def start() -> Any:
            return AsyncLLM.from_engine_args(AsyncEngineArgs(**options))

        copies = torch.cuda.device_count() // args.engine_args.get("tensor_parallel_size", 1)
        options = {"model": args.model, "revision": commit, "tokenizer_revision": commit, "max_model_len": -1}
        options |= {"data_parallel_size": max(copies, 1), "enable_chunked_prefill": not current_platform.is_cpu()}
        options |= args.engine_args  # in pieces, vLLM 0.32 for the CPU cannot read the prompt of a request with a seed
        self.args, self.loop = args, asyncio.Runner()
        self.engine = self.loop.run(start())
        atexit.register(lambda: vars(self).pop("engine").shutdown())  # while its modules are still there

    def __call__(self, rows: list[Row]) -> list[Answer | str]:
        """Return each row's next answer, or why there is none."""
        import asyncio

        async def answer_all() -> list[Answer | str]:
            return await asyncio.gather(*map(self.answer, rows))

        return self.loop.run(answer_all())

    async def answer(self, row: Row) -> Answer | str:
        """Return one answer, or why there is none; vLLM makes the batches."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        tokens = encode(self.args, self.engine.get_tokenizer(), self.engine.model_config.max_model_len, row)
        if isinstance(tokens, str):
            return tokens
        options = {name: getattr(self.args, name) for name in SAMPLING} | {"seed": seed_of(self.args, row)}
        sampling = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **options)
        request = self.engine.generate({"prompt_token_ids": tokens}, sampling, f"{row.number}-{len(row.answers)}")
        try:
            said = [done.outputs[0] async for done in request][-1]
        except ValueError as error:
            return f"vLLM refuses the conversation: {error}"
        return Answer(said.text, str(said.finish_reason), len(tokens), len(said.token_ids))


class Transformers:
    """transformers, a row at a time, so that no padding changes a response: for small models without a GPU."""

    def __init__(self, args: argparse.Namespace, commit: str | None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        device = "cuda" if torch.cuda.is_available() else "cpu"
        options = {"dtype": "auto" if device == "cuda" else "float32", **args.engine_args}
        model = AutoModelForCausalLM.from_pretrained(args.model, revision=commit, **options)
        self.args, self.model = args, model.to(device).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(args.model, revision=commit)
        self.longest = model.config.get_text_config().max_position_embeddings
        usual = model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(usual if isinstance(usual, list) else [usual]), *args.stop_token_ids}
        self.ends = sorted(ends - {None})
        model.generation_config = GenerationConfig()  # else the options that are not set here would come from there

    def __call__(self, rows: list[Row]) -> list[Answer | str]:
        """Return each row's next answer, or why there is none."""
        return [self.answer(row) for row in rows]

    def answer(self, row: Row) -> Answer | str:
        """Return one answer, or why there is none."""
        import torch

        args = self.args
        tokens = encode(args, self.tokenizer, self.longest, row)
        if isinstance(tokens, str):
            return tokens
        options = {"max_new_tokens": min(args.max_tokens, self.longest - len(tokens)), "eos_token_id": self.ends}
        options |= {"repetition_penalty": args.repetition_penalty, "stop_strings": args.stop or None}
        if args.temperature:
            torch.manual_seed(seed_of(args, row))
            drawn = {"temperature": args.temperature, "top_p": args.top_p, "top_k": args.top_k}
            options |= {"do_sample": True, **drawn}
        asked = torch.tensor([tokens], device=self.model.device)
        with torch.inference_mode():
            output = self.model.generate(
                asked, attention_mask=asked.new_ones(asked.shape), tokenizer=self.tokenizer, **options
            )
        said = output[0, len(tokens) :].tolist()
        text = self.tokenizer.decode(said, skip_special_tokens=True)
        places = [text.find(word) for word in args.stop if word in text]
        finish = "stop" if places or said[-1] in self.ends else "length"
        return Answer(text[: min(places, default=None)], finish, len(tokens), len(said))


class Api:
    """An OpenAI-compatible API: `vllm serve`, llama.cpp's server, a provider."""

    def __init__(self, args: argparse.Namespace, _: str | None) -> None:
        import httpx2

        headers = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY') or 'none'}"}
        limits = httpx2.Limits(max_connections=args.concurrency)
        self.args, self.client = args, httpx2.Client(headers=headers, limits=limits, timeout=600)

    def __call__(self, rows: list[Row]) -> list[Answer | str]:
        """Return each row's next answer, or why there is none; stop when the API refuses all of them."""
        import httpx2

        try:
            with ThreadPoolExecutor(self.args.concurrency) as pool:
                return list(pool.map(self.answer, rows))
        except httpx2.HTTPStatusError as error:
            status = error.response.status_code
            found = f"{self.args.base_url} answered {status}: {error.response.text[:300]}"
            fix = "check OPENAI_API_KEY (for a Job --secrets OPENAI_API_KEY), --model and --base-url"
            stop({401: 3, 403: 3, 404: 4}.get(status, 5), found, fix)

    def answer(self, row: Row) -> Answer | str:
        """Return one answer, or why this conversation is refused."""
        args, usual = self.args, {"top_p": 1, "repetition_penalty": 1}  # not every server knows each option
        options = {name: getattr(args, name) for name in (*SAMPLING, "chat_template_kwargs")}
        options = {name: value for name, value in options.items() if value and value != usual.get(name)}
        options |= {"temperature": args.temperature, "model": args.model, "messages": row.chat}
        options |= {"seed": seed_of(args, row)} if args.temperature else {}
        options |= {"tools": row.tools} if row.tools else {}
        reply = retrying(self.post, options | args.engine_args)
        try:
            choice, usage = reply.json()["choices"][0], reply.json().get("usage") or {}
            said = choice["message"]
            text = said.get("content") or (json.dumps(said["tool_calls"]) if said.get("tool_calls") else "")
            counts = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
            return Answer(text, str(choice.get("finish_reason")), *counts)
        except (ValueError, LookupError, TypeError, AttributeError):
            return f"the API answered {reply.status_code}: {reply.text[:300]}"

    def post(self, request: dict[str, Any]) -> Any:
        """Ask once. Raises HTTPStatusError unless the API answers or refuses this conversation alone."""
        reply = self.client.post(f"{self.args.base_url.rstrip('/')}/chat/completions", json=request)
        return reply if reply.status_code in {400, 413, 422} else reply.raise_for_status()


ENGINES = {"vllm": Vllm, "openai": Api, "transformers": Transformers}


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
