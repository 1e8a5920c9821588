# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "pyarrow>=26,<27",
#     "tenacity>=9.1,<10",
#     "tokenizers>=0.23,<0.24",
#     "zstandard>=0.25,<1",  # used by: datasets, for .zst files
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
"""Estimate a Job's time, cost and memory, and recommend hardware.

Training with TRL (SFT, DPO, reward, GRPO; full, LoRA, QLoRA), generation and GGUF conversion, on every flavor at today's
prices. Reads the headers of the weights, the config, the tokenizer, and a sample of the dataset's rows; writes nothing.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/estimate_cost.py --model 8B --job convert
    hf jobs uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/estimate_cost.py --model 8B --dataset trl-lib/Capybara --hardware a10g-large

Private and gated repositories need a token (HF_TOKEN or `hf auth login`). Figures are ranges, compared with TRL 1.16 on
a CPU (bench/calibrate_cost.py), not on GPUs.
Exit codes: 0 done; 2 usage; 3 token; 4 input data; 5 network or machine.
"""

from __future__ import annotations

import argparse
import difflib
import glob
import json
import math
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

# Jobs' flavors on this day (docs `jobs-pricing`): vCPUs, RAM GB, disk GB, $ an hour, GPUs, GB of one GPU, GPU.
# `jobshelf` reads both constants as data, and `jobshelf hardware --refresh` rewrites them.
PRICES_DATE = "2026-11-20"
FLAVORS = {
    "cpu-basic": (2, 16, 50, 0.01, 0, 0, ""),
    "cpu-upgrade": (8, 32, 50, 0.03, 0, 0, ""),
    "cpu-xl": (16, 124, 1000, 1.00, 0, 0, ""),
    "cpu-performance": (32, 256, 1024, 1.90, 0, 0, ""),
    "t4-small": (4, 15, 50, 0.40, 1, 16, "T4"),
    "t4-medium": (8, 30, 100, 0.60, 1, 16, "T4"),
    "l4x1": (8, 30, 400, 0.80, 1, 24, "L4"),
    "l4x4": (48, 186, 3200, 3.80, 4, 24, "L4"),
    "l40sx1": (8, 62, 380, 1.80, 1, 48, "L40S"),
    "l40sx4": (48, 382, 3200, 8.30, 4, 48, "L40S"),
    "l40sx8": (192, 1534, 6500, 23.50, 8, 48, "L40S"),
    "a10g-small": (4, 15, 110, 1.00, 1, 24, "A10G"),
    "a10g-large": (12, 46, 200, 1.50, 1, 24, "A10G"),
    "a10g-largex2": (24, 92, 1000, 3.00, 2, 24, "A10G"),
    "a10g-largex4": (48, 184, 2000, 5.00, 4, 24, "A10G"),
    "a100-large": (12, 142, 1000, 2.50, 1, 80, "A100"),
    "a100x4": (48, 568, 4000, 10.00, 4, 80, "A100"),
    "a100x8": (96, 1136, 8000, 20.00, 8, 80, "A100"),
    "h200": (23, 256, 3000, 5.00, 1, 141, "H200"),
    "h200x2": (46, 512, 6000, 10.00, 2, 141, "H200"),
    "h200x4": (92, 1024, 12000, 20.00, 4, 141, "H200"),
    "h200x8": (184, 2048, 24000, 40.00, 8, 141, "H200"),
    "rtx-pro-6000": (23, 256, 475, 2.75, 1, 96, "RTX PRO 6000"),
    "rtx-pro-6000x2": (46, 512, 950, 5.50, 2, 96, "RTX PRO 6000"),
    "rtx-pro-6000x4": (92, 1024, 1900, 11.00, 4, 96, "RTX PRO 6000"),
    "rtx-pro-6000x8": (184, 2048, 3800, 22.00, 8, 96, "RTX PRO 6000"),
}
# Flavors that Jobs do not have: how the name begins, how the nearest one does, why.
ABSENT_FLAVORS = (
    ("h100", "h200", "Jobs have no H100; it has more memory"),
    ("b200", "h200", "Jobs have no B200; it is the fastest GPU there"),
    ("v5e-1", "l4x1", "Jobs have no TPUs; it has the memory of one v5e"),
    ("v5e-2x2", "a100-large", "Jobs have no TPUs; it has the memory of four v5e"),
    ("v5e", "h200", "Jobs have no TPUs; it has the memory of eight v5e"),
    ("tpu", "l4x1", "Jobs have no TPUs; it is the cheapest GPU with bfloat16"),
    ("zero-", "a10g-small", "ZeroGPU is for Spaces, not for Jobs"),
    ("a100-small", "a100-large", "the A100 comes whole"),
)

# Spans are low, likely, high: assumptions after published runs, not measured.
# 16-bit TFLOP/s and memory GB/s of a GPU, from the data sheets; the share of the TFLOP/s that training reaches.
GPU_SPEED = {
    "T4": (65, 320, (0.15, 0.25, 0.40)),
    "L4": (121, 300, (0.20, 0.35, 0.50)),
    "A10G": (70, 600, (0.30, 0.45, 0.60)),
    "L40S": (362, 864, (0.20, 0.32, 0.45)),
    "A100": (312, 2039, (0.25, 0.40, 0.55)),
    "H200": (989, 4800, (0.20, 0.35, 0.50)),
    "RTX PRO 6000": (500, 1597, (0.20, 0.33, 0.45)),
}
VCPU_SPEED = (0.05, 4.0, (0.40, 0.70, 0.95))  # of one vCPU, in float32 (bench/calibrate_cost.py)
LAYER_SECONDS = (0.0005, 0.001, 0.002)  # to launch the kernels of a layer
SCALING = (0.80, 0.90, 0.97)  # of the speed of each of several GPUs
PADDING = (1.0, 1.1, 1.3)  # tokens computed for one token of data
START_SECONDS = (60.0, 180.0, 480.0)  # image and packages
NETWORK_GB_S = (0.10, 0.25, 0.60)
CONVERT_SECONDS = (7, 16, 42)  # of a GB in 16 bits, with its upload
QUANTIZE_SECONDS = (200, 375, 750)  # of a GB in 16 bits, for one vCPU
BUILD_SECONDS = (60.0, 180.0, 480.0)
BANDWIDTH_SHARE = (0.40, 0.60, 0.80)  # that decoding reaches
DECODE_SECONDS = (0.002, 0.004, 0.008)  # of one step, besides
ANSWER_SHARE = (0.25, 0.60, 1.0)  # average answer, of the longest one allowed
DECODED_SEQUENCES = 256  # vLLM's default
LOGITS_TOKENS, LOGITS_WORDS, LOGITS_BYTES = 4096, 32768, 12  # a tile of TRL 1.16, its softmax and gradient
MEMORY_SHARE, VLLM_SHARE = 0.94, 0.90
GPU_TAKEN_GB, CPU_TAKEN_GB = 0.8, 2.0  # the driver's context; Python
LIMITS = {"dataset_size": 10**12, "epochs": 1000, "batch_size": 4096, "lora_r": 1024}  # 10**7 for the others
GB, LARGEST_BATCH = 1e9, 8
LONGEST_SECONDS, DEAREST_TIMES = 3 * 86_400, 20

PROMPT_COLUMNS = ("prompt", "messages", "conversations", "question", "instruction", "problem", "text")
WHOLE_COLUMNS = ("messages", "conversations", "text", "input_ids")
UNTRAINED_KEYS = frozenset({"role", "from", "name", "id"})
TURN_TOKENS, CHARACTERS_A_TOKEN = 4, 4.0
SAMPLED_ROWS, SAMPLED_FILES, COUNTED_FILES = 200, 4, 32
COMPRESSION = 4  # of text, in .gz and the like
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
STORED_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
MEMORY_PARTS = ("weights", "gradients", "optimizer", "activations", "cache")
SAFETENSORS = {"model.safetensors", "model.safetensors.index.json"}
TIED_FAMILIES = {"gemma", "gemma2", "gemma3_text", "smollm3"}  # whose configs do not say so
HUB_NAME = r"\w[\w.-]*/[\w.-]+"
GIVE_SIZE = "give the size: --model 8B"
TYPICAL = "the shape is that of a typical model of this size"
LIVE = "the Hub's list of now"
LOG_IN = "run `hf auth login`; for a Job add `--secrets HF_TOKEN`"
# Parameters: hidden, layers, heads, key-value heads, inner, words (Qwen2.5, Llama 3.1)
TYPICAL_MODELS = {
    0.49e9: (896, 24, 14, 2, 4864, 151936),
    1.5e9: (1536, 28, 12, 2, 8960, 151936),
    3.1e9: (2048, 36, 16, 2, 11008, 151936),
    8.0e9: (4096, 32, 32, 8, 14336, 128256),
    32.8e9: (5120, 64, 40, 8, 27648, 152064),
    70.6e9: (8192, 80, 64, 8, 28672, 128256),
    405.9e9: (16384, 126, 128, 8, 53248, 128256),
}

Span = tuple[float, float, float]


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = parse_arguments(argv)
    try:
        report = estimate(args)
    except OSError as error:
        stop(5, str(error) or type(error).__name__, "check the network and HF_ENDPOINT, then run it again")
    print(json.dumps(report, indent=2, allow_nan=False) if args.json else report_text(report))
    return 0


def estimate(args: argparse.Namespace) -> dict[str, Any]:
    """Return the report on every flavor."""
    set_patience()
    flavors, prices = current_flavors()
    if args.hardware is not None and args.hardware not in flavors:
        name, why = nearest_flavor(args.hardware, flavors)
        stop(2, f"there is no flavor {args.hardware!r}; the nearest is {name}: {why}", f"--hardware {name}")
    model = look_up_model(args.model)
    job = Job(args, model) if args.job == "convert" else measure_data(args, model)
    return make_report(job, rank_flavors(job, flavors), prices)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return the command line; a usage error exits with 2."""
    parser = argparse.ArgumentParser(prog="estimate_cost.py", description=str(__doc__).partition("\n")[0])
    add, default = parser.add_argument, "(default: %(default)s)"
    add("--model", required=True, metavar="M", help="Hub model (user/name), or a size such as 8B")
    add("--dataset", metavar="D", help="Hub dataset (user/name), file or folder")
    add("--config", metavar="NAME", help="configuration of the dataset")
    add("--split", metavar="NAME", help="split of the dataset (default: train, else the first)")
    add("--revision", metavar="REV", help="branch, tag or commit of the dataset")
    add("--dataset-size", type=int, metavar="ROWS", help="rows that will be used (default: all)")
    add("--tokens-per-row", type=int, metavar="N", help="tokens of a row (default: measured on a sample)")
    add("--hardware", "--flavor", metavar="FLAVOR", help="flavor to report on; all are ranked")
    add("--job", choices=("train", "generate", "convert"), default="train", help=f"kind of work {default}")
    add("--method", choices=("sft", "dpo", "reward", "grpo"), default="sft", help=f"TRL trainer {default}")
    add("--tuning", choices=("lora", "qlora", "full"), default="lora", help=f"what is trained {default}")
    add("--dtype", choices=DTYPE_BYTES, help="of the weights (default: float32 if full or on a CPU)")
    add("--lora-r", type=int, default=16, metavar="R", help=f"rank of the adapters {default}")
    add("--epochs", type=float, default=3.0, metavar="E", help=f"times through the data {default}")
    add("--batch-size", type=int, metavar="B", help="sequences per GPU (default: what fits, at most 8)")
    add("--max-length", type=int, metavar="TOKENS", help="longest sequence (default: that of 99 %% of the rows)")
    add("--fsdp", action="store_true", help="shard the training over the GPUs")
    add("--num-generations", type=int, default=8, metavar="G", help=f"grpo: answers to a prompt {default}")
    add("--max-new-tokens", type=int, default=512, metavar="N", help=f"grpo, generate: longest answer {default}")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        most = LIMITS.get(name, 10**7)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value <= most:
            parser.error(f"--{name.replace('_', '-')} is {value}, expected more than 0 and at most {most:,}")
    if args.job != "convert" and not args.dataset and not (args.dataset_size and args.tokens_per_row):
        parser.error("name the dataset: --dataset D, or give both --dataset-size and --tokens-per-row")
    return args


@dataclass(frozen=True, slots=True)
class Flavor:
    """A machine of Jobs; `vram_gb` is the memory of one GPU, `gpu` its model."""

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
        """The accelerators, such as `2x A10G 24 GB`, or `-`."""
        return f"{self.gpus}x {self.gpu} {self.vram_gb:g} GB" if self.gpus else "-"


def set_patience() -> None:
    """Do not wait long for a silent Hub; show no progress bars."""
    import httpx2
    from huggingface_hub.utils import disable_progress_bars, get_session

    disable_progress_bars()
    limit = httpx2.Timeout(60).as_dict()
    get_session().event_hooks["request"].append(lambda request: request.extensions.update(timeout=limit))


def current_flavors() -> tuple[dict[str, Flavor], str]:
    """Return the flavors at the Hub's prices, else the dated ones; and which."""
    import httpx2
    from huggingface_hub import HfApi

    flavors = {name: Flavor(name, *cells) for name, cells in FLAVORS.items()}
    try:
        listed = {one.name: one for one in HfApi().list_jobs_hardware() if one.name in flavors}
        a_unit = {"minute": 60, "hour": 1}
        usd = {name: float(one.unit_cost_usd) * a_unit[one.unit_label] for name, one in listed.items()}
        if usd and all(0 <= price < math.inf for price in usd.values()):
            return {name: replace(flavors[name], usd_per_hour=round(price, 4)) for name, price in usd.items()}, LIVE
        reason = "no prices"
    except (httpx2.HTTPError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
    print(f"note: the Hub gives no price list ({reason}); using the one of {PRICES_DATE}", file=sys.stderr)
    return flavors, f"list of {PRICES_DATE}"


def nearest_flavor(asked: str, flavors: Mapping[str, Flavor]) -> tuple[str, str]:
    """Return the flavor nearest to `asked`, and why that one."""
    wanted = asked.strip().lower().replace("_", "-")
    if wanted in flavors:
        return wanted, "names are in lower case, with dashes"
    for beginning, nearest, reason in ABSENT_FLAVORS:
        if wanted.startswith(beginning) and nearest in flavors:
            several = f"{nearest}{wanted.removeprefix(beginning)}"
            return (several if several in flavors else nearest), reason
    names = sorted(flavors, key=lambda name: flavors[name].usd_per_hour)
    begun = [name for name in names if wanted and name.startswith(wanted)]
    close = begun or difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    return (close[0], "the name is alike") if close else (names[0], "it is the cheapest")


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done; `rows` of all epochs, `length` of the longest sequence."""

    args: argparse.Namespace
    model: Model
    given: str = ""
    rows: int = 0
    rows_origin: str = ""
    tokens: Span = (0.0, 0.0, 0.0)
    tokens_origin: str = ""
    length: int = 0


def measure_data(args: argparse.Namespace, model: Model) -> Job:
    """Return the job with rows and tokens as given, else counted and measured on a sample."""
    given, rows, origin, each = args.dataset or "no dataset", args.dataset_size, "given", args.tokens_per_row
    sampled: list[dict[str, Any]] = []
    if not (rows and each):
        given, sampled, counted, how = sample_rows(args)
        rows, origin = (rows, "given") if rows else (counted, how)
    known = ((float(each), float(each), float(each)), 2 * each, "given") if each else None
    tokens, longest, tokens_origin = known or measure_tokens(sampled, args, model.tokenizer)
    rows = max(1, round(rows * (args.epochs if args.job == "train" else 1)))
    length = args.max_length or 64 * math.ceil(longest / 64)
    length = min(length, model.shape.context or length)  # the model takes no longer ones
    return Job(args, model, given, rows, origin, tokens, tokens_origin, length)


def sample_rows(args: argparse.Namespace) -> tuple[str, list[dict[str, Any]], int, str]:
    """Return the dataset's label, sampled rows, the number of rows, and how it is known."""
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    file, heads = args.dataset, []
    try:
        builder, label = open_dataset(args)
        splits = builder.config.data_files
        split = args.split or ("train" if "train" in splits else next(iter(splits)))
        if split not in splits:
            stop(
                4,
                f"{args.dataset} has no split {split!r}; it has: {', '.join(map(str, splits))}",
                "name one with --split",
            )
        files = [str(name) for name in splits[split]]
        chosen = spread(files, SAMPLED_FILES)
        for file in chosen:
            heads.append(retrying(read_head, builder, split, files.index(file), SAMPLED_ROWS // len(chosen)))
        sampled = [row for rows, _ in heads for row in rows]
        if not sampled:
            stop(4, f"the split {split!r} of {args.dataset} has no rows", "name another --split")
        is_whole = len(heads) == len(files) and all(is_whole for _, is_whole in heads)
        counted = (len(sampled), "counted") if is_whole else count_rows(builder.name, files, sampled)
    except HfHubHTTPError as error:
        refuse(error, f"dataset {args.dataset}", "")
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 -- each kind of file fails in its own way
        name = Path(file).name
        found = f"{name} is not readable {Path(name).suffix[1:]}: {error.__cause__ or error}"
        stop(4, found, "correct it, or check --config and --split")
    return f"{label}, {builder.config.name}/{split}", sampled, *counted


def open_dataset(args: argparse.Namespace) -> tuple[Any, str]:
    """Return the dataset's builder, and its name with the commit."""
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi

    given, path = args.dataset, Path(args.dataset).expanduser().absolute()
    if path.exists() and args.revision:
        stop(2, f"{given} is here and has no revision {args.revision!r}", "leave --revision out")
    if path.is_dir():
        return load_dataset_builder(str(path), args.config), given
    if path.exists():  # a name, not a pattern
        return load_dataset_builder(str(path.parent), args.config, data_files=glob.escape(str(path))), given
    if not re.fullmatch(HUB_NAME, given):
        code = 2 if "://" in given or not ("/" in given or path.suffix) else 4
        stop(code, f"{given!r} is not a Hub dataset, a file or a folder", "write user/name, or ./path")
    info = retrying(HfApi().dataset_info, given, revision=args.revision)
    if info.gated:  # its card is public, its files are not
        retrying(HfApi().auth_check, given, repo_type="dataset")
    return retrying(load_dataset_builder, given, args.config, revision=info.sha), f"{given}@{info.sha[:12]}"


def read_head(builder: Any, split: str, number: int, count: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the first `count` rows of one file, and whether it has no more."""
    import fsspec

    if builder.name == "parquet":
        builder.config.batch_size = 1000  # else a file without rows fails
    elif builder.name == "csv":
        file = str(builder.config.data_files[split][number])
        with fsspec.open(file, "rt", compression="infer", encoding="utf-8-sig") as opened:
            header = opened.readline()
        if not header:
            return [], True
        builder.config.sep = max(",;\t|", key=header.count)
    try:
        stream = builder.as_streaming_dataset(split)
        stream = stream.decode(False) if stream.features else stream
        rows = list(stream.shard(stream.num_shards, number).take(count + 1))
    except StopIteration:
        return [], True
    if rows and any(name.startswith("__index_level_") for name in rows[0]):
        raise ValueError("a row has more fields than defined by the first line")
    return rows[:count], len(rows) <= count


def count_rows(kind: str, files: list[str], sampled: list[Any]) -> tuple[int, str]:
    """Return the number of all rows, from footers or sizes of files, and how it is known."""
    import fsspec
    from pyarrow.parquet import read_metadata

    some = spread(files, COUNTED_FILES)
    storage = fsspec.core.url_to_fs(some[0])[0]
    if kind == "parquet":
        rows = sum(retrying(read_metadata, file, filesystem=storage).num_rows for file in some)
        origin = "counted" if len(some) == len(files) else f"about: from {len(some)} of {len(files)} files"
        return round(rows / len(some) * len(files)), origin
    size = sum(retrying(storage.size, file) for file in some) / len(some) * len(files)
    size *= COMPRESSION if Path(files[0]).suffix in {".gz", ".zst", ".bz2", ".xz"} else 1
    written = sum(len(json.dumps(row, ensure_ascii=False, default=str).encode()) + 1 for row in sampled)
    return max(1, round(size * len(sampled) / written)), "about: from the sizes of the files"


def spread(files: list[str], count: int) -> list[str]:
    """Return at most `count` of the files, evenly apart."""
    step = max(1.0, len(files) / count)
    return [files[int(step * place)] for place in range(min(count, len(files)))]


def measure_tokens(rows: list[Any], args: argparse.Namespace, tokenizer: Path | None) -> tuple[Span, int, str]:
    """Return the tokens of a row and of 99 of 100 sequences, and how they were counted."""
    count = token_counter(tokenizer)
    every = sorted(count_tokens(part, count) for row in rows for part in row_sequences(row, args))
    if every[-1] == 0:
        fix = "name another --config or --split, or give --tokens-per-row N"
        stop(4, f"the sampled rows of {args.dataset} hold no text", fix)
    mean = sum(min(length, args.max_length or length) for length in every) / len(rows)
    how, low, high = "the model's tokenizer", 0.9, 1.1
    if tokenizer is None:
        how, low, high = f"{CHARACTERS_A_TOKEN:g} characters a token", 0.75, 1.35
    longest = every[math.ceil(0.99 * len(every)) - 1]
    return (low * mean, mean, high * mean), longest, f"{how} on {len(rows)} rows"


def token_counter(file: Path | None) -> Callable[[str], int]:
    """Return the model's own tokenizer, else one that takes four characters for a token."""
    if file is None:
        return lambda text: math.ceil(len(text) / CHARACTERS_A_TOKEN)
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 -- it raises nothing more specific
        fix = "give --tokens-per-row N and --dataset-size ROWS"
        stop(4, f"tokenizer.json of the model cannot be read: {error}", fix)
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def row_sequences(row: Mapping[str, Any], args: argparse.Namespace) -> list[object]:
    """Return what is one sequence: one value, or two for a preference."""
    is_prompt = args.job == "generate" or args.method == "grpo"
    if args.method in {"dpo", "reward"} and {"chosen", "rejected"} <= row.keys() and not is_prompt:
        return [[row.get("prompt"), row["chosen"]], [row.get("prompt"), row["rejected"]]]
    columns = PROMPT_COLUMNS if is_prompt else WHOLE_COLUMNS
    if whole := next((row[name] for name in columns if row.get(name)), None):
        return [whole]
    return [[row["prompt"], row["completion"]] if {"prompt", "completion"} <= row.keys() else tuple(row.values())]


def count_tokens(value: object, count: Callable[[str], int]) -> int:
    """Return the tokens of all text in `value`; a turn has a few more."""
    if isinstance(value, str):
        return count(value)
    if isinstance(value, Mapping):
        turn = TURN_TOKENS if {"content", "value"} & value.keys() else 0
        return turn + sum(count_tokens(part, count) for key, part in value.items() if key not in UNTRAINED_KEYS)
    if isinstance(value, list) and value and all(isinstance(part, int) for part in value):
        return len(value)
    return sum(count_tokens(part, count) for part in value) if isinstance(value, list | tuple) else 0


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder as its config describes it; `inner` is the width of an MLP, or of one expert."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    head_dim: int
    tied: bool
    context: int = 0
    experts: int = 1
    experts_used: int = 1

    @property
    def attention(self) -> tuple[int, int]:
        """Width of all queries, and of all keys."""
        return self.heads * self.head_dim, self.kv_heads * self.head_dim

    @property
    def words(self) -> int:
        """Parameters of the embedding and the head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def cache_bytes(self) -> int:
        """Bytes that one token leaves in the cache."""
        return 4 * self.layers * self.attention[1]

    def count(self, experts: int) -> int:
        """Return the parameters, with so many experts."""
        return self.layers * self.hidden * (2 * sum(self.attention) + 3 * experts * self.inner) + self.words


@dataclass(frozen=True, slots=True)
class Model:
    """A model; `origin` says how its size is known."""

    given: str
    parameters: int
    shape: Shape
    origin: str
    weight_bytes: int = 2
    commit: str | None = None
    tokenizer: Path | None = None

    @property
    def active(self) -> int:
        """The parameters that one token goes through."""
        shape = self.shape
        return round(self.parameters * shape.count(shape.experts_used) / shape.count(shape.experts))

    @property
    def stored_gb(self) -> float:
        """GB of the stored weights."""
        return self.parameters * self.weight_bytes / GB


def look_up_model(given: str) -> Model:
    """Return the model, read without its weights."""
    from huggingface_hub.errors import HfHubHTTPError

    if size := re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)([bm])", given.strip().lower()):
        parameters = round(float(size[1]) * {"b": 1e9, "m": 1e6}[size[2]])
        return Model(given, parameters, typical_shape(parameters), f"given; {TYPICAL}")
    if not re.fullmatch(HUB_NAME, given):
        stop(2, f"{given!r} is neither a Hub model nor a size", "write user/name, or 8B")
    try:
        return read_model(given)
    except HfHubHTTPError as error:
        refuse(error, f"model {given}", f"; or {GIVE_SIZE}")


def read_model(given: str) -> Model:
    """Return what the headers of a Hub model's weights say, else its config."""
    from huggingface_hub import HfApi, hf_hub_download

    info = retrying(HfApi().model_info, given)
    names = {file.rfilename for file in info.siblings}
    if not names & {"config.json", *SAFETENSORS}:
        found = f"{given} holds no model: neither config.json nor safetensors"
        stop(4, found, f"name the model that adapters or GGUF files were made from, or {GIVE_SIZE}")
    fetch = partial(retrying, hf_hub_download, given, revision=info.sha)
    config = fetch("config.json") if "config.json" in names else None
    tokenizer = Path(fetch("tokenizer.json")) if "tokenizer.json" in names else None
    tensors = read_tensors(given, info.sha) if names & SAFETENSORS else {}
    told: dict[str, Any] = {}
    shape = None
    try:
        told = json.loads(Path(config).read_text(encoding="utf-8")) if config else {}
        shape = read_shape(told)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        if not tensors:
            stop(4, f"config.json of {given} describes no model: {error}", GIVE_SIZE)
    sizes: dict[str, int] = {}
    for name, (dtype, count) in tensors.items():
        is_stored_twice = name == "lm_head.weight" and shape is not None and shape.tied
        sizes[dtype] = sizes.get(dtype, 0) + (0 if is_stored_twice else count)
    main = max(sizes, key=lambda dtype: sizes[dtype], default="")
    parameters, origin = sum(sizes.values()), "exact: headers of its safetensors files"
    if "quantization_config" in told or main not in STORED_BYTES:
        if shape is None:
            stop(4, f"{given} is quantized, and no config.json describes it", GIVE_SIZE)
        parameters, main = shape.count(shape.experts), ""
        origin = f"from config.json{', as the checkpoint is quantized' if tensors else ''}"
    if shape is None:
        shape, origin = typical_shape(parameters), f"{origin}; its config cannot be read: {TYPICAL}"
    return Model(given, parameters, shape, origin, STORED_BYTES.get(main, 2), info.sha, tokenizer)


def read_tensors(given: str, revision: str) -> dict[str, tuple[str, int]]:
    """Return dtype and parameters of each tensor, by name."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        files = retrying(HfApi().get_safetensors_metadata, given, revision=revision).files_metadata.values()
        tensors = {name: (one.dtype, one.parameter_count) for file in files for name, one in file.tensors.items()}
        if sum(count for _, count in tensors.values()) < 1:
            raise ValueError("it lists no tensor")
    except (SafetensorsParsingError, ValueError, TypeError, KeyError, AttributeError) as error:
        stop(4, f"a safetensors file of {given} has no readable header: {error}", f"upload it again, or {GIVE_SIZE}")
    return tensors


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Return what `config.json` says. Raises ValueError when it lacks a size."""
    told = {**config, **(config.get("text_config") or {})}

    def size(*names: str, default: int | None = None) -> int:
        name = next((name for name in names if told.get(name)), names[0])
        value = told.get(name) or default
        if value is None:
            raise ValueError(f"it has no {name}")
        if type(value) is not int or not 0 <= value < 10**9:
            raise ValueError(f"{name} is {value!r}, expected a whole number")
        return value

    hidden, heads, inner = size("hidden_size"), size("num_attention_heads"), size("intermediate_size")
    expert = size("moe_intermediate_size", default=inner)
    experts = size("num_experts", "num_local_experts", "n_routed_experts", default=1)
    return Shape(
        hidden=hidden,
        layers=size("num_hidden_layers"),
        heads=heads,
        kv_heads=size("num_key_value_heads", default=heads),
        inner=expert if experts > 1 else inner,
        vocabulary=size("vocab_size"),
        head_dim=size("head_dim", default=hidden // heads),
        tied=bool(told.get("tie_word_embeddings", told.get("model_type") in TIED_FAMILIES)),
        context=size("max_position_embeddings", default=0),
        experts=experts,
        experts_used=min(experts, size("num_experts_per_tok", "experts_per_token", default=1)),
    )


def typical_shape(parameters: float) -> Shape:
    """Return the shape of models of about this size."""
    nearest = min(TYPICAL_MODELS, key=lambda count: abs(math.log(count / parameters)))
    hidden, layers, heads, kv_heads, inner, vocabulary = TYPICAL_MODELS[nearest]
    return Shape(hidden, layers, heads, kv_heads, inner, vocabulary, hidden // heads, tied=parameters < 4e9)


def refuse(error: Any, what: str, otherwise: str) -> NoReturn:
    """Stop because the Hub does not show `what`."""
    kind, status = type(error).__name__, error.response.status_code
    is_missing = kind == "RepositoryNotFoundError" or status == 404
    code = 4 if is_missing else 3 if status in {401, 403} else 5
    reason = "it is gated" if kind == "GatedRepoError" else f"{kind}, {status}"
    fix = f"check the name; if it is private or gated, {LOG_IN}{otherwise}"
    stop(code, f"the Hub shows no {what} to this account ({reason})", fix)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A job on a flavor, in bytes, sequences per GPU and seconds; `short` says why it does not fit."""

    flavor: Flavor
    memory: Mapping[str, float]
    usable: float
    batch: int
    short: str
    seconds: Span = (0.0, 0.0, 0.0)
    recommended: bool = False

    @property
    def usd(self) -> Span:
        """US dollars; every minute begun is billed."""
        return span(lambda case: math.ceil(self.seconds[case] / 60) / 60 * self.flavor.usd_per_hour)

    @property
    def timeout(self) -> str:
        """The high figure and 30 %, rounded up, as `--timeout` takes it: `45m`, `3h`."""
        minutes = 1.3 * self.seconds[2] / 60
        step = 5 if minutes <= 120 else 15 if minutes <= 480 else 60
        whole = max(10, math.ceil(round(minutes / step, 9)) * step)
        return f"{whole // 60}h" if whole % 60 == 0 else f"{whole}m"


def span(figure: Callable[[int], float]) -> Span:
    """Return `figure` of 0, 1 and 2: low, likely, high."""
    return figure(0), figure(1), figure(2)


def rank_flavors(job: Job, flavors: Mapping[str, Flavor]) -> list[Estimate]:
    """Return an estimate for each flavor: the recommended ones first, the cheapest on top.

    Not recommended is what takes more than three days, or costs 20 times as much as another.
    """
    estimates = [estimate_on(flavor, job) for flavor in flavors.values()]
    dearest = DEAREST_TIMES * min((one.usd[1] for one in estimates if not one.short), default=0.0)

    def judged(one: Estimate) -> Estimate:
        return replace(one, recommended=not one.short and one.seconds[1] <= LONGEST_SECONDS and one.usd[1] <= dearest)

    def order(one: Estimate) -> tuple[bool, bool, bool, float, float]:
        is_slow = one.seconds[1] > 86_400  # nobody waits longer to save a dollar
        return not one.recommended, bool(one.short), is_slow, one.usd[1], one.flavor.usd_per_hour

    return sorted(map(judged, estimates), key=order)


def estimate_on(flavor: Flavor, job: Job) -> Estimate:
    """Return what the job takes on one flavor."""
    args, model, shape = job.args, job.model, job.model.shape
    place, disk_gb, usable = "RAM", 1.1 * model.stored_gb, GB * (flavor.ram_gb * MEMORY_SHARE - CPU_TAKEN_GB)
    if flavor.gpus and args.job != "convert":
        share = VLLM_SHARE if args.job == "generate" else MEMORY_SHARE
        place, usable = "a GPU", GB * (flavor.vram_gb * share - GPU_TAKEN_GB)
    batch, work = args.batch_size or LARGEST_BATCH, training_seconds
    memory = training_memory(flavor, job, batch)
    while sum(memory.values()) > usable and batch > 1 and not args.batch_size:
        batch //= 2
        memory = training_memory(flavor, job, batch)
    if args.job == "generate":  # every layer is split over all GPUs
        gpus, longest = flavor.gpus or 1, max(job.tokens[2], job.length) + args.max_new_tokens
        weights, sequence = model.stored_gb * GB / gpus, longest * shape.cache_bytes / gpus
        batch, work = max(0, min(DECODED_SEQUENCES, job.rows, int((usable - weights) // sequence))), generation_seconds
        memory = {"weights": weights, "cache": sequence * max(batch, 1)}
    elif args.job == "convert":  # tensor by tensor, three times in float32
        batch, work, disk_gb = 0, conversion_seconds, 5.2 * model.parameters / GB
        memory = {"weights": 12 * shape.hidden * max(shape.vocabulary, shape.inner * shape.experts)}
    needed, short = sum(memory.values()), ""
    if needed > usable:
        short = f"{needed / GB:.1f} GB of {place} needed, {max(usable, 0) / GB:.1f} usable"
    elif disk_gb > 0.9 * flavor.disk_gb:
        short = f"{disk_gb:.0f} GB of disk needed, {flavor.disk_gb:g} there"
    if short:
        return Estimate(flavor, memory, usable, batch, short)
    worked = work(flavor, job, batch)
    billed = span(lambda case: START_SECONDS[case] + model.stored_gb / NETWORK_GB_S[2 - case] + worked[case])
    return Estimate(flavor, memory, usable, batch, "", billed)


def flavor_speed(flavor: Flavor) -> tuple[float, float, Span]:
    """Return FLOP/s and bytes/s of all GPUs or vCPUs, and the share that is reached."""
    peak, bandwidth, share = GPU_SPEED[flavor.gpu] if flavor.gpus else VCPU_SPEED
    units = flavor.gpus or flavor.vcpus
    return peak * 1e12 * units, bandwidth * 1e9 * units, share


def training_memory(flavor: Flavor, job: Job, batch: int) -> Mapping[str, float]:
    """Return the bytes that TRL 1.16 allocates at its peak, on one GPU or in RAM.

    In full tuning, gradients and AdamW's two moments have the type of the weights: 16 bytes a parameter in TRL's float32,
    8 in bfloat16; DPO keeps a second copy of the weights. Adapters are float32 (PEFT). What a layer keeps for its backward
    pass was counted with saved-tensor hooks; gradient checkpointing keeps one layer, and the inputs of the others.
    """
    args, model, shape = job.args, job.model, job.model.shape
    dtype = args.dtype or ("float32" if args.tuning == "full" or not flavor.gpus else "bfloat16")
    each = DTYPE_BYTES[dtype]
    if args.tuning == "full":
        trained = each * model.parameters
        weights = trained * (2 if args.method == "dpo" else 1)
    else:
        width = 4 * shape.hidden + 2 * sum(shape.attention)
        width += 3 * (shape.hidden + shape.inner) if shape.experts == 1 else 0  # fused experts get no adapters
        trained, weights = 4 * args.lora_r * shape.layers * width, each * model.parameters
        if args.tuning == "qlora":  # NF4; embedding and head are not quantized
            weights = 0.53 * max(0, model.parameters - shape.words) + 2 * shape.words
        weights += trained
    gpus = flavor.gpus if args.fsdp and flavor.gpus else 1
    gathered = 2 * each * model.parameters / shape.layers if gpus > 1 else 0  # the layer at work, and the next

    half, inner = 2 if flavor.gpus else each, shape.experts_used * shape.inner
    queries, values = shape.attention
    if args.tuning == "full" or half == 4:
        layer = (8 + 4 * half) * shape.hidden + 2 * half * (queries + values) + 4 * half * inner
    else:
        layer = 28 * shape.hidden + 8 * queries + 4 * values + 10 * inner
    layer += 10 * shape.hidden if half < each else 0  # 16-bit copies beside a float32 residual stream
    layer += 3 * half * inner + shape.layers * each * shape.hidden  # gradients in the MLP; inputs of all layers
    tokens = batch * (job.length + (args.max_new_tokens if args.method == "grpo" else 0))
    tokens *= 2 if args.method in {"dpo", "reward"} else 1
    tile = min(tokens, LOGITS_TOKENS) * min(shape.vocabulary, LOGITS_WORDS) * LOGITS_BYTES
    return {
        "weights": weights / gpus + gathered,
        "gradients": trained / gpus,
        "optimizer": 2 * trained / gpus,
        "activations": tokens * layer + tile,
        "cache": tokens * shape.cache_bytes if args.method == "grpo" else 0,
    }


def training_seconds(flavor: Flavor, job: Job, batch: int) -> Span:
    """Return the seconds of all epochs.

    Forward takes 2 FLOP for each active weight, and 4 times the width of the queries for each token that is attended to
    (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1). Backward is twice the forward, once with frozen
    weights; gradient checkpointing and reference models add one forward each.
    """
    args, model, shape, (peak, _, shares) = job.args, job.model, job.model.shape, flavor_speed(flavor)
    rows, gpus = job.rows, flavor.gpus or 1
    answers = args.num_generations if args.method == "grpo" else 0
    looked_up = 0 if shape.tied else shape.vocabulary * shape.hidden
    passes = (4 if args.tuning == "full" else 3) + (1 if args.method == "dpo" else 0)
    generated = generation_seconds(flavor, job, batch) if answers else (0.0, 0.0, 0.0)

    def seconds(case: int) -> float:
        tokens = job.tokens[case] * PADDING[case]
        tokens = answers * (tokens + args.max_new_tokens * ANSWER_SHARE[case]) if answers else tokens
        forward = 2 * (model.active - looked_up) + 2 * shape.attention[0] * shape.layers * min(job.length, tokens)
        reached = peak * shares[2 - case] * (SCALING[2 - case] if gpus > 1 else 1)
        launching = math.ceil(rows / (batch * gpus)) * max(1, answers) * shape.layers * LAYER_SECONDS[case]
        return max(rows * tokens * forward * passes / reached, launching) + generated[case]

    return span(seconds)


def generation_seconds(flavor: Flavor, job: Job, batch: int) -> Span:
    """Return the seconds of prompts, then of steps that read the weights and the cache."""
    args, model, shape, (peak, bandwidth, shares) = job.args, job.model, job.model.shape, flavor_speed(flavor)
    read, rows = model.stored_gb * GB, job.rows * (args.num_generations if args.job == "train" else 1)

    def seconds(case: int) -> float:
        prompt, answer = job.tokens[1], args.max_new_tokens * ANSWER_SHARE[case]
        computing = 2 * model.active / (peak * shares[2 - case])
        reading = (read + batch * (prompt + answer / 2) * shape.cache_bytes) / (bandwidth * BANDWIDTH_SHARE[2 - case])
        step = max(reading, batch * computing) + DECODE_SECONDS[case]
        return rows * prompt * computing + math.ceil(rows / batch) * answer * step

    return span(seconds)


def conversion_seconds(flavor: Flavor, job: Job, _: int) -> Span:
    """Return the seconds of writing GGUF in 16 bits and three quants."""
    size = 2 * job.model.parameters / GB
    return span(
        lambda case: BUILD_SECONDS[case] + size * (CONVERT_SECONDS[case] + QUANTIZE_SECONDS[case] / flavor.vcpus)
    )


def make_report(job: Job, ranked: list[Estimate], prices: str) -> dict[str, Any]:
    """Return the whole report as plain values."""
    args, is_training, flavors = job.args, job.args.job == "train", [describe(one) for one in ranked]
    epochs = args.epochs if is_training else 1.0
    data = {
        "given": job.given,
        "rows": round(job.rows / epochs),
        "rows_origin": job.rows_origin,
        "tokens_a_row": round(job.tokens[1], 1),
        "tokens_origin": job.tokens_origin,
        "longest": job.length,
        "epochs": epochs,
        "tokens": named([job.rows * tokens for tokens in job.tokens], 0),
    }
    shown = ("given", "commit", "parameters", "active", "weight_bytes", "origin")
    return {
        "version": 1,
        "job": args.job,
        "method": args.method if is_training else None,
        "tuning": args.tuning if is_training else None,
        "model": {name: getattr(job.model, name) for name in shown},
        "data": data if job.rows else None,
        "prices": {"origin": prices, "live": prices == LIVE},
        "asked": next((one for one in flavors if one["name"] == args.hardware), None),
        "best": next((one["name"] for one in flavors if one["recommended"]), None),
        "flavors": flavors,
        "assumptions": assumptions(job),
    }


def describe(one: Estimate) -> dict[str, Any]:
    """Return an estimate as plain values."""
    fits, memory = not one.short, {**dict.fromkeys(MEMORY_PARTS, 0), **one.memory, "total": sum(one.memory.values())}
    return {
        "name": one.flavor.name,
        "accelerator": one.flavor.chips,
        "usd_per_hour": one.flavor.usd_per_hour,
        "fits": fits,
        "recommended": one.recommended,
        "reason": one.short,
        "batch": one.batch,
        "memory_gb": {part: round(size / GB, 2) for part, size in memory.items()},
        "usable_gb": round(one.usable / GB, 2),
        "seconds": named(one.seconds, 0) if fits else None,
        "usd": named(one.usd, 2) if fits else None,
        "timeout": one.timeout if fits else None,
    }


def named(figures: Sequence[float], digits: int) -> dict[str, float]:
    """Return a span as plain values."""
    return {name: round(figure, digits) for name, figure in zip(("low", "likely", "high"), figures, strict=True)}


def assumptions(job: Job) -> list[str]:
    """Return what the figures rest on, one sentence each."""
    args, stated = job.args, [f"model: {job.model.origin}"]
    stated += [f"rows: {job.rows_origin}; tokens of a row: {job.tokens_origin}"] if job.rows else []
    if args.job == "train":
        usual = "float32" if args.tuning == "full" else "bfloat16 (float32 on CPUs)"
        several = "sharded over the GPUs" if args.fsdp else "a whole copy on each GPU"
        trained = "gradients and AdamW's moments " + ("too" if args.tuning == "full" else "in float32")
        stated.append(f"weights in {'NF4' if args.tuning == 'qlora' else args.dtype or usual}, {trained}; {several}")
    if args.job == "generate" or args.method == "grpo":
        stated.append(f"answers take 25, 60 or 100 % of the {args.max_new_tokens} tokens allowed")
    return [*stated, "also billed: the start and the download, and every minute begun"]


def report_text(report: Mapping[str, Any]) -> str:
    """Return the report for people."""
    model, data, asked = report["model"], report["data"], report["asked"]
    what = " ".join(filter(None, (report["job"], report["method"], report["tuning"])))
    lines = [f"{what}: {model['given']}, {model['parameters'] / 1e6:,.0f} M parameters"]
    if data:
        low, likely, high = (f"{tokens / 1e6:,.2f} M" for tokens in data["tokens"].values())
        each = f"{data['rows']:,} rows of about {data['tokens_a_row']:,.0f} tokens x {data['epochs']:g} epochs"
        lines.append(f"  {data['given']}: {each}")
        lines.append(f"  {likely} tokens in all ({low} to {high}), sequences of up to {data['longest']:,}")
    lines += [f"  prices: {report['prices']['origin']}", "", *(asked_lines(asked) if asked else [])]
    lines.append(f"FLAVORS (* recommended: at most 3 days, and {DEAREST_TIMES} times the cheapest)")
    lines.append(
        f"  {'flavor':<15} {'accelerator':<22} {'GB of':>13} {'batch':>5} {'time':>8} {'likely $':>10}  low - high"
    )
    lines += ["  " + "-" * 98, *map(table_line, report["flavors"]), "", "ASSUMPTIONS"]
    for text in report["assumptions"]:
        lines += textwrap.wrap(text, 110, initial_indent="  - ", subsequent_indent="    ")
    text = "\n".join([*lines, "", advice(report)])
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def asked_lines(one: Mapping[str, Any]) -> list[str]:
    """Return the lines on the flavor asked for."""
    parts = ", ".join(f"{part} {one['memory_gb'][part]:.1f}" for part in MEMORY_PARTS if one["memory_gb"][part])
    lines = [f"{one['name'].upper()} ({one['accelerator']}, ${one['usd_per_hour']:.2f}/h)"]
    lines.append(f"  memory   {one['memory_gb']['total']:.1f} of {one['usable_gb']:.1f} GB usable ({parts})")
    if not one["fits"]:
        return [*lines, f"  DOES NOT FIT: {one['reason']}", ""]
    lines += [f"  {case:<8} {time / 3600:>8,.1f} h   ${one['usd'][case]:,.2f}" for case, time in one["seconds"].items()]
    return [*lines, f"  timeout  {one['timeout']}", ""]


def table_line(one: Mapping[str, Any]) -> str:
    """Return one flavor's line of the table."""
    memory, usd = f"{one['memory_gb']['total']:.1f}/{one['usable_gb']:.1f}", one["usd"]
    start = f"{'*' if one['recommended'] else ' '} {one['name']:<15} {one['accelerator']:<22} {memory:>13}"
    if not one["fits"]:
        return f"{start}     - {one['reason']}"
    likely = f"{one['batch'] or '-':>5} {one['seconds']['likely'] / 3600:>6,.1f} h {usd['likely']:>10,.2f}"
    return f"{start} {likely}  {usd['low']:,.2f} - {usd['high']:,.2f}"


def advice(report: Mapping[str, Any]) -> str:
    """Return what to type next."""
    if report["best"] is None:
        smaller = {"full": "--tuning lora, or --fsdp", "lora": "--tuning qlora, or --fsdp"}
        return f"No flavor does this in 3 days. Try {smaller.get(report['tuning'], 'a smaller model')}."
    asked = report["asked"]
    chosen = asked if asked and asked["recommended"] else report["flavors"][0]
    return f"Start it with: --flavor {chosen['name']} --timeout {chosen['timeout']}"


# ---- shared functions ----


def stop(code: int, found: str, fix: str) -> NoReturn:
    """Print what was found and how to fix it on one line of stderr, and exit with `code`."""
    line = " ".join(f"error: {found[:500]}. Fix: {fix}".split())
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    raise SystemExit(code)


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


if __name__ == "__main__":
    raise SystemExit(main())
