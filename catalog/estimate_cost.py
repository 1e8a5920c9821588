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
# version = "0.1.0"
# title = "Cost estimator"
# task = "cost-estimation"
# tags = ["cost", "hardware", "memory", "trl", "vllm", "gguf"]
# inputs = ["model", "dataset"]
# outputs = []
# persists = "none"
# token = "none"
# shardable = false
# license = "Apache-2.0"
# aliases = ["estimate-cost"]
# status = "stable"
# rehearse = ["--model", "{model}", "--dataset", "{input}", "--hardware", "a10g-large", "--json"]
# ///
"""Say what a Job costs, how long it takes, and which machines it fits on, before it is started.

Training (SFT, DPO, KTO, reward, GRPO; full, LoRA, QLoRA), generation and GGUF conversion, on every flavor at today's
prices. Reads the headers of the model's safetensors files, its config and tokenizer, and a sample of the dataset's rows;
downloads no weights, writes nothing, costs nothing.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/estimate_cost.py --model Qwen/Qwen2.5-0.5B --dataset trl-lib/Capybara
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/estimate_cost.py --model 8B --job convert
    hf jobs uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/estimate_cost.py --model Qwen/Qwen2.5-0.5B --dataset trl-lib/Capybara --hardware a10g-large --dataset-size 16000 --epochs 3

A token is used when there is one (HF_TOKEN or `hf auth login`); private and gated repositories need it. Every figure is a
range with its assumptions printed. Against TRL on one CPU core, models of 29 and 89 M (2026-11-21): speed 0.95 to 1.20 times
the likely one; memory 1.01 to 0.69 of what was measured, short by 0.1 GB at most; on GPUs nothing is measured yet.
Exit codes: 0 done; 2 usage; 3 token; 4 input data; 5 network or machine.
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
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import httpx2
    import polars as pl
    from huggingface_hub.utils import SafetensorsRepoMetadata


JOBS = ("train", "generate", "convert")
METHODS = ("sft", "dpo", "kto", "reward", "grpo")
TUNINGS = ("lora", "qlora", "full")
PROMPT_COLUMNS = ("prompt", "messages", "conversations", "question", "instruction", "problem", "text")
WHOLE_COLUMNS = ("messages", "conversations", "text", "input_ids")
UNTRAINED_KEYS = frozenset({"role", "from", "name", "id"})
TOKENS_OF_A_TURN = 4
CHARACTERS_OF_A_TOKEN = 4.0
LONGEST_ROWS, LONGEST_EPOCHS = 10**12, 1000
SAMPLED_FILES, COUNTED_FILES = 4, 32
TEXT_WIDTH = 110
BY_THE_DAY = 24 * 60
Counter = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The dataset in figures: tokens of a row (low, likely, high), and the length in tokens that 99 of 100 rows keep to."""

    label: str
    rows: int
    rows_origin: str
    tokens_a_row: tuple[float, float, float]
    longest: int
    tokens_origin: str


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="estimate_cost.py", description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("--model", required=True, metavar="M", help="Hub model (user/name), local folder, or a size such as 8B or 500M")
    add("--dataset", metavar="D", help="Hub dataset (user/name), hf:// path, local file or folder")
    add("--config", metavar="NAME", help="config (subset) of the dataset; default: its default, else its first")
    add("--split", metavar="NAME", help="split of the dataset; default: train, else the first")
    add("--revision", metavar="REV", help="branch, tag or commit of the dataset")
    add("--dataset-size", type=_rows, metavar="ROWS", help="rows that will be used; default: all of the split")
    add("--tokens-per-row", type=_rows, metavar="N", help="tokens of a row; default: measured on a sample")
    add(
        "--samples",
        "--max-samples",
        type=_rows,
        default=200,
        metavar="N",
        help="rows to measure (default: %(default)s)",
    )
    add("--hardware", "--flavor", metavar="FLAVOR", help="flavor to report on first; all are ranked in any case")
    add("--job", choices=JOBS, default="train", help="what will be done (default: %(default)s)")
    add("--method", choices=METHODS, default="sft", help="trainer (default: %(default)s)")
    add("--tuning", choices=TUNINGS, default="lora", help="which weights are trained, and how (default: %(default)s)")
    add("--lora-r", type=_rank, default=16, metavar="R", help="rank of the adapters (default: %(default)s)")
    add("--epochs", type=_epochs, default=3.0, metavar="E", help="times through the data (default: 3)")
    add(
        "--batch-size",
        type=_batch,
        default=0,
        metavar="B",
        help="sequences a GPU takes at once; default: what fits, 8 at most",
    )
    add("--max-length", type=_length, metavar="TOKENS", help="longest sequence; default: what 99 of 100 rows keep to")
    add("--no-gradient-checkpointing", action="store_true", help="keep all activations: faster, much more memory")
    add("--fsdp", action="store_true", help="spread weights, gradients and optimizer over the GPUs of a flavor")
    add(
        "--num-generations",
        type=_batch,
        default=8,
        metavar="G",
        help="answers to a prompt in grpo (default: %(default)s)",
    )
    add(
        "--max-new-tokens",
        type=_length,
        default=512,
        metavar="N",
        help="longest answer in grpo and generate (default: %(default)s)",
    )
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.job != "convert" and not args.dataset and not (args.dataset_size and args.tokens_per_row):
        parser.error("name the dataset: --dataset D, or give both --dataset-size and --tokens-per-row")
    return run_to_exit(lambda: estimate(args))


def estimate(args: argparse.Namespace) -> int:
    """Look up prices, model and data, estimate every flavor, and report."""
    token = find_token()
    prices = current_flavors(token)
    asked = require_flavor(args.hardware, prices) if args.hardware is not None else None
    facts = find_model(args.model, token)
    data = None if args.job == "convert" else measure_data(args, facts, token)
    run = plan_training(args, facts.model, data)
    ranked = rank_estimates(estimate_on(flavor, args, facts.model, data, run) for flavor in prices.flavors.values())
    report = describe(args, facts, data, run, prices, ranked, asked)
    show(report, args)
    return EXIT_DONE


def require_flavor(asked: str, prices: PriceList) -> str:
    """Return `asked`, or stop with 2 and name the flavor that it comes closest to."""
    if asked in prices.flavors:
        return asked
    nearest, reason = nearest_flavor(asked, prices.flavors)
    flavor = prices.flavors[nearest]
    machine = f"{flavor.chips}, " if flavor.gpus else ""
    message = (
        f"there is no flavor {asked!r}; the nearest is {nearest} ({machine}${flavor.usd_per_hour:.2f}/h): {reason}"
    )
    raise Stop(EXIT_USAGE, message, fix=f"--hardware {nearest}")


# ---- the data ----


def measure_data(args: argparse.Namespace, facts: ModelFacts, token: str | None) -> Data:
    """Return rows and tokens: as given, else counted and measured on a sample."""
    if args.dataset_size and args.tokens_per_row:
        tokens = float(args.tokens_per_row)
        return Data(
            label=args.dataset or "no dataset",
            rows=args.dataset_size,
            rows_origin="given",
            tokens_a_row=(tokens, tokens, tokens),
            longest=2 * args.tokens_per_row,
            tokens_origin="given",
        )
    source = resolve_source(args.dataset, config=args.config, split=args.split, revision=args.revision, token=token)
    heads = sample_rows(source, args.samples, token)
    rows, rows_origin = (args.dataset_size, "given") if args.dataset_size else count_rows(source, heads, token)
    sampled = [row for head in heads for row in head.rows]
    if not sampled:
        raise Stop(EXIT_INPUT, f"the split {source.split!r} of {source.given} has no rows", fix="name another --split")
    label = f"{source.label}, {source.config}/{source.split}"
    if args.tokens_per_row:
        tokens = float(args.tokens_per_row)
        span, longest, origin = (tokens, tokens, tokens), 2 * args.tokens_per_row, "given"
    else:
        span, longest, origin = measure_tokens(sampled, args, facts)
    return Data(
        label=label, rows=rows, rows_origin=rows_origin, tokens_a_row=span, longest=longest, tokens_origin=origin
    )


def sample_rows(source: Source, count: int, token: str | None) -> list[Head]:
    """Return the first rows of at most four files, evenly spread over all of them."""
    files = _spread(source.files, SAMPLED_FILES)
    return [read_head(replace(source, files=(file,)), math.ceil(count / len(files)), token) for file in files]


def count_rows(source: Source, heads: list[Head], token: str | None) -> tuple[int, str]:
    """Return the rows of the split and how that is known: footers, or sizes of files over the sampled rows."""
    files = _spread(source.files, SAMPLED_FILES)
    totals = [head.total for head in heads]
    if None not in totals and len(files) < len(source.files):
        files = _spread(source.files, COUNTED_FILES)
        totals = [read_head(replace(source, files=(file,)), 1, token).total for file in files]
    known = [total for total in totals if total is not None]
    if len(known) == len(source.files):
        return sum(known), "counted"
    if len(known) == len(totals):
        return round(
            sum(known) / len(known) * len(source.files)
        ), f"about: from {len(known)} of {len(source.files)} files"
    written = [
        len(json.dumps(dict(row), ensure_ascii=False, default=str).encode()) + 1 for head in heads for row in head.rows
    ]
    size = sum(file_sizes(source, token))
    return max(1, round(size / (sum(written) / max(len(written), 1)))), "about: from the sizes of the files"


def file_sizes(source: Source, token: str | None) -> list[int]:
    """Return the bytes of each file of the source."""
    if source.folder is not None:
        return [(source.folder / file).stat().st_size for file in source.files]
    from huggingface_hub import HfApi

    api = HfApi(token=token or False)
    found = retry(
        lambda: api.get_paths_info(
            str(source.repo_id), list(source.files), repo_type="dataset", revision=source.commit
        ),
        what=f"reading {source.repo_id}",
    )
    return [int(getattr(item, "size", 0)) for item in found]


def measure_tokens(
    rows: Sequence[Mapping[str, Any]], args: argparse.Namespace, facts: ModelFacts
) -> tuple[tuple[float, float, float], int, str]:
    """Return tokens a row (low, likely, high), the length that 99 of 100 sequences keep to, and how they were counted."""
    count, exact = token_counter(facts.tokenizer)
    lengths = [[count_tokens(part, count) for part in row_sequences(row, args.job, args.method)] for row in rows]
    every = sorted(length for row in lengths for length in row)
    if not every or every[-1] == 0:
        message = f"the sampled rows of {args.dataset} hold no text"
        raise Stop(EXIT_INPUT, message, fix="name another --config or --split, or give --tokens-per-row N")
    longest = every[min(len(every) - 1, math.ceil(0.99 * len(every)) - 1)]
    cut = args.max_length or every[-1]
    sums = [float(sum(min(length, cut) for length in row)) for row in lengths]
    mean = sum(sums) / len(sums)
    deviation = math.sqrt(sum((one - mean) ** 2 for one in sums) / max(1, len(sums) - 1))
    error = max(2 * deviation / math.sqrt(len(sums)), 0.02 * mean)
    low, high = max(0.0, mean - error), mean + error
    if exact:
        return (low, mean, high), longest, f"the model's tokenizer on {len(rows)} rows"
    return (0.75 * low, mean, 1.35 * high), longest, f"{CHARACTERS_OF_A_TOKEN:g} characters a token on {len(rows)} rows"


def token_counter(file: Path | None) -> tuple[Counter, bool]:
    """Return what counts the tokens of a text, and whether it is the model's own tokenizer."""
    if file is None:
        return (lambda text: math.ceil(len(text) / CHARACTERS_OF_A_TOKEN)), False
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        message = f"tokenizer.json of the model cannot be read: {error}"
        raise Stop(EXIT_INPUT, message, fix="give --tokens-per-row N and --dataset-size ROWS") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return (lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)), True


def row_sequences(row: Mapping[str, Any], job: str, method: str) -> list[object]:
    """Return what the job makes a sequence of: one value, or two for a preference."""
    if job == "generate" or method == "grpo":
        return [next((row[name] for name in PROMPT_COLUMNS if row.get(name)), tuple(row.values()))]
    if method in {"dpo", "reward"} and "chosen" in row and "rejected" in row:
        return [[row.get("prompt"), row["chosen"]], [row.get("prompt"), row["rejected"]]]
    whole = next((row[name] for name in WHOLE_COLUMNS if row.get(name)), None)
    if whole is not None:
        return [whole]
    named = [row[name] for name in ("prompt", "completion") if name in row]
    return [named if len(named) == 2 else tuple(row.values())]


def count_tokens(value: object, count: Counter) -> int:
    """Return the tokens of all text in `value`; a chat's turn has a few more than its text, numbers are tokens already."""
    if isinstance(value, str):
        return count(value)
    if isinstance(value, Mapping):
        turn = TOKENS_OF_A_TURN if {"content", "value"} & value.keys() else 0
        return turn + sum(count_tokens(part, count) for key, part in value.items() if key not in UNTRAINED_KEYS)
    if isinstance(value, list | tuple):
        if isinstance(value, list) and value and all(isinstance(part, int) for part in value):
            return len(value)
        return sum(count_tokens(part, count) for part in value)
    return 0


def _spread(files: Sequence[str], count: int) -> tuple[str, ...]:
    """Return at most `count` of the files, the same ones every time, evenly apart."""
    step = max(1.0, len(files) / count)
    return tuple(files[int(step * place)] for place in range(min(count, len(files))))


# ---- the estimate ----


def plan_training(args: argparse.Namespace, model: Model, data: Data | None) -> Training:
    """Return how the model is trained: as asked, the longest sequence from the data, never beyond the model's context."""
    longest = args.max_length or (64 * math.ceil(data.longest / 64) if data else 1024)
    if model.shape.context:
        longest = min(longest, model.shape.context)
    return Training(
        method=args.method,
        tuning=args.tuning,
        length=longest,
        batch=args.batch_size,
        rank=args.lora_r,
        checkpointing=not args.no_gradient_checkpointing,
        sharded=args.fsdp,
        generations=args.num_generations,
        answer=args.max_new_tokens if args.method == "grpo" else 0,
    )


def estimate_on(flavor: Flavor, args: argparse.Namespace, model: Model, data: Data | None, run: Training) -> Estimate:
    """Return the estimate of the job on one flavor."""
    if data is None:
        return estimate_conversion(model, flavor)
    low, likely, high = data.tokens_a_row
    if args.job == "generate":
        return estimate_generation(
            model,
            rows=data.rows,
            prompt=(low, likely, max(high, float(run.length))),
            answer=args.max_new_tokens,
            flavor=flavor,
        )
    rows = max(1, round(data.rows * args.epochs))
    work = Work(rows=rows, tokens=(rows * low, rows * likely, rows * high))
    return estimate_training(model, run, work, flavor)


# ---- the report ----


def describe(
    args: argparse.Namespace,
    facts: ModelFacts,
    data: Data | None,
    run: Training,
    prices: PriceList,
    ranked: list[Estimate],
    asked: str | None,
) -> dict[str, Any]:
    """Return the whole report as plain values."""
    flavors = [describe_estimate(one) for one in ranked]
    best = next((one["name"] for one in flavors if one["fits"]), None)
    return {
        "version": 1,
        "job": args.job,
        "method": args.method if args.job == "train" else None,
        "tuning": args.tuning if args.job == "train" else None,
        "model": {
            "given": facts.given,
            "commit": facts.commit,
            "parameters": facts.model.parameters,
            "active": facts.model.active,
            "weight_bytes": facts.model.weight_bytes,
            "origin": facts.origin,
        },
        "data": None if data is None else describe_data(data, args, run),
        "prices": {"origin": prices.origin, "live": prices.live},
        "asked": next((one for one in flavors if one["name"] == asked), None),
        "best": best,
        "flavors": flavors,
        "assumptions": assumptions(args, facts, data, run),
    }


def describe_data(data: Data, args: argparse.Namespace, run: Training) -> dict[str, Any]:
    """Return rows and tokens, of one epoch and of all."""
    epochs = args.epochs if args.job == "train" else 1.0
    low, likely, high = (round(epochs * data.rows * tokens) for tokens in data.tokens_a_row)
    return {
        "given": data.label,
        "rows": data.rows,
        "rows_origin": data.rows_origin,
        "tokens_a_row": round(data.tokens_a_row[1], 1),
        "tokens_origin": data.tokens_origin,
        "longest": run.length,
        "epochs": epochs,
        "tokens": {"low": low, "likely": likely, "high": high},
    }


def describe_estimate(one: Estimate) -> dict[str, Any]:
    """Return an estimate as plain values; null for time and cost where the run does not fit."""
    fits = not one.short
    parts = {name: getattr(one.memory, name) for name in ("weights", "gradients", "optimizer", "activations", "cache")}
    return {
        "name": one.flavor.name,
        "accelerator": one.flavor.chips,
        "usd_per_hour": one.flavor.usd_per_hour,
        "fits": fits,
        "reason": one.short,
        "batch": one.batch,
        "memory_gb": {name: round(size / 1e9, 2) for name, size in (parts | {"total": one.memory.total}).items()},
        "usable_gb": round(one.usable / 1e9, 2),
        "seconds": _named(one.seconds, 0) if fits else None,
        "usd": _named(one.usd, 2) if fits else None,
        "timeout": timeout_text(one.timeout_minutes) if fits else None,
    }


def timeout_text(minutes: int) -> str:
    """Return minutes as `--timeout` takes them: `45m`, `3h`."""
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def assumptions(args: argparse.Namespace, facts: ModelFacts, data: Data | None, run: Training) -> list[str]:
    """Return everything that the figures rest on, one sentence each."""
    stated = [f"model: {facts.origin}", *facts.notes]
    if data:
        stated.append(f"rows: {data.rows_origin}; tokens of a row: {data.tokens_origin}")
    if args.job == "train":
        stated += training_assumptions(facts.model, run)
    elif args.job == "generate":
        stated += [
            f"vLLM takes {FIT_SERVER_SHARE:.0%} of each GPU; on several, each layer is split over all; 16-bit weights and cache",
            f"answers take {_percent(FIT_LONGEST_ANSWER_SHARE)} of the {args.max_new_tokens} tokens allowed (low, likely, high)",
            f"decoding reaches {_percent(FIT_BANDWIDTH_SHARE)} of the memory's bandwidth; nothing is shared between prompts",
        ]
    else:
        stated += [
            "merged and converted on the CPU tensor by tensor, in RAM a few times the largest one; the disk holds the download,"
            " the 16-bit file, and one after the other Q4_K_M, Q5_K_M, Q8_0",
            f"quantizing takes {_share(FIT_QUANTIZE_GB_S, 1000)} MB/s of the 16-bit file for each vCPU, once for each quant",
        ]
    if args.job != "convert":
        reached = ", ".join(f"{name} {_percent(FIT_GPUS[name][2])}" for name in FIT_GPUS if name != "H100")
        stated.append(f"share of the data sheet's 16-bit TFLOP/s that is reached (low, likely, high): {reached}")
        stated.append(
            f"a vCPU gives {FIT_VCPU[0] * 1000:g} GFLOP/s in float32, of which {_percent(FIT_VCPU[2])} are reached"
        )
    start = "/".join(f"{seconds / 60:g}" for seconds in FIT_START_SECONDS)
    stated.append(
        f"billed besides: start {start} min, download at {_share(FIT_NETWORK_GB_S, 1000)} MB/s; every minute begun"
    )
    stated.append(
        f"timeout: the high figure and {FIT_BUFFER - 1:.0%}, rounded up, {FIT_SHORTEST_MINUTES} minutes at least"
    )
    return stated


def training_assumptions(model: Model, run: Training) -> list[str]:
    """Return what the estimate of a training rests on."""
    memory = {
        "full": f"all weights, gradients and AdamW's two moments at {model.weight_bytes} bytes a parameter each",
        "lora": f"frozen weights at {model.weight_bytes} bytes; adapters of rank {run.rank} on all linear layers in float32",
        "qlora": f"frozen weights in NF4 (0.53 bytes), embeddings in 16 bits; adapters of rank {run.rank} in float32",
    }[run.tuning]
    stated = [memory]
    if run.tuning != "full" and model.shape.experts:
        stated.append("the experts get no adapters")
    stated.append(
        f"sequences of up to {run.length} tokens; "
        + ("gradient checkpointing" if run.checkpointing else "all activations kept")
    )
    stated.append(
        "several GPUs: "
        + ("weights and optimizer spread over them (FSDP)" if run.sharded else "a whole copy on each")
        + f", {_percent(FIT_SCALING)} of the speed of each"
    )
    extra = {
        "dpo": "a reference pass over chosen and rejected",
        "kto": "a KL pass and two reference passes",
        "grpo": f"{run.generations} answers of up to {run.answer} tokens to each prompt, generated in training's batches; no reference model",
    }
    if run.method in extra:
        stated.append(f"{run.method}: {extra[run.method]}")
    stated.append(
        f"padding: {'/'.join(f'{one:g}' for one in FIT_PADDING)} tokens computed for one of data; no evaluation"
    )
    return stated


def show(report: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the report: JSON for programs, text for people."""
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    lines = [*heading(report), "", *asked_lines(report), *table(report["flavors"], report["best"]), "", "ASSUMPTIONS"]
    for text in report["assumptions"]:
        lines += textwrap.wrap(one_line(text), TEXT_WIDTH, initial_indent="  - ", subsequent_indent="    ")
    print("\n".join([*lines, "", *advice(report)]))


def heading(report: dict[str, Any]) -> list[str]:
    """Return what is to be done, with which model and data, at whose prices."""
    model, data = report["model"], report["data"]
    active = f", {_count(model['active'])} active" if model["active"] < 0.9 * model["parameters"] else ""
    what = f"{report['job']} {report['method']} {report['tuning']}" if report["method"] else report["job"]
    lines = [
        f"{what}: {one_line(model['given'])}, {_count(model['parameters'])} parameters{active} ({model['origin'].partition(':')[0]})"
    ]
    if data:
        tokens = data["tokens"]
        epochs = f" x {data['epochs']:g} epochs" if report["job"] == "train" else ""
        lines.append(
            f"  {one_line(data['given'])}: {data['rows']:,} rows of about {data['tokens_a_row']:,.0f} tokens{epochs}"
        )
        lines.append(
            f"  {_count(tokens['likely'])} tokens in all ({_count(tokens['low'])} to {_count(tokens['high'])}), sequences of up to {data['longest']:,}"
        )
    return [*lines, f"  prices: {report['prices']['origin']}"]


def asked_lines(report: dict[str, Any]) -> list[str]:
    """Return the figures of the flavor that was asked for."""
    one = report["asked"]
    if one is None:
        return []
    lines = [f"{one['name'].upper()} ({one['accelerator']}, ${one['usd_per_hour']:.2f}/h)"]
    parts = [f"{name} {size:.1f}" for name, size in one["memory_gb"].items() if size and name != "total"]
    lines.append(f"  memory   {one['memory_gb']['total']:.1f} of {one['usable_gb']:.1f} GB usable ({', '.join(parts)})")
    if not one["fits"]:
        return [*lines, f"  DOES NOT FIT: {one['reason']}", ""]
    seconds, usd = one["seconds"], one["usd"]
    for name in ("low", "likely", "high"):
        lines.append(f"  {name:<8} {_duration(seconds[name]):>8}   ${usd[name]:,.2f}")
    return [*lines, f"  timeout  {one['timeout']}", ""]


def table(flavors: list[dict[str, Any]], best: str | None) -> list[str]:
    """Return the ruled table of all flavors, those that fit first, the cheapest of them on top."""
    lines = [
        "FLAVORS (what fits first, cheapest first; likely, and low to high)",
        f"  {'flavor':<15} {'accelerator':<22} {'GB of':>11} {'batch':>5} {'time':>7} {'cost':>8}  {'cost from - to':<17} timeout",
        "  " + "-" * (TEXT_WIDTH - 2),
    ]
    for one in flavors:
        mark = "*" if one["name"] == best else " "
        memory = f"{one['memory_gb']['total']:.1f}/{one['usable_gb']:.1f}"
        start = f"{mark} {one['name']:<15} {one['accelerator']:<22} {memory:>11}"
        if not one["fits"]:
            lines.append(f"{start}     - {one['reason']}")
            continue
        usd, batch = one["usd"], one["batch"] or "-"
        span = f"{usd['low']:,.2f} - {usd['high']:,.2f}"
        lines.append(
            f"{start} {batch:>5} {_duration(one['seconds']['likely']):>7} {usd['likely']:>8,.2f}  {span:<17} {one['timeout']}"
        )
    return lines


def advice(report: dict[str, Any]) -> list[str]:
    """Return what to type next."""
    chosen = report["asked"] if report["asked"] and report["asked"]["fits"] else None
    chosen = chosen or next((one for one in report["flavors"] if one["name"] == report["best"]), None)
    if chosen is None:
        smaller = {"full": "--tuning lora, or --fsdp", "lora": "--tuning qlora, or a shorter --max-length"}
        return [f"Nothing fits. Try {smaller.get(str(report['tuning']), 'a smaller model')}."]
    return [f"Start it with: --flavor {chosen['name']} --timeout {chosen['timeout']}"]


def _named(span: tuple[float, float, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in zip(("low", "likely", "high"), span, strict=True)}


def _percent(span: Sequence[float]) -> str:
    return "/".join(f"{100 * value:.0f}" for value in span) + " %"


def _share(span: Sequence[float], times: float) -> str:
    return "/".join(f"{times * value:g}" for value in span)


def _count(number: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}" if number < 1000 * size else f"{number / size:,.0f} {letter}"
    return f"{number:.0f}"


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 2 * BY_THE_DAY:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes / BY_THE_DAY:,.0f}d"


def _whole(text: str, largest: int) -> int:
    number = int(text)
    if not 1 <= number <= largest:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and {largest:,}")
    return number


def _rows(text: str) -> int:
    return _whole(text, LONGEST_ROWS)


def _batch(text: str) -> int:
    return _whole(text, 4096)


def _rank(text: str) -> int:
    return _whole(text, 1024)


def _length(text: str) -> int:
    return _whole(text, 10_000_000)


def _epochs(text: str) -> float:
    number = float(text)
    if not 0 < number <= LONGEST_EPOCHS:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most {LONGEST_EPOCHS}")
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
# --- block: flavors 1 (jobshelf) ---
# From the price list of Jobs (docs `jobs-pricing`), read on that day.
# name, vCPUs, memory GB, disk GB, US dollars an hour, GPUs, memory of one GPU in GB, GPU model
FLAVORS_DATE = "2026-11-20"
FLAVORS_TABLE = """\
cpu-basic          2   16    50  0.01
cpu-upgrade        8   32    50  0.03
cpu-xl            16  124  1000  1.00
cpu-performance   32  256  1024  1.90
t4-small           4   15    50  0.40  1  16  T4
t4-medium          8   30   100  0.60  1  16  T4
l4x1               8   30   400  0.80  1  24  L4
l4x4              48  186  3200  3.80  4  24  L4
l40sx1             8   62   380  1.80  1  48  L40S
l40sx4            48  382  3200  8.30  4  48  L40S
l40sx8           192 1534  6500 23.50  8  48  L40S
a10g-small         4   15   110  1.00  1  24  A10G
a10g-large        12   46   200  1.50  1  24  A10G
a10g-largex2      24   92  1000  3.00  2  24  A10G
a10g-largex4      48  184  2000  5.00  4  24  A10G
a100-large        12  142  1000  2.50  1  80  A100
a100x4            48  568  4000 10.00  4  80  A100
a100x8            96 1136  8000 20.00  8  80  A100
h200              23  256  3000  5.00  1 141  H200
h200x2            46  512  6000 10.00  2 141  H200
h200x4            92 1024 12000 20.00  4 141  H200
h200x8           184 2048 24000 40.00  8 141  H200
rtx-pro-6000      23  256   475  2.75  1  96  RTX PRO 6000
rtx-pro-6000x2    46  512   950  5.50  2  96  RTX PRO 6000
rtx-pro-6000x4    92 1024  1900 11.00  4  96  RTX PRO 6000
rtx-pro-6000x8   184 2048  3800 22.00  8  96  RTX PRO 6000
"""
FLAVORS_TIMEOUT_S = 10
# What guides still name and Jobs do not have: how the name begins, how the nearest one does, why.
FLAVORS_ABSENT = (
    ("h100", "h200", "Jobs have no H100; the H200 is the same chip with more memory"),
    ("b200", "h200", "Jobs have no B200; the H200 is the fastest GPU there"),
    ("v5e-1", "l4x1", "Jobs have no TPUs; this GPU has at least the memory of one v5e chip"),
    ("v5e-2x2", "a100-large", "Jobs have no TPUs; this GPU has at least the memory of four v5e chips"),
    ("v5e", "h200", "Jobs have no TPUs; this GPU has at least the memory of eight v5e chips"),
    ("tpu", "l4x1", "Jobs have no TPUs; this is the cheapest GPU with bfloat16"),
    ("zero-", "a10g-small", "ZeroGPU is for Spaces, not for Jobs"),
    ("a100-small", "a100-large", "the A100 comes whole"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A machine. Memory and disk in GB (10**9 bytes), `vram_gb` that of one GPU; `gpu` is its model, "" for none."""

    name: str
    vcpus: int
    ram_gb: float
    disk_gb: float
    usd_per_hour: float
    gpus: int = 0
    vram_gb: float = 0.0
    gpu: str = ""

    @property
    def chips(self) -> str:
        """The accelerators as people name them: `2x A10G 24 GB`, or `-`."""
        return f"{self.gpus}x {self.gpu} {self.vram_gb:g} GB" if self.gpus else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Flavors by name, where they come from, and whether that is the Hub's list of this moment."""

    flavors: Mapping[str, Flavor]
    origin: str
    live: bool


def read_flavor_table(table: str) -> dict[str, Flavor]:
    """Return the flavors of a table in the form of `FLAVORS_TABLE`."""
    flavors = (_flavor_of_line(line.split(None, 7)) for line in table.splitlines())
    return {flavor.name: flavor for flavor in flavors}


def read_flavor_list(listing: object) -> dict[str, Flavor]:
    """Return the flavors of the answer to `GET /api/jobs/hardware`. Raises ValueError where it is not such an answer."""
    if not isinstance(listing, list) or not listing:
        raise ValueError("it is not a list of flavors")
    try:
        flavors = {str(item["name"]): _flavor_of_item(item) for item in listing}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an entry of it is not a flavor ({type(error).__name__}: {error})") from error
    return flavors


def current_flavors(token: str | None) -> PriceList:
    """Return the Hub's price list, or the one of `FLAVORS_DATE` when the Hub does not give a usable one."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = f"{constants.ENDPOINT}/api/jobs/hardware"
    try:
        response = get_session().get(
            url, headers=build_hf_headers(token=token or False), timeout=FLAVORS_TIMEOUT_S, follow_redirects=True
        )
        hf_raise_for_status(response)
        return PriceList(flavors=read_flavor_list(response.json()), origin="the Hub's list of now", live=True)
    except Exception as error:
        reason = _why_no_prices(error)
        if reason is None:
            raise
    note(f"no price list from {url}: {reason}; using the one of {FLAVORS_DATE}")
    return PriceList(flavors=FLAVORS, origin=f"list of {FLAVORS_DATE}", live=False)


def nearest_flavor(asked: str, flavors: Mapping[str, Flavor]) -> tuple[str, str]:
    """Return the name of the flavor that `asked`, which is none, comes closest to, and why that one."""
    wanted = asked.strip().lower().replace("_", "-")
    if wanted in flavors:
        return wanted, "names are in lower case, with dashes"
    for beginning, nearest, reason in FLAVORS_ABSENT:
        several = f"{nearest}{wanted.removeprefix(beginning)}"
        if wanted.startswith(beginning) and nearest in flavors:
            return (several if several in flavors else nearest), reason
    cheapest = sorted(flavors.values(), key=lambda flavor: flavor.usd_per_hour)
    beginning = next((flavor.name for flavor in cheapest if wanted and flavor.name.startswith(wanted)), None)
    if beginning:
        return beginning, f"it is the cheapest one that begins with {wanted!r}"
    close = difflib.get_close_matches(wanted, [flavor.name for flavor in cheapest], n=1, cutoff=0.5)
    return (close[0], "it is spelled most alike") if close else (cheapest[0].name, "it is the cheapest one")


def _flavor_of_line(cells: list[str]) -> Flavor:
    name, vcpus, ram, disk, price, gpus, vram, gpu = [*cells, "0", "0", ""][:8] if len(cells) == 5 else cells
    return Flavor(
        name=name,
        vcpus=int(vcpus),
        ram_gb=float(ram),
        disk_gb=float(disk),
        usd_per_hour=float(price),
        gpus=int(gpus),
        vram_gb=float(vram),
        gpu=gpu,
    )


def _flavor_of_item(item: Mapping[str, Any]) -> Flavor:
    chips = item.get("accelerator") or {}
    count = int(_first_number(chips.get("quantity", 0)))
    price = {"minute": 60, "hour": 1}[item["unitLabel"]] * float(item["unitCostUSD"])
    if not (math.isfinite(price) and price >= 0):
        raise ValueError(f"the price of {item['name']!r} is {price}")
    return Flavor(
        name=item["name"],
        vcpus=int(_first_number(item["cpu"])),
        ram_gb=_first_number(item["ram"]),
        disk_gb=_first_number(item.get("ephemeralStorage", 0)),
        usd_per_hour=round(price, 4),
        gpus=count,
        vram_gb=_vram_of_one(str(item["name"]), _first_number(chips["vram"]), count) if count else 0.0,
        gpu=str(chips["model"]).strip() if count else "",
    )


def _vram_of_one(name: str, listed: float, count: int) -> float:
    """The list gives the memory of all GPUs together; one that gave it for each must not halve what a GPU has."""
    known = FLAVORS.get(name)
    return listed if known and listed == known.vram_gb else listed / count


def _first_number(text: object) -> float:
    """Return the quantity that a text such as `16 GB`, `1.5 TB` or `2 vCPU` begins with; terabytes as gigabytes."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)\s*(T?)", str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    return float(match[1]) * (1000 if match[2] else 1)


def _why_no_prices(error: Exception) -> str | None:
    status = http_status(error)
    if status is not None:
        return f"the server answered {status}"
    return str(error) if isinstance(error, ValueError) else transient(error)


FLAVORS = read_flavor_table(FLAVORS_TABLE)


# --- end block ---
# --- block: fit 1 (jobshelf) ---
# Dense bfloat16 TFLOP/s (float16 on the T4, which has no bfloat16) and memory GB/s of one GPU, from the vendor's data
# sheets; then the share of the TFLOP/s that training reaches (model FLOPs utilisation): low, likely, high. The shares are
# assumptions after published runs of transformers trainers; they are not measured here, and smaller models reach less.
FIT_GPUS: Mapping[str, tuple[float, float, tuple[float, float, float]]] = {
    "T4": (65, 320, (0.15, 0.25, 0.40)),
    "L4": (121, 300, (0.20, 0.35, 0.50)),
    "A10G": (70, 600, (0.30, 0.45, 0.60)),
    "L40S": (362, 864, (0.20, 0.32, 0.45)),
    "A100": (312, 2039, (0.25, 0.40, 0.55)),
    "H100": (989, 3350, (0.20, 0.35, 0.50)),
    "H200": (989, 4800, (0.20, 0.35, 0.50)),
    "RTX PRO 6000": (500, 1597, (0.20, 0.33, 0.45)),
}
# float32 TFLOP/s and memory GB/s of one vCPU, and the share that training reaches (bench/calibrate_cost.py).
FIT_VCPU = (0.05, 4.0, (0.40, 0.70, 0.95))
FIT_SECONDS_A_LAYER = (0.0005, 0.001, 0.002)  # starting the kernels of a layer, all passes of one step on a GPU
FIT_SCALING = (0.80, 0.90, 0.97)  # of each GPU's speed when several work together
FIT_PADDING = (1.0, 1.1, 1.3)  # tokens computed for one token of data; more without packing and with mixed lengths
FIT_START_SECONDS = (60.0, 180.0, 480.0)  # billed before the script runs: image, packages
FIT_NETWORK_GB_S = (0.10, 0.25, 0.60)  # from the Hub to the machine, and back
FIT_DISK_GB_S = (0.3, 0.8, 2.0)
FIT_QUANTIZE_GB_S = (0.004, 0.008, 0.015)  # of the 16-bit file, for one vCPU
FIT_BUILD_SECONDS = (60.0, 180.0, 480.0)  # the converter, from its source
FIT_BANDWIDTH_SHARE = (0.40, 0.60, 0.80)  # of the memory's GB/s that decoding reaches
FIT_DECODE_SECONDS = (0.002, 0.004, 0.008)  # scheduling and sampling of one step for all running sequences
FIT_LONGEST_ANSWER_SHARE = (0.25, 0.60, 1.0)  # of the longest answer allowed that the average one is
FIT_SEQUENCES = 256  # decoded at once, at most (vLLM's default)
FIT_LOGITS_TILE = 4096 * 32768 * 4  # TRL 1.16 computes logits in tiles of so many tokens, words and bytes
FIT_GPU_SHARE, FIT_GPU_TAKEN_GB = 0.94, 0.8  # what the allocator loses between blocks; the driver's own context
FIT_CPU_SHARE, FIT_CPU_TAKEN_GB = 0.94, 2.0  # Python with its packages
FIT_SERVER_SHARE = 0.90  # of a GPU that vLLM takes (gpu_memory_utilization)
FIT_LARGEST_BATCH = 8
FIT_LONGEST_SECONDS = 86_400.0  # nobody waits longer to save a dollar
FIT_QUANTS_BYTES = 0.61 + 0.71 + 1.06  # of one parameter in Q4_K_M, Q5_K_M and Q8_0 together
FIT_LARGEST_QUANT_BYTES, FIT_CONVERTED_COPIES = 1.06, 3  # copies of a tensor in float32 while it is converted
FIT_BUFFER, FIT_SHORTEST_MINUTES = 1.3, 10
_BYTES_IN_GB = 1e9

# What configs do not say: (queries, keys and values have biases; norms a layer; norms of a head; the embedding is tied).
# From the models' own code in transformers 5.23; "whole" norms go over all heads together.
FIT_FAMILIES: Mapping[str, tuple[bool, int, str, bool]] = {
    "llama": (False, 2, "", False),
    "mistral": (False, 2, "", False),
    "ministral": (False, 2, "", False),
    "mixtral": (False, 2, "", False),
    "granite": (False, 2, "", False),
    "smollm3": (False, 2, "", True),
    "phi3": (False, 2, "", False),
    "qwen2": (True, 2, "", False),
    "qwen2_moe": (True, 2, "", False),
    "qwen3": (False, 2, "head", False),
    "qwen3_moe": (False, 2, "head", False),
    "gemma": (False, 2, "", True),
    "gemma2": (False, 4, "", True),
    "gemma3_text": (False, 4, "head", True),
    "olmo2": (False, 2, "whole", False),
}
# Families whose MLP has two matrices, not three; and those of unlisted families whose head is not the embedding.
FIT_PLAIN = frozenset({"gpt2", "gpt_neox", "gptj", "gpt_bigcode", "opt", "falcon", "bloom", "phi", "starcoder2"})
FIT_UNTIED = frozenset({"gpt_neox", "gptj", "phi", "gpt_oss", "deepseek_v2", "deepseek_v3", "glm4", "glm4_moe"})
# hidden, layers, heads, key-value heads, inner, words of models of about so many billion parameters (Qwen2.5, Llama 3.1)
FIT_TYPICAL: Mapping[float, tuple[int, int, int, int, int, int]] = {
    0.13: (576, 30, 9, 3, 1536, 49152),
    0.49: (896, 24, 14, 2, 4864, 151936),
    1.5: (1536, 28, 12, 2, 8960, 151936),
    3.1: (2048, 36, 16, 2, 11008, 151936),
    8.0: (4096, 32, 32, 8, 14336, 128256),
    14.8: (5120, 48, 40, 8, 13824, 152064),
    32.8: (5120, 64, 40, 8, 27648, 152064),
    70.6: (8192, 80, 64, 8, 28672, 128256),
    405.9: (16384, 126, 128, 8, 53248, 128256),
}

Span = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder as its config describes it. Widths in numbers; `exact`: the family is known, so the count is too."""

    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    context: int
    tied: bool
    biases: int = 0
    norms: int = 2
    head_norms: str = ""
    gated: bool = True
    experts: int = 0
    experts_used: int = 0
    expert_inner: int = 0
    shared_inner: int = 0
    dense_layers: int = 0
    exact: bool = False

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def values(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to be trained or run. `parameters` is its true size where that is known better than from the config.

    `active` are those that one token goes through; `weight_bytes` is what a stored weight takes (2 for bfloat16).
    """

    parameters: int
    active: int
    shape: Architecture
    weight_bytes: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained. `length`: tokens of the longest sequence; `batch`: sequences a GPU takes at once, 0 for as
    many as fit; `sharded`: weights, gradients and optimizer are spread over the GPUs (FSDP, ZeRO-3)."""

    method: str = "sft"
    tuning: str = "lora"
    length: int = 1024
    batch: int = 0
    rank: int = 16
    checkpointing: bool = True
    sharded: bool = False
    generations: int = 8
    answer: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much there is to do, all epochs together. `tokens` are those of the data, with their uncertainty."""

    rows: int
    tokens: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes at the peak, of one GPU or of the machine."""

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    cache: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would be on a flavor. Bytes, seconds, dollars (low, likely, high); `batch` sequences at once on a GPU.

    `short` says what there is too little of, "" when it fits. Where it does not fit, seconds and dollars are zero.
    """

    flavor: Flavor
    memory: Memory
    usable: float
    batch: int
    seconds: Span = (0.0, 0.0, 0.0)
    usd: Span = (0.0, 0.0, 0.0)
    short: str = ""

    @property
    def timeout_minutes(self) -> int:
        """The timeout to ask for."""
        return timeout_minutes(self.seconds[2])


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Return what `config.json` says of the language model. Raises ValueError when it lacks what the sizes follow from."""
    text = config.get("text_config")
    told = {**config, **text} if isinstance(text, Mapping) else dict(config)
    family = str(told.get("model_type") or "unknown")
    biased, norms, head_norms, tied = FIT_FAMILIES.get(family, (False, 2, "", family not in FIT_UNTIED))
    hidden = _told(told, "hidden_size", "n_embd", "d_model")
    heads = _told(told, "num_attention_heads", "n_head", "num_heads")
    head_dim = _told(told, "head_dim", default=0) or hidden // heads
    kv_heads = _told(told, "num_key_value_heads", "num_kv_heads", default=0) or (
        1 if told.get("multi_query") else heads
    )
    experts = _told(told, "num_experts", "num_local_experts", "n_routed_experts", default=0)
    inner = _told(told, "intermediate_size", "n_inner", "ffn_dim", default=4 * hidden) or 4 * hidden
    attention_biases = (heads + 2 * kv_heads) * head_dim if biased else 0
    if told.get("attention_bias") and not biased:
        attention_biases = (heads + 2 * kv_heads) * head_dim + hidden
    return Architecture(
        family=family,
        hidden=hidden,
        layers=(layers := _told(told, "num_hidden_layers", "n_layer", "num_layers")),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=inner,
        vocabulary=_told(told, "vocab_size"),
        context=_told(told, "max_position_embeddings", "n_positions", default=0),
        tied=bool(told.get("tie_word_embeddings", tied)),
        biases=attention_biases + (2 * inner + hidden if told.get("mlp_bias") else 0),
        norms=norms,
        head_norms=head_norms,
        gated=family not in FIT_PLAIN,
        experts=experts,
        experts_used=_told(told, "num_experts_per_tok", "experts_per_token", default=1) if experts else 0,
        expert_inner=(_told(told, "moe_intermediate_size", default=0) or inner) if experts else 0,
        shared_inner=_shared_inner(told) if experts else 0,
        dense_layers=_dense_layers(told, layers) if experts else 0,
        exact=family in FIT_FAMILIES and not isinstance(text, Mapping),
    )


def typical_architecture(parameters: float) -> Architecture:
    """Return the shape that models of about so many parameters have, for when the config cannot be read."""
    nearest = min(FIT_TYPICAL, key=lambda billions: abs(math.log(billions * 1e9 / parameters)))
    hidden, layers, heads, kv_heads, inner, vocabulary = FIT_TYPICAL[nearest]
    return Architecture(
        family="typical",
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        inner=inner,
        vocabulary=vocabulary,
        context=0,
        tied=parameters < 4e9,
    )


def count_parameters(shape: Architecture, *, active: bool = False) -> int:
    """Return the parameters of `shape`; with `active`, without the experts that a token does not go through."""
    experts = shape.experts_used if active else shape.experts
    hidden, layers, expert_layers = shape.hidden, shape.layers, shape.layers - shape.dense_layers
    per_expert_layer = 3 * hidden * (experts * shape.expert_inner + shape.shared_inner) + hidden * shape.experts
    per_expert_layer += hidden if shape.shared_inner else 0  # the gate of the shared expert
    dense = (3 if shape.gated else 2) * hidden * shape.inner * (shape.dense_layers if shape.experts else layers)
    inner = dense + (per_expert_layer * expert_layers if shape.experts else 0)
    norms = hidden * shape.norms + {"head": 2 * shape.head_dim, "whole": shape.queries + shape.values}.get(
        shape.head_norms, 0
    )
    attention = 2 * hidden * (shape.queries + shape.values)
    words = shape.vocabulary * hidden * (1 if shape.tied else 2)
    return layers * (attention + norms + shape.biases) + inner + words + hidden


def model_of(shape: Architecture, *, parameters: int = 0, weight_bytes: int = 2) -> Model:
    """Return the model of this shape, whose true size is `parameters` where that is given."""
    counted, active = count_parameters(shape), count_parameters(shape, active=True)
    total = parameters or counted
    return Model(
        parameters=total, active=max(1, round(active * total / counted)), shape=shape, weight_bytes=weight_bytes
    )


def adapter_parameters(shape: Architecture, rank: int) -> int:
    """Return the parameters of LoRA adapters on every linear layer but the head (experts, fused, get none)."""
    hidden, queries, values = shape.hidden, shape.queries, shape.values
    attention = (hidden + queries) * 2 + (hidden + values) * 2
    inner = shape.inner if not shape.experts else shape.shared_inner
    return rank * (shape.layers * (attention + ((3 if shape.gated else 2) * (hidden + inner) if inner else 0)))


def training_memory(model: Model, run: Training, *, batch: int, gpus: int = 1) -> Memory:
    """Return what training takes at its peak on one GPU.

    Weights, gradients and AdamW's two moments have the stored dtype in full tuning (TRL 1.16); adapters have float32.
    A second copy of the weights is the reference model of DPO and KTO in full tuning.
    """
    full = run.tuning == "full"
    weights = _stored_weights(model, run.tuning) * (2 if full and run.method in {"dpo", "kto"} else 1)
    trained = model.parameters if full else adapter_parameters(model.shape, run.rank)
    each = model.weight_bytes if full else 4
    spread = gpus if run.sharded else 1
    weights += 0 if full else 4 * trained
    sequences = batch * (2 if run.method in {"dpo", "reward"} else 1)
    cached = batch * (run.length + run.answer) * cache_bytes(model.shape) if run.method == "grpo" else 0
    length = run.length + (run.answer if run.method == "grpo" else 0)
    return Memory(
        weights=weights / spread + (_layer_weights(model) if spread > 1 else 0),
        gradients=trained * each / spread,
        optimizer=2 * trained * each / spread,
        activations=_activations(model, run, sequences * length),
        cache=cached,
    )


def cache_bytes(shape: Architecture) -> int:
    """Return the bytes of keys and values that one token leaves behind in all layers, in 16 bits."""
    return 2 * 2 * shape.layers * shape.values


def usable_memory(flavor: Flavor) -> float:
    """Return the bytes that a run can have: of one GPU, or of the machine when it has none."""
    if flavor.gpus:
        return flavor.vram_gb * _BYTES_IN_GB * FIT_GPU_SHARE - FIT_GPU_TAKEN_GB * _BYTES_IN_GB
    return flavor.ram_gb * _BYTES_IN_GB * FIT_CPU_SHARE - FIT_CPU_TAKEN_GB * _BYTES_IN_GB


def largest_batch(model: Model, run: Training, flavor: Flavor) -> int:
    """Return the largest power of two, at most 8, of sequences that fit on one GPU at once; 0 when not even one does."""
    batch = FIT_LARGEST_BATCH
    while batch and training_memory(model, run, batch=batch, gpus=flavor.gpus or 1).total > usable_memory(flavor):
        batch //= 2
    return batch


def training_flops(model: Model, run: Training, tokens: float, *, average: float) -> float:
    """Return the floating-point operations of training on `tokens` in sequences of `average` tokens.

    Forward: 2 for each active weight that is multiplied, and 4 times the width of the queries for each earlier token
    that is attended to (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1). Backward is twice the
    forward, once with frozen weights; checkpointing adds one forward; reference models add theirs.
    """
    shape = model.shape
    looked_up = 0 if shape.tied else shape.vocabulary * shape.hidden
    forward = 2 * (model.active - looked_up) + 4 * shape.queries * shape.layers * average / 2
    passes = (3 if run.tuning == "full" else 2) + (1 if run.checkpointing else 0)
    passes += {"dpo": 1, "kto": 3}.get(run.method, 0)
    return tokens * forward * passes


def estimate_training(model: Model, run: Training, work: Work, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of the training on `flavor`."""
    gpus = flavor.gpus or 1
    batch = run.batch or largest_batch(model, run, flavor)
    memory, usable = training_memory(model, run, batch=max(batch, 1), gpus=gpus), usable_memory(flavor)
    short = _short_of_memory(memory, usable, flavor) or _short_of_disk(model, flavor)
    speed = _speed(flavor)
    if short or speed is None:
        reason = short or f"the speed of {flavor.gpu} is not known"
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=batch, short=reason)
    steps = math.ceil(work.rows / (batch * gpus))
    generated = _generation(model, flavor, work.rows * run.generations, run.length, run.answer, batch)
    seconds = [
        _training_seconds(model, run, work, speed, gpus, steps, case) + (generated[case] if run.method == "grpo" else 0)
        for case in range(3)
    ]
    return _estimate(flavor, memory, usable, batch, seconds, model)


def estimate_generation(model: Model, *, rows: int, prompt: Span, answer: int, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of answering `rows` prompts of `prompt` tokens with at most `answer` tokens.

    With continuous batching, as vLLM does it; on several GPUs each layer is split over all of them.
    """
    gpus = flavor.gpus or 1
    sequence = (prompt[2] + answer) * cache_bytes(model.shape) / gpus
    weights = _stored_weights(model, "lora") / gpus
    share = FIT_SERVER_SHARE if flavor.gpus else FIT_CPU_SHARE
    taken = FIT_GPU_TAKEN_GB if flavor.gpus else FIT_CPU_TAKEN_GB
    usable = ((flavor.vram_gb if flavor.gpus else flavor.ram_gb) * share - taken) * _BYTES_IN_GB
    batch = min(FIT_SEQUENCES, rows, int((usable - weights) // sequence))
    memory = Memory(weights=weights, cache=sequence * max(batch, 1))
    short = _short_of_memory(memory, usable, flavor) or _short_of_disk(model, flavor)
    if short or _speed(flavor) is None:
        reason = short or f"the speed of {flavor.gpu} is not known"
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=max(batch, 0), short=reason)
    seconds = _generation(model, flavor, rows, prompt[1], answer, batch)
    return _estimate(flavor, memory, usable, batch, seconds, model)


def estimate_conversion(model: Model, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of merging adapters into the model and writing it as GGUF in 16 bits and three quants.

    As convert_to_gguf does it: a GPU is not used; the weights stay on the disk, and pass through RAM tensor by tensor,
    each several times in float32; the disk holds the download and the 16-bit file, and each quant until it is uploaded.
    """
    shape, size = model.shape, 2.0 * model.parameters
    largest = max(
        shape.vocabulary * shape.hidden, shape.hidden * shape.inner, shape.hidden * shape.experts * shape.expert_inner
    )
    memory = Memory(weights=FIT_CONVERTED_COPIES * 4.0 * largest)
    usable = flavor.ram_gb * _BYTES_IN_GB * FIT_CPU_SHARE - FIT_CPU_TAKEN_GB * _BYTES_IN_GB
    disk = 2 * size + FIT_LARGEST_QUANT_BYTES * model.parameters
    short = f"{memory.total / 1e9:.1f} GB of RAM needed, {usable / 1e9:.1f} usable" if memory.total > usable else ""
    if not short and disk > flavor.disk_gb * _BYTES_IN_GB * 0.9:
        short = f"{disk / 1e9:.0f} GB of disk needed, {flavor.disk_gb:g} there"
    if short:
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=0, short=short)
    upload = size + FIT_QUANTS_BYTES * model.parameters
    seconds = [
        FIT_BUILD_SECONDS[case]
        + 6 * size / _BYTES_IN_GB / FIT_DISK_GB_S[2 - case]
        + 3 * size / _BYTES_IN_GB / (FIT_QUANTIZE_GB_S[2 - case] * flavor.vcpus)
        + upload / _BYTES_IN_GB / FIT_NETWORK_GB_S[2 - case]
        for case in range(3)
    ]
    return _estimate(flavor, memory, usable, 0, seconds, model)


def rank_estimates(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Return those that fit and take less than a day by their likely cost, then the slower ones, then the others."""
    return sorted(
        estimates,
        key=lambda one: (bool(one.short), one.seconds[1] > FIT_LONGEST_SECONDS, one.usd[1], one.flavor.usd_per_hour),
    )


def timeout_minutes(seconds: float) -> int:
    """Return a timeout for a run of at most `seconds`: 30 % more, rounded up to a round figure, 10 minutes at least."""
    minutes = seconds * FIT_BUFFER / 60
    step = 5 if minutes <= 120 else 15 if minutes <= 480 else 60
    return max(FIT_SHORTEST_MINUTES, math.ceil(round(minutes / step, 9)) * step)


def _told(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
            if value or default is not None:
                return value
        elif value is not None:
            raise ValueError(f"{name} is {value!r}, expected a whole number")
    if default is None:
        raise ValueError(f"it has no {names[0]}")
    return default


def _shared_inner(told: Mapping[str, Any]) -> int:
    shared = _told(told, "shared_expert_intermediate_size", default=0)
    return shared or _told(told, "n_shared_experts", default=0) * _told(told, "moe_intermediate_size", default=0)


def _dense_layers(told: Mapping[str, Any], layers: int) -> int:
    """Return how many layers have one plain MLP instead of experts."""
    named = told.get("mlp_only_layers")
    if isinstance(named, list):
        return len(named)
    return min(layers, _told(told, "first_k_dense_replace", default=0))


def _stored_weights(model: Model, tuning: str) -> float:
    """Return the bytes of the frozen or trained weights. NF4 has half a byte and its constants; embeddings keep 16 bits."""
    if tuning != "qlora":
        return float(model.parameters * model.weight_bytes)
    words = model.shape.vocabulary * model.shape.hidden * (1 if model.shape.tied else 2)
    return 0.53 * max(0, model.parameters - words) + 2.0 * words


def _layer_weights(model: Model) -> float:
    """Return the bytes of the two layers that sharded training gathers at once."""
    return 2.0 * model.weight_bytes * model.parameters / model.shape.layers


def _activations(model: Model, run: Training, tokens: float) -> float:
    """Return the bytes that the backward pass needs of `tokens` tokens.

    A layer keeps what its backward reads: counted with saved-tensor hooks on transformers 5.23 (float32 copies in norms,
    and in adapters of a 16-bit model). With checkpointing only the inputs of layers stay, and one layer is whole.
    """
    shape, each = model.shape, model.weight_bytes
    inner = shape.inner
    if shape.experts:
        inner = shape.experts_used * shape.expert_inner + shape.shared_inner
    if run.tuning == "full" or each == 4:
        layer = (8 + 4 * each) * shape.hidden + 2 * each * (shape.queries + shape.values) + 4 * each * inner
    else:
        layer = 28 * shape.hidden + 8 * shape.queries + 4 * shape.values + 10 * inner
    passing = 3 * each * inner  # gradients on their way through the MLP
    kept = layer + shape.layers * each * shape.hidden if run.checkpointing else shape.layers * layer
    logits = min(FIT_LOGITS_TILE, 4 * tokens * min(shape.vocabulary, 32768))
    return tokens * (kept + passing) + logits


def _short_of_memory(memory: Memory, usable: float, flavor: Flavor) -> str:
    what = "a GPU" if flavor.gpus else "RAM"
    if memory.total <= usable:
        return ""
    return f"{memory.total / _BYTES_IN_GB:.1f} GB of {what} needed, {max(usable, 0) / _BYTES_IN_GB:.1f} usable"


def _short_of_disk(model: Model, flavor: Flavor) -> str:
    """The weights pass through RAM shard by shard, but lie on the disk whole."""
    needed = model.parameters * model.weight_bytes * 1.1 / _BYTES_IN_GB
    return f"{needed:.0f} GB of disk needed, {flavor.disk_gb:g} there" if needed > 0.9 * flavor.disk_gb > 0 else ""


def _speed(flavor: Flavor) -> tuple[float, float, Span] | None:
    """Return FLOP/s and bytes/s of one GPU (of all vCPUs without one), and the share reached; None for an unknown GPU."""
    if not flavor.gpus:
        peak, bandwidth, share = FIT_VCPU
        return peak * 1e12 * flavor.vcpus, bandwidth * 1e9 * flavor.vcpus, share
    words = flavor.gpu.upper().replace("-", " ").replace("NVIDIA", "").split()
    for name, (peak, bandwidth, share) in FIT_GPUS.items():
        if name.split() == words[: len(name.split())]:
            return peak * 1e12, bandwidth * 1e9, share
    return None


def _training_seconds(
    model: Model, run: Training, work: Work, speed: tuple[float, float, Span], gpus: int, steps: int, case: int
) -> float:
    peak, _, shares = speed
    tokens = work.tokens[case] * FIT_PADDING[case]
    if run.method == "grpo":
        tokens = run.generations * (tokens + work.rows * run.answer * FIT_LONGEST_ANSWER_SHARE[case])
        steps *= run.generations
    share = shares[2 - case] * (0.8 if run.tuning == "qlora" else 1.0)  # unpacking 4 bits takes its share
    together = gpus * (FIT_SCALING[2 - case] if gpus > 1 else 1.0)
    flops = training_flops(model, run, tokens, average=min(run.length, tokens / max(work.rows, 1)))
    starting = steps * model.shape.layers * FIT_SECONDS_A_LAYER[case]
    return max(flops / (peak * share * together), starting)


def _generation(model: Model, flavor: Flavor, rows: int, prompt: float, answer: int, batch: int) -> Span:
    """Return the seconds of generating: prompts at the GPU's compute, then steps that read the weights and the cache."""
    speed = _speed(flavor)
    if speed is None or not batch:
        return (0.0, 0.0, 0.0)
    peak, bandwidth, shares = speed
    gpus = flavor.gpus or 1
    read = _weights_read(model, batch)
    low, likely, high = (
        _generation_seconds(
            compute=2 * model.active / (peak * shares[2 - case] * gpus),
            reading=1 / (bandwidth * FIT_BANDWIDTH_SHARE[2 - case] * gpus),
            overhead=FIT_DECODE_SECONDS[case],
            rows=rows,
            prompt=prompt,
            answer=answer * FIT_LONGEST_ANSWER_SHARE[case],
            batch=batch,
            weights=read,
            cache=cache_bytes(model.shape),
        )
        for case in range(3)
    )
    return low, likely, high


def _generation_seconds(
    *,
    compute: float,
    reading: float,
    overhead: float,
    rows: int,
    prompt: float,
    answer: float,
    batch: int,
    weights: float,
    cache: float,
) -> float:
    steps = math.ceil(rows / batch) * answer
    step = max(reading * (weights + batch * (prompt + answer / 2) * cache), batch * compute) + overhead
    return rows * prompt * compute + steps * step


def _weights_read(model: Model, batch: int) -> float:
    """Return the bytes of weights that one step reads: of the experts those that at least one of `batch` tokens uses."""
    shape = model.shape
    total = float(model.parameters * model.weight_bytes)
    if not shape.experts:
        return total
    unused = (1 - shape.experts_used / shape.experts) ** batch
    experts = 3 * shape.hidden * shape.experts * shape.expert_inner * (shape.layers - shape.dense_layers)
    return total - unused * experts * model.weight_bytes


def _estimate(
    flavor: Flavor, memory: Memory, usable: float, batch: int, seconds: Iterable[float], model: Model
) -> Estimate:
    """Add the start and the download to the seconds of the work, and the price, billed by the minute."""
    download = model.parameters * model.weight_bytes / _BYTES_IN_GB
    low, likely, high = (
        work + FIT_START_SECONDS[case] + download / FIT_NETWORK_GB_S[2 - case] for case, work in enumerate(seconds)
    )
    dollars = [math.ceil(one / 60) / 60 * flavor.usd_per_hour for one in (low, likely, high)]
    return Estimate(
        flavor=flavor,
        memory=memory,
        usable=usable,
        batch=batch,
        seconds=(low, likely, high),
        usd=(dollars[0], dollars[1], dollars[2]),
    )


# --- end block ---
# --- block: model 1 (jobshelf) ---
MODEL_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
MODEL_WEIGHT_FILES = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model, how its size is known (`origin`), and what else the report says of it."""

    given: str
    commit: str | None
    model: Model
    origin: str
    tokenizer: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """What can be read of a model without its weights. None where there is no such file, or no right to read it.

    `headers` maps a tensor to its dtype and parameters, `counted` is the number of parameters that the Hub itself states,
    `refused` says that files may not be read.
    """

    given: str
    commit: str | None
    names: tuple[str, ...]
    config: Mapping[str, Any] | None
    headers: Mapping[str, tuple[str, int]] | None
    counted: int | None
    tokenizer: Path | None
    refused: bool = False


def find_model(given: str, token: str | None) -> ModelFacts:
    """Return what is known of the model without its weights."""
    size = read_model_size(given)
    if size:
        model = model_of(typical_architecture(size), parameters=size)
        return ModelFacts(
            given=given, commit=None, model=model, origin="given; the shape is that of a typical model of this size"
        )
    folder = Path(given).expanduser()
    if given and folder.is_dir():
        return facts_of_model(read_model_folder(given, folder))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", given) or given.startswith("."):
        message = f"the model {given!r} is no Hub model, no folder and no size"
        raise Stop(EXIT_USAGE, message, fix="write it as user/name, ./folder, or a size such as 8B")
    return facts_of_model(read_hub_model(given, token))


def read_model_size(text: str) -> int:
    """Return the parameters that `8B`, `0.5b` or `135M` stand for, 0 for any other text."""
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)([bm])", text.strip().lower())
    return round(float(match[1]) * {"b": 1e9, "m": 1e6}[match[2]]) if match else 0


def size_in_model_name(given: str) -> int:
    """Return the one size in a model's name, 0 when it names none or several (`8x7B`, `7B-from-70B`).

    The experts that are used (`A3B` in `30B-A3B`) are no second size.
    """
    words = re.split(r"[-_/ ]", given.rpartition("/")[2])
    if any(re.fullmatch(r"\d+x\d+(\.\d+)?[bm]?", word.lower()) for word in words):
        return 0
    sizes = {size for word in words if (size := read_model_size(word))}
    return sizes.pop() if len(sizes) == 1 else 0


def read_model_folder(given: str, folder: Path) -> ModelFiles:
    """Return what the files of a local model say."""
    from huggingface_hub import get_local_safetensors_metadata

    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))
    has = _has_headers(names)
    headers = _read_headers(given, lambda: get_local_safetensors_metadata(folder)) if has else None
    tokenizer = folder / "tokenizer.json"
    return ModelFiles(
        given=given,
        commit=None,
        names=names,
        config=_read_object(folder / "config.json") if "config.json" in names else None,
        headers=headers,
        counted=None,
        tokenizer=tokenizer if tokenizer.is_file() else None,
    )


def read_hub_model(repo_id: str, token: str | None) -> ModelFiles:
    """Return what the files of a Hub model say: ranged reads of the headers, and three small downloads."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.model_info(repo_id), what=f"reading {repo_id}")
    except HfHubHTTPError as error:
        raise _model_refusal(error, repo_id, token) from error
    names = tuple(sibling.rfilename for sibling in info.siblings or ())
    where = {"repo_id": repo_id, "revision": info.sha, "token": token or False}

    def small(name: str) -> Path | None:
        if name not in names:
            return None
        return Path(retry(lambda: hf_hub_download(filename=name, **where), what=f"reading {name} of {repo_id}"))

    config, headers, tokenizer, refused = None, None, None, False
    try:
        found = small("config.json")
        config = _read_object(found) if found else None
        if _has_headers(names):
            headers = _read_headers(
                repo_id,
                lambda: retry(
                    lambda: api.get_safetensors_metadata(repo_id, revision=info.sha), what=f"reading {repo_id}"
                ),
            )
        tokenizer = small("tokenizer.json")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403}:
            raise _model_refusal(error, repo_id, token) from error
        refused = True
    counted = int(info.safetensors.total) if info.safetensors else None
    return ModelFiles(
        given=repo_id,
        commit=info.sha,
        names=names,
        config=config,
        headers=headers,
        counted=counted,
        tokenizer=tokenizer,
        refused=refused,
    )


def _model_refusal(error: Exception, repo_id: str, token: str | None) -> Stop:
    """Return the Stop for a Hub that does not show the model."""
    status = http_status(error)
    if type(error).__name__ == "RepositoryNotFoundError" or status == 404:
        seen = "for this account" if token else "for anonymous readers"
        fix = f"check the spelling; if it is private, {token_advice()}; or give the size: --model 8B"
        return Stop(EXIT_INPUT, f"there is no model {repo_id} {seen}", fix=fix)
    if status in {401, 403}:
        return Stop(EXIT_TOKEN, f"the Hub does not show {repo_id} ({status})", fix=token_advice())
    return Stop(EXIT_ENVIRONMENT, f"the Hub answered {status} for {repo_id}", fix="wait a minute, then run it again")


def _read_object(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file; stop with 4 when it holds anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Stop(
            EXIT_INPUT, f"{path.name} of the model is not JSON: {error}", fix="give the size: --model 8B"
        ) from error
    if not isinstance(found, dict):
        raise Stop(EXIT_INPUT, f"{path.name} of the model holds no object", fix="give the size: --model 8B")
    return found


def facts_of_model(files: ModelFiles) -> ModelFacts:
    """Return the model by the best source there is: headers, the Hub's count, config; its name only when all else fails."""
    _refuse_no_model(files)
    shape = _read_shape(files)
    counted, weight_bytes, quantized = count_in_headers(files.headers, shape, files.config)
    notes = ["the checkpoint is quantized: counted from its config"] if quantized else []
    if counted:
        origin = "exact: headers of its safetensors files"
    elif files.counted and not quantized:
        counted, origin = files.counted, "exact: the Hub's count of its safetensors files"
    elif shape:
        counted = count_parameters(shape)
        origin = "from config.json" + ("" if shape.exact else f", within two percent or so (family {shape.family!r})")
    else:
        counted, origin = _require_size(files), "LAST RESORT, its name: neither headers nor config can be read"
    if shape is None:
        shape = typical_architecture(counted)
        notes.append("its config cannot be read: the shape is that of a typical model of this size")
    return ModelFacts(
        given=files.given,
        commit=files.commit,
        model=model_of(shape, parameters=counted, weight_bytes=weight_bytes),
        origin=origin,
        tokenizer=files.tokenizer,
        notes=tuple(notes),
    )


def _refuse_no_model(files: ModelFiles) -> None:
    """Stop with 4 for adapters, GGUF files alone, and repositories without a model."""
    names = files.names
    weights = _has_headers(names) or any(name.endswith(MODEL_WEIGHT_FILES) for name in names)
    if "adapter_config.json" in names and "config.json" not in names:
        raise Stop(
            EXIT_INPUT,
            f"{files.given} holds adapters, not a model",
            fix="name the model that they belong to: --model BASE",
        )
    if not weights and any(name.endswith(".gguf") for name in names):
        message = f"{files.given} holds GGUF files only, which are neither trained nor converted"
        raise Stop(EXIT_INPUT, message, fix="name the model that they were made from, or give the size: --model 8B")
    if not weights and "config.json" not in names:
        raise Stop(
            EXIT_INPUT,
            f"{files.given} holds no model: no weights and no config.json",
            fix="name a model, or give the size: --model 8B",
        )


def _read_shape(files: ModelFiles) -> Architecture | None:
    """Return the architecture that the config describes, None when there is none to read or it says too little."""
    if files.config is None:
        return None
    try:
        return read_architecture(files.config)
    except ValueError as error:
        if files.headers is None and files.counted is None:
            raise Stop(EXIT_INPUT, f"config.json of {files.given}: {error}", fix="give the size: --model 8B") from error
        return None


def count_in_headers(
    tensors: Mapping[str, tuple[str, int]] | None, shape: Architecture | None, config: Mapping[str, Any] | None
) -> tuple[int, int, bool]:
    """Return (parameters, bytes of a weight, quantized); 0 parameters when the headers do not tell them.

    A head that is tied to the embedding counts once, even where the file stores it twice.
    """
    quantized = bool(config and config.get("quantization_config"))
    if not tensors:
        return 0, 2, quantized
    by_dtype: dict[str, int] = {}
    for dtype, count in tensors.values():
        by_dtype[dtype] = by_dtype.get(dtype, 0) + count
    main = max(by_dtype, key=lambda name: by_dtype[name])
    if quantized or main not in MODEL_DTYPE_BYTES:
        return 0, 2, True
    total = sum(count for dtype, count in by_dtype.items() if dtype in MODEL_DTYPE_BYTES)
    if shape and shape.tied and len(tensors) > 1:
        total -= tensors.get("lm_head.weight", ("", 0))[1]
    return total, MODEL_DTYPE_BYTES[main], False


def _require_size(files: ModelFiles) -> int:
    """Return the size in the model's name, or stop: 3 when a token would help, else 4."""
    size = size_in_model_name(files.given)
    if size:
        return size
    if files.refused:
        message = f"the files of {files.given} are gated for this account, and its name does not say one size"
        raise Stop(
            EXIT_TOKEN, message, fix=f"ask for access on its page, then {token_advice()}; or give the size: --model 8B"
        )
    message = f"{files.given} has neither safetensors nor config.json, and its name does not say one size"
    raise Stop(EXIT_INPUT, message, fix="give the size: --model 8B")


def _has_headers(names: Iterable[str]) -> bool:
    return bool({"model.safetensors", "model.safetensors.index.json"} & set(names))


def _read_headers(given: str, read: Callable[[], SafetensorsRepoMetadata]) -> Mapping[str, tuple[str, int]]:
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        files = read().files_metadata.values()
        tensors = {name: (one.dtype, one.parameter_count) for file in files for name, one in file.tensors.items()}
        if sum(count for _, count in tensors.values()) < 1:
            raise ValueError("it lists no tensor")
    except (SafetensorsParsingError, ValueError, TypeError, KeyError, AttributeError, FileNotFoundError) as error:
        message = f"a safetensors file of {given} has no readable header: {error}"
        raise Stop(EXIT_INPUT, message, fix="upload it again, or give the size: --model 8B") from error
    return tensors


# --- end block ---

if __name__ == "__main__":
    raise SystemExit(main())
