# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate>=1.12,<2",
#     "cmake>=4,<5",
#     "huggingface-hub>=2.4,<3",
#     "llama-cpp-python==0.3.36",
#     "numpy>=2.2,<3",
#     "peft>=0.21,<0.22",
#     "protobuf>=6,<8",
#     "pyyaml>=6,<7",
#     "requests>=2.32,<3",  # used by: llama.cpp's converter
#     "safetensors>=0.7,<1",
#     "sentencepiece>=0.2.1,<0.3",
#     "torch>=2.13,<3",
#     "tqdm>=4.67,<5",
#     "transformers>=5.19,<6",
#     "xllamacpp>=2026.10,<2027",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# # Of llama.cpp's Python package only the converter and the sources are installed: nothing is compiled.
# [tool.uv.config-settings-package.llama-cpp-python]
# "wheel.cmake" = "false"
# "wheel.packages" = ["llama_cpp", "vendor/llama.cpp", "vendor/llama.cpp/gguf-py/gguf"]
# "wheel.exclude" = ["llama.cpp/*/", "!llama.cpp/cmake/", "!llama.cpp/conversion/", "!llama.cpp/ggml/", "!llama.cpp/gguf-py/", "!llama.cpp/include/", "!llama.cpp/src/", "!llama.cpp/vendor/"]
#
# [tool.hf-jobs]
# flavor = "cpu-upgrade"
# timeout = "3h"
# secrets = ["HF_TOKEN"]
# env = { HF_XET_HIGH_PERFORMANCE = "1" }
#
# [tool.jobshelf]
# version = "0.1.0"
# title = "Verified GGUF files of an adapter or a model"
# task = "conversion"
# tags = ["gguf", "llama-cpp", "quantization", "lora", "ollama"]
# inputs = ["model"]
# outputs = ["model"]
# persists = "hub-model"
# token = "write"
# shardable = false
# license = "Apache-2.0"
# aliases = ["convert-to-gguf"]
# status = "stable"
# rehearse = ["{model}", "{output}", "--quants", "f16,q8_0"]
# estimate = ["--job", "convert"]
# ///
"""Convert an adapter or a model to GGUF, and publish the files that predict what the model predicts.

Reads a model or a LoRA adapter (its base is found) from the Hub or a local folder, safetensors in any number of files.
Converts with llama.cpp's own converter and quantiser; merges an adapter tensor by tensor. Before a file is uploaded,
llama.cpp loads it: metadata, tensors, tokens of a text set, chat template and the predictions on fixed prompts must be
those of the model. Each file is uploaded when it is done; a run that was killed goes on where it was. No GPU is used.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/convert_to_gguf.py user/my-adapter user/my-adapter-gguf
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/convert_to_gguf.py ./merged ./gguf --quants bf16,q8_0
    hf jobs uv run --secrets HF_TOKEN --attempts 3 https://huggingface.co/datasets/jobshelf/scripts/resolve/main/convert_to_gguf.py user/my-model user/my-model-gguf --quants q4_k_m,q8_0

Disk: about the model and twice its largest file; memory: a few times its largest tensor. f16, bf16, f32 and q8_0 need no
compiler. For other types llama-quantize is taken from --llama-cpp, the PATH or llama.cpp's image, else llama.cpp's
library is built once, which needs a C++ compiler and minutes. ADAPTER_MODEL, BASE_MODEL and OUTPUT_REPO stand for
INPUT, --base-model and OUTPUT when there are no arguments.
Exit codes: 0 done; 1 a file disagrees with its model; 2 usage; 3 token; 4 input data; 5 network or machine; 6 not pushed.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import json
import math
import mmap
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import httpx2
    import numpy as np
    import torch
    import xllamacpp
    from tqdm import tqdm

SCRIPT_NAME = "convert_to_gguf.py"
SCRIPT_URL = f"https://huggingface.co/datasets/jobshelf/scripts/resolve/main/{SCRIPT_NAME}"
VERSION = "0.1.0"
RESULT_VERSION = 1  # part of every request: raise it when the same input gives other files
CONVERSION = "conversion.json"  # what each file is and how it agrees with the model; a restart goes by it

# Bits a weight takes, for plans only; of the K types about (their mix depends on the model).
BITS = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q5_K_S": 5.6, "Q5_1": 6.0,
    "Q5_0": 5.6, "Q4_K_M": 4.9, "Q4_K_S": 4.7, "Q4_1": 5.1, "Q4_0": 4.7, "IQ4_NL": 4.7, "IQ4_XS": 4.5, "Q3_K_L": 4.3,
    "Q3_K_M": 4.0, "Q3_K_S": 3.7, "IQ3_M": 3.8, "IQ3_S": 3.6, "IQ3_XS": 3.5, "IQ3_XXS": 3.3, "Q2_K": 3.2, "Q2_K_S": 3.0,
    "IQ2_M": 2.9, "IQ2_S": 2.7, "IQ2_XS": 2.6, "IQ2_XXS": 2.4, "IQ1_M": 2.1, "IQ1_S": 2.0,
}  # fmt: skip
CONVERTED = ("F32", "F16", "BF16", "Q8_0")  # by the converter itself; all others are quantised from a 16-bit file
IMATRIX_ONLY = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "Q2_K_S"})
# How far predictions may be off: RMS difference of the log-probabilities of the likeliest tokens, as a share of the
# standard deviation of all of them. Models that learnt a language are off by 0.01 in Q8, 0.03 in Q5, 0.06 in Q4, 0.16 in Q2
# (bench/gguf_tolerances.py); one that learnt a sentence by heart by 0.32 in Q5, 0.5 in Q4; an unrelated model by 1 and more.
TOLERANCES = {
    "F3": 0.01, "F1": 0.02, "BF": 0.05, "Q8": 0.15, "Q6": 0.2, "Q5": 0.4, "Q4": 0.55, "Q3": 0.6, "Q2": 0.8, "Q1": 0.9,
}  # fmt: skip
LIKELIEST = 256
POSITIONS = 4  # of each prompt
PROMPTS = (
    "The capital of France is Paris, and the capital of Italy is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Ein Zug fährt um 8:15 Uhr los und kommt nach 95 Minuten an. Das ist um",
    "Question: A shop sells 12 apples for 3 dollars. How much do 20 apples cost?\nAnswer:",
)
# None begins with a space: there transformers splits some of the older models otherwise than SentencePiece itself.
TEXTS = (
    *PROMPTS,
    "Hello, world!", "two  spaces   or    more  ", "tabs\tand\nnew\n\nlines\r\n", "3.14159 1,000,000 0x1F 2026-11-21",
    "don't can't we'll I'm they've", "naïve café – “quoted” … ½ €", "Привет мир, 你好世界, こんにちは, مرحبا",
    "emoji 🙂🚀 and 👩‍👩‍👧", "<html><body class='x'>&amp;</body></html>", "CamelCase snake_case kebab-case UPPER",
)  # fmt: skip
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt",
                   "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
                   "spiece.model", "vocab.txt")  # fmt: skip
CONFIG_FILES = ("config.json", "generation_config.json", "model.safetensors.index.json")
PICKLES = re.compile(r"(pytorch_model.*|consolidated.*|adapter_model)\.(bin|pt|pth)")
WORDS = re.compile(r"(?:.*\.)?(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.weight")
NO_WEIGHTS = re.compile(r".*(rotary_emb\.inv_freq|\.attn\.bias|\.masked_bias)|rope_(freqs|factors_\w+)\.weight")
DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
F16_OVERFLOW = {"BF16": 0x4780, "F32": 0x477FF000}  # the bits of the least magnitude that float16 rounds to infinity
INFINITE = {"BF16": 0x7F80, "F32": 0x7F800000, "F16": 0x7C00}
HUB_LARGEST = "48G"  # the Hub takes files of 50 GB
IMAGE_FOLDERS = ("/app",)  # where ghcr.io/ggml-org/llama.cpp:full has its tools
PINNED_DIGEST = "2d1b44cb98662baeca545cb3317911759b1c1da2041082dc5f923ee2572c5f9d"  # of both in llama-cpp-python 0.3.36
PINNED_LABEL = "llama.cpp as in llama-cpp-python 0.3.36"
MEMORY_BASE = 2_000_000_000
# Runs in a process of its own, as two builds of llama.cpp do not share one.
QUANTIZE = """
import ctypes, sys, gguf, llama_cpp
source, target, name, keep, imatrix = sys.argv[1:]
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.keep_split = getattr(llama_cpp, "LLAMA_FTYPE_MOSTLY_" + name), keep == "1"
if imatrix:
    held = {tensor.name: tensor.data.reshape(-1, tensor.shape[0]) for tensor in gguf.GGUFReader(imatrix).tensors}
    rows = []
    for key in (key for key in held if key.endswith(".in_sum2")):
        counts = held[key.removesuffix(".in_sum2") + ".counts"].reshape(-1, 1)
        mean = held[key].reshape(len(counts), -1) / counts.clip(min=1)
        mean[counts[:, 0] <= 0] = 1
        rows.append((key.removesuffix(".in_sum2").encode(), mean.astype("float32").ravel()))
    entries = (llama_cpp.llama_model_imatrix_data * (len(rows) + 1))()
    for entry, (key, mean) in zip(entries, rows):
        entry.name, entry.size = key, mean.size
        entry.data = mean.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    params.imatrix = ctypes.cast(entries, type(params.imatrix))
llama_cpp.llama_backend_init()
raise SystemExit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repo:
    """A model repository at a commit, or a local folder: its files with their sizes in bytes.

    `identity` is the commit, or a digest of the local files.
    """

    given: str
    folder: Path | None
    identity: str
    private: bool
    sizes: Mapping[str, int]
    card: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor in the header of a safetensors file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Its number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an adapter does to one tensor of its base; the names are those of the adapter's tensors.

    `whole` replaces it; else `scaling` times `b` @ `a` is added, and with `magnitude` (DoRA) each row scaled to it.
    """

    shape: tuple[int, ...]
    whole: str | None = None
    a: str = ""
    b: str = ""
    magnitude: str | None = None
    scaling: float = 1.0
    transposed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is converted: a model, or an adapter with its base as `model`.

    `tensors` are those of the model, empty for pickled weights; `changes` what the adapter does to them.
    """

    model: Repo
    adapter: Repo | None
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    weights: tuple[str, ...]
    changes: Mapping[str, Change]

    @property
    def identity(self) -> str:
        """Both commits, or digests."""
        return "+".join(repo.identity for repo in (self.adapter, self.model) if repo)

    @property
    def given(self) -> Repo:
        """The repository that was asked for."""
        return self.adapter or self.model

    @property
    def private(self) -> bool:
        """Whether a repository on the Hub that it is made of is private."""
        return any(repo.private and repo.folder is None for repo in (self.adapter, self.model) if repo)

    @property
    def architecture(self) -> str:
        """The class that the config names."""
        return str((self.config.get("architectures") or ["none"])[0])

    @property
    def dtype(self) -> str:
        """The type of most weights, BF16 when no header tells."""
        counts: dict[str, int] = {}
        for tensor in self.tensors.values():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.count
        return max(counts, key=lambda name: counts[name]) if counts else "BF16"

    @property
    def parameters(self) -> int:
        """Weights of the model, about (by the size of the files) when no header tells."""
        counted = sum(tensor.count for tensor in self.tensors.values())
        return counted or sum(self.model.sizes[name] for name in self.weights) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """llama.cpp: its converter, its quantiser (None: it has to be built), and which one it is."""

    converter: Path
    quantizer: Path | None
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where the files go: a model repository or a local folder; exactly one is set."""

    repo_id: str | None
    folder: Path | None

    def __str__(self) -> str:
        return self.repo_id or str(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the output holds: its manifest, its card, and of CONVERSION what is true of its files."""

    manifest: Mapping[str, Any]
    card: str | None
    conversion: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be made, in order; `through` is the 16-bit type that K types are made from. Sizes in bytes, about."""

    quants: tuple[str, ...]
    through: str | None
    sizes: Mapping[str, int]
    disk: int
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the model itself says. `log_probabilities` are those of the token after `prompts[i][:n]`, by (i, n).

    `weights` are how many numbers each of its tensors holds.
    """

    prompts: tuple[tuple[int, ...], ...]
    texts: tuple[tuple[int, ...], ...]
    log_probabilities: Mapping[tuple[int, int], np.ndarray]
    template: str | None
    words: int
    weights: Mapping[str, int]


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog=SCRIPT_NAME, description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("input", nargs="?", metavar="INPUT", help="Hub model or adapter (user/name), or local folder")
    add(
        "output", nargs="?", metavar="OUTPUT", help="Hub model (user/name) to create or extend, or local folder (./out)"
    )
    add(
        "--quants",
        type=parse_quants,
        default=parse_quants("f16,q4_k_m,q5_k_m,q8_0"),
        metavar="TYPES",
        help="types to make, with commas (default: f16,q4_k_m,q5_k_m,q8_0)",
    )
    add("--base-model", metavar="BASE", help="base of an adapter; default: the one that its config names")
    add("--revision", metavar="REV", help="branch, tag or commit of INPUT")
    add("--base-revision", metavar="REV", help="branch, tag or commit of the base")
    add("--llama-cpp", metavar="DIR", help="folder of a llama.cpp whose converter and llama-quantize to use")
    add("--imatrix", type=Path, metavar="FILE", help="importance matrix (a GGUF file) for the quantiser")
    add("--split-max-size", type=parse_size, default=HUB_LARGEST, metavar="SIZE",
        help="largest file, as 2G or 500M (default: %(default)s)")  # fmt: skip
    add("--allow-pickle", action="store_true", help="read weights that are pickled (loaded without running their code)")
    privacy = parser.add_mutually_exclusive_group()
    privacy.add_argument("--private", action="store_true", help="private output; always so when the input is private")
    privacy.add_argument("--public", action="store_true", help="public output, even of a private input")
    add("--overwrite", action="store_true", help="replace the result of another request or revision")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    args.words = list(sys.argv[1:] if argv is None else argv)
    take_environment(args)
    if not args.input or not args.output:
        parser.error("name the model and where its files go: INPUT OUTPUT, or set ADAPTER_MODEL and OUTPUT_REPO")
    return run_to_exit(lambda: work(args))


def take_environment(args: argparse.Namespace) -> None:
    """Take input, base and output from the variables of the script that this one replaces, when there are no arguments."""
    if args.input is not None:
        return
    args.input, args.output = os.environ.get("ADAPTER_MODEL"), os.environ.get("OUTPUT_REPO")
    args.base_model = args.base_model or os.environ.get("BASE_MODEL")
    if args.input and args.output:
        base = ["--base-model", args.base_model] if args.base_model else []
        args.words = [args.input, args.output, *base, *args.words]


def parse_quants(text: str) -> tuple[str, ...]:
    """Return the types that `text` lists; raise argparse's error for one that does not exist."""
    names = tuple(dict.fromkeys(name.strip().upper() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in BITS]
    if unknown or not names:
        known = ", ".join(name.lower() for name in BITS)
        raise argparse.ArgumentTypeError(f"no type {', '.join(unknown).lower() or 'is named'}; there are: {known}")
    return names


def parse_size(text: str) -> str:
    """Return `text` when it is a number of megabytes or gigabytes up to what the Hub takes."""
    match = re.fullmatch(r"([1-9]\d{0,4})([MG])", text.upper())
    if match is None or int(match[1]) * {"M": 1, "G": 1000}[match[2]] > 50_000:
        raise argparse.ArgumentTypeError("write 500M or 2G, at most 50G")
    return text.upper()


def work(args: argparse.Namespace) -> int:
    """Check everything; then make, verify and persist one file after the other."""
    output = parse_output(args.output)
    token = require_write(output.repo_id) if output.repo_id else find_token()
    state = look_at_output(output, token)
    run = Run(script=SCRIPT_NAME, request=request_of(args), source="")
    pins = {} if args.overwrite or not is_same_request(state, run) else state.conversion.get("source", {})
    source = find_source(args, pins, token)
    run = replace(run, source=source.identity)
    tools = find_tools(args.llama_cpp)
    check_source(source, tools, args)
    private = args.private or (source.private and not args.public)
    open_output(output, run, args, token, private=private, dry_run=True)
    done = {} if args.overwrite else finished(state, run)
    plan = make_plan(source, [quant for quant in args.quants if quant not in done])
    facts = describe(source, output, plan, done, tools)
    if not plan.quants:
        return show({**facts, "status": "already there"}, args)
    check_plan(plan, tools, args, output)
    if args.dry_run:
        return show({**facts, "status": "dry run"}, args)
    open_output(output, run, args, token, private=private, dry_run=False)
    persist = Persist(output=output, run=run, token=token, words=args.words)
    made, seconds = convert(source, plan, tools, args, persist, done)
    return show({**facts, "status": "written", "made": made, "seconds": seconds}, args)


# ---- the output ----


def parse_output(given: str) -> Output:
    """Return the output that `given` names; stop with 2 when it is neither `user/name` nor a path such as `./out`."""
    if given.startswith(("./", "../", "~")) or given in {".", ".."} or Path(given).is_absolute():
        return Output(repo_id=None, folder=Path(given).expanduser())
    if "/" not in given:
        message = f"the output {given!r} is neither a model repository nor a path"
        raise Stop(EXIT_USAGE, message, fix=f"write user/{given} for the Hub or ./{given} for a local folder")
    if given != given.lower():
        note(f"{given} has upper case letters; names on the Hub are case-sensitive")
    return Output(repo_id=parse_model(given), folder=None)


def look_at_output(output: Output, token: str | None) -> State:
    """Return what the output holds; of CONVERSION only the files that are there as it says."""
    if output.folder is not None:
        held = look_at(Target(repo_id=None, folder=output.folder), token=None, private=True, public=True)
        told = read_object(output.folder / CONVERSION)
        names = [name for quant in told.get("quants", {}).values() for name in quant["files"]]
        hashes = {name: digest_of(output.folder / name) for name in names if (output.folder / name).is_file()}
        return State(manifest=held.manifest, card=held.card, conversion=still_true(told, hashes))
    model = look_at_model(str(output.repo_id), token)
    if model is None:
        return State(manifest={}, card=None, conversion={})
    told = {}
    if CONVERSION in model.files:
        told = read_object(download(str(output.repo_id), model.head, CONVERSION, token))
    return State(manifest=model.manifest, card=model.card, conversion=still_true(told, model.files))


def still_true(told: Mapping[str, Any], hashes: Mapping[str, str]) -> Mapping[str, Any]:
    """Return `told` without the types of which a file is missing or another one."""
    quants = {
        quant: entry
        for quant, entry in told.get("quants", {}).items()
        if all(hashes.get(name) == file["sha256"] for name, file in entry["files"].items())
    }
    return {**told, "quants": quants} if told else {}


def is_same_request(state: State, run: Run) -> bool:
    """Whether an earlier attempt at the same request wrote the output."""
    return state.manifest.get("script") == run.script and state.manifest.get("request") == dict(run.request)


def finished(state: State, run: Run) -> dict[str, Any]:
    """Return what earlier attempts finished, by type; stop with 4 when they were of another source."""
    there = state.manifest.get("source", run.source)
    if is_same_request(state, run) and there != run.source and state.conversion.get("quants"):
        message = "the output holds files of another commit or of files that have changed since"
        raise Stop(EXIT_INPUT, message, fix="add --overwrite to replace them, or name another output")
    return dict(state.conversion.get("quants", {})) if is_same_request(state, run) else {}


def open_output(
    output: Output, run: Run, args: argparse.Namespace, token: str | None, *, private: bool, dry_run: bool
) -> None:
    """Check that `run` may write to the output, and create it unless this is a dry run."""
    if output.folder is None:
        open_model(
            str(output.repo_id), run, token=str(token), private=private, overwrite=args.overwrite, dry_run=dry_run
        )
        return
    target = Target(repo_id=None, folder=output.folder)
    held = look_at(target, token=None, private=private, public=True)
    refuse_foreign(target, held, run, overwrite=args.overwrite)
    if not dry_run:
        output.folder.mkdir(parents=True, exist_ok=True)
        # first, so that what a killed run leaves is known as this script's
        write_whole(output.folder / MODEL_MANIFEST, manifest_of(run, []))


def manifest_of(run: Run, names: Iterable[str]) -> bytes:
    """Return the manifest of a local output, as a model repository has it."""
    content = {"script": run.script, "request": dict(run.request), "source": run.source, "files": sorted(names)}
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.00000000.part")
    part.write_bytes(data)
    part.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """How finished files are persisted: where, for which run, and the words that the card repeats."""

    output: Output
    run: Run
    token: str | None
    words: Sequence[str]

    def put(self, folder: Path, keep: Iterable[str], make_card: Callable[[str | None], str]) -> None:
        """Persist the files of `folder`; `keep` are those of earlier steps, any other of ours goes. Stops with 6."""
        keep = frozenset(keep)
        if self.output.folder is None:
            self._push(folder, keep, make_card)
            return
        names, place = {path.name for path in folder.iterdir()} | keep, self.output.folder
        for path in sorted(place.glob("*.gguf")):
            if path.name not in names:
                path.unlink()
        for path in sorted(folder.iterdir(), key=lambda path: path.name == CONVERSION):
            shutil.move(path, place / path.name)
        card = place / "README.md"
        write_whole(card, make_card(card.read_text("utf-8") if card.is_file() else None).encode())
        write_whole(place / MODEL_MANIFEST, manifest_of(self.run, names))

    def _push(self, folder: Path, keep: frozenset[str], make_card: Callable[[str | None], str]) -> None:
        """Push the folder; manifest and card lie in it too, for whoever has to push it by hand."""
        names = {path.name for path in folder.iterdir()} | keep
        (folder / MODEL_MANIFEST).write_bytes(manifest_of(self.run, names))

        def made_card(existing: str | None) -> str:
            text = make_card(existing)
            (folder / "README.md").write_text(text, encoding="utf-8")
            return text

        repo_id = str(self.output.repo_id)
        persist_model(repo_id, folder, self.run, token=str(self.token), make_card=made_card, keep=keep)


# ---- the source ----


def request_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return every argument that changes a file; the list of types does not, they can be added one by one."""
    if args.imatrix and not args.imatrix.is_file():
        raise Stop(
            EXIT_INPUT, f"there is no importance matrix {args.imatrix}", fix="name the GGUF file of llama-imatrix"
        )
    return {
        "input": args.input,
        "revision": args.revision,
        "base_model": args.base_model,
        "base_revision": args.base_revision,
        "imatrix": digest_of(args.imatrix) if args.imatrix else None,
        "split_max_size": args.split_max_size,
        "result_version": RESULT_VERSION,
    }


def find_source(args: argparse.Namespace, pins: Mapping[str, str], token: str | None) -> Source:
    """Look the input up, and the base of an adapter; `pins` are commits that an earlier attempt took. No weights are read."""
    given = find_repo(args.input, pins.get("adapter") or pins.get("model") or args.revision, token)
    if "adapter_config.json" not in given.sizes:
        if args.base_model:
            note(f"{args.input} is a whole model: the base {args.base_model} is not needed")
        return read_model(given, args, token)
    config = read_object(fetch_small(given, "adapter_config.json", token))
    name = args.base_model or config.get("base_model_name_or_path")
    if not name:
        message = f"the adapter {args.input} does not name its base"
        raise Stop(EXIT_INPUT, message, fix="add --base-model user/name")
    revision = pins.get("base") or args.base_revision or (None if args.base_model else config.get("revision"))
    try:
        base = find_repo(str(name), revision, token)
    except Stop as stop:
        message = f"the base of the adapter {args.input}: {stop.message}"
        raise Stop(stop.code, message, fix=f"{stop.fix}; or name a copy: --base-model user/name") from stop
    source = read_model(base, args, token)
    shapes = adapter_shapes(given, args, token)
    changes = plan_changes(config, shapes, {name: tensor.shape for name, tensor in source.tensors.items()})
    return replace(source, adapter=given, changes=changes)


def find_repo(given: str, revision: str | None, token: str | None) -> Repo:
    """Return the model repository or local folder; stop with 3 when it is gated, 4 when there is none."""
    path = Path(given).expanduser()
    if path.is_dir():
        return local_repo(given, path)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.model_info(given, revision=revision, files_metadata=True), what=f"looking at {given}")
        if info.gated:
            retry(lambda: api.auth_check(given), what=f"asking for access to {given}")
    except GatedRepoError as error:
        fix = f"ask for access on its page, then {token_advice()}"
        raise Stop(EXIT_TOKEN, f"{given} is gated and this account has no access", fix=fix) from error
    except RevisionNotFoundError as error:
        message = f"{given} has no revision {revision!r}"
        raise Stop(EXIT_INPUT, message, fix="name a branch, tag or commit of it") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        fix = f"check the spelling; if it is private, {token_advice()}"
        raise Stop(EXIT_INPUT, f"there is no model {given} and no such folder", fix=fix) from error
    sizes = {one.rfilename: int(one.size or 0) for one in info.siblings or () if "/" not in one.rfilename}
    card = info.card_data.to_dict() if info.card_data else {}
    return Repo(given=given, folder=None, identity=str(info.sha), private=bool(info.private), sizes=sizes, card=card)


def local_repo(given: str, folder: Path) -> Repo:
    """Describe a local folder; its digest is of each file's name, size, and first and last 64 KiB."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + stream.read(65536))
            stream.seek(max(0, path.stat().st_size - 65536))
            digest.update(stream.read())
    card = folder / "README.md"
    return Repo(
        given=given,
        folder=folder,
        identity=f"sha256:{digest.hexdigest()}",
        private=True,
        sizes={path.name: path.stat().st_size for path in files},
        card=split_card(card.read_text("utf-8", "replace"))[0] if card.is_file() else {},
    )


def read_model(repo: Repo, args: argparse.Namespace, token: str | None) -> Source:
    """Return the model in `repo` by its config and the headers of its weights; stop with 4 when there is none."""
    if "config.json" not in repo.sizes:
        held = "GGUF files already" if any(name.endswith(".gguf") for name in repo.sizes) else "no config.json"
        raise Stop(EXIT_INPUT, f"{repo.given} holds {held}", fix="name a model with config.json and safetensors files")
    config = read_object(fetch_small(repo, "config.json", token))
    weights = tuple(sorted(name for name in repo.sizes if name.endswith(".safetensors") and name.startswith("model")))
    if weights:
        tensors = {name: tensor for shard in weights for name, tensor in read_tensors(repo, shard, token).items()}
        refuse_missing_shards(repo, weights, token)
        return Source(model=repo, adapter=None, config=config, tensors=tensors, weights=weights, changes={})
    pickles = tuple(sorted(name for name in repo.sizes if PICKLES.fullmatch(name) and name.startswith("pytorch_model")))
    if not pickles:
        message = f"{repo.given} holds no weights (model.safetensors, or model-00001-of-... and its index)"
        raise Stop(EXIT_INPUT, message, fix="name a model that was saved with transformers")
    if not args.allow_pickle:
        message = f"the weights of {repo.given} are pickled ({pickles[0]}), a format that can carry code"
        raise Stop(EXIT_INPUT, message, fix="name a safetensors version of it, or add --allow-pickle")
    return Source(model=repo, adapter=None, config=config, tensors={}, weights=pickles, changes={})


def refuse_missing_shards(repo: Repo, weights: Sequence[str], token: str | None) -> None:
    """Stop with 4 when the index names a file that is not there."""
    if "model.safetensors.index.json" not in repo.sizes:
        return
    index = read_object(fetch_small(repo, "model.safetensors.index.json", token))
    missing = sorted(set(index.get("weight_map", {}).values()) - set(weights))
    if missing:
        message = f"{repo.given} lacks {len(missing)} of its weight files ({', '.join(missing[:3])})"
        raise Stop(EXIT_INPUT, message, fix="finish its upload, or name another revision")


def adapter_shapes(adapter: Repo, args: argparse.Namespace, token: str | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the adapter's tensors; {} for pickled ones, which only --allow-pickle reads."""
    if "adapter_model.safetensors" in adapter.sizes:
        return {
            name: tensor.shape for name, tensor in read_tensors(adapter, "adapter_model.safetensors", token).items()
        }
    if "adapter_model.bin" not in adapter.sizes:
        message = f"{adapter.given} has adapter_config.json but no adapter_model.safetensors"
        raise Stop(EXIT_INPUT, message, fix="finish its upload, or name another revision")
    fix = "load it with PEFT and save it again (it writes safetensors)"
    raise Stop(EXIT_INPUT, f"the adapter {adapter.given} is pickled, a format that can carry code", fix=fix)


def plan_changes(
    config: Mapping[str, Any], adapter: Mapping[str, tuple[int, ...]], base: Mapping[str, tuple[int, ...]]
) -> dict[str, Change]:
    """Return what the adapter does to each tensor of the base (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    Stops with 4 for what cannot be merged tensor by tensor, and for an adapter of another base.
    """
    kind = str(config.get("peft_type", "LORA"))
    strange = sorted(name for name in adapter if name.endswith(".bias") and ".lora_" in name)
    if kind != "LORA" or config.get("target_parameters") or strange:
        what = kind if kind != "LORA" else "LoRA on whole expert blocks, or with biases"
        message = f"the adapter is of the kind {what}, which cannot be merged tensor by tensor"
        raise Stop(
            EXIT_INPUT, message, fix="merge it with PEFT (merge_and_unload, save_pretrained), then name the result"
        )
    changes: dict[str, Change] = {}
    for name, shape in adapter.items():
        change = change_by(name, shape, adapter, config)
        if change is not None:
            changes[base_tensor(change[0], base)] = check_fit(change[0], change[1], base)
    if not changes and base:
        raise Stop(EXIT_INPUT, "the adapter holds no LoRA tensors", fix="name another revision of it")
    return changes


def change_by(
    name: str, shape: tuple[int, ...], adapter: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> tuple[str, Change] | None:
    """Return (module, change) for a first factor or a whole tensor of the adapter, None for the others."""
    module = re.sub(r"^base_model\.model\.", "", name)
    if match := re.fullmatch(r"(.*)\.lora_A(\.default)?\.weight", module):
        b = name.replace(".lora_A", ".lora_B")
        magnitude = next((f"{name.partition('.lora_A')[0]}.lora_magnitude_vector{end}" for end in ("", ".weight", ".default.weight") if f"{name.partition('.lora_A')[0]}.lora_magnitude_vector{end}" in adapter), None)  # fmt: skip
        transposed = bool(config.get("fan_in_fan_out"))
        size = (adapter[b][0], shape[1]) if b in adapter else (0, shape[1])
        return match[1], Change(
            shape=size[::-1] if transposed else size, a=name, b=b, magnitude=magnitude,
            scaling=scaling_of(match[1], shape[0], config), transposed=transposed,
        )  # fmt: skip
    if match := re.fullmatch(r"(.*)\.lora_embedding_A(\.default)?", module):
        b = name.replace("lora_embedding_A", "lora_embedding_B")
        scaling = scaling_of(match[1], shape[0], config)
        return match[1], Change(shape=(shape[1], adapter[b][0]), a=name, b=b, scaling=scaling, transposed=True)
    if "lora_" in module:
        return None
    whole = re.sub(r"\.(modules_to_save(\.default)?|base_layer)(?=\.)", "", module)
    return whole.removesuffix(".weight"), Change(shape=shape, whole=name)


def scaling_of(module: str, rank: int, config: Mapping[str, Any]) -> float:
    """Return what B @ A is multiplied with: alpha / r, or alpha / sqrt(r) (rsLoRA, https://arxiv.org/abs/2312.03732)."""
    patterns = config.get("alpha_pattern") or {}
    found = (alpha for key, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?({key})", module))
    alpha = float(next(found, config.get("lora_alpha") or rank))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def base_tensor(module: str, base: Mapping[str, Any]) -> str:
    """Return the tensor of the base that an adapter calls `module`; stop with 4 when there is none, or not one."""
    name = f"{module}.weight"
    tail = re.sub(r"^.*?(?=layers\.\d|embed_tokens|lm_head)", "", name)
    alike = [one for one in base if one == name] or [one for one in base if one.endswith(f".{tail}") or one == tail]
    if len(alike) == 1 or not base:
        return alike[0] if alike else name
    message = f"the adapter changes {module}, which the base does not have"
    raise Stop(EXIT_INPUT, message, fix="name the base that it was trained on: --base-model user/name")


def check_fit(module: str, change: Change, base: Mapping[str, tuple[int, ...]]) -> Change:
    """Return the change; stop with 4 when its shape is not that of the base (more words may be added)."""
    if not base:
        return change
    there = base[base_tensor(module, base)]
    words = change.whole is not None and module.endswith(("embed_tokens", "lm_head", "wte"))
    if change.shape == there or (words and change.shape[1:] == there[1:]):
        return change
    message = f"the adapter has {change.shape} for {module}, the base has {there}"
    what = (
        "its vocabulary is another one"
        if module.endswith(("embed_tokens", "lm_head", "wte"))
        else "it is another model"
    )
    raise Stop(EXIT_INPUT, f"{message}: {what}", fix="name the base that it was trained on: --base-model user/name")


def read_tensors(repo: Repo, name: str, token: str | None) -> dict[str, Tensor]:
    """Return the tensors that the header of a safetensors file lists; on the Hub a ranged read."""
    from huggingface_hub import HfApi, parse_local_safetensors_file_metadata
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        if repo.folder is not None:
            found = parse_local_safetensors_file_metadata(repo.folder / name)
        else:
            api = HfApi(token=token or False)
            found = retry(
                lambda: api.parse_safetensors_file_metadata(repo.given, name, revision=repo.identity),
                what=f"reading the header of {name} of {repo.given}",
            )
    except (SafetensorsParsingError, ValueError, KeyError) as error:
        message = f"{name} of {repo.given} has no readable header: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix="upload it again, or name another revision") from error
    return {key: Tensor(dtype=one.dtype, shape=tuple(one.shape)) for key, one in found.tensors.items()}


def fetch_small(repo: Repo, name: str, token: str | None) -> Path:
    """Return a small file of the repository."""
    return repo.folder / name if repo.folder is not None else download(repo.given, repo.identity, name, token)


def download(repo_id: str, commit: str, name: str, token: str | None) -> Path:
    """Return a file of a repository on the Hub, in the cache."""
    from huggingface_hub import hf_hub_download

    fetch = lambda: hf_hub_download(repo_id, name, revision=commit, token=token or False)  # noqa: E731
    return Path(retry(fetch, what=f"reading {name} of {repo_id}"))


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, {} when there is no such file; stop with 4 when it holds anything else."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Stop(EXIT_INPUT, f"{path.name} is not JSON: {error}", fix="mend the file") from error
    if not isinstance(found, dict):
        raise Stop(EXIT_INPUT, f"{path.name} holds no object", fix="mend the file")
    return found


def digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---- what is checked before anything is downloaded ----


def find_tools(given: str | None) -> Tools:
    """Return the converter and the quantiser: of --llama-cpp, of the image, else the pinned ones and those on the PATH."""
    folders = [Path(given).expanduser()] if given else [Path(folder) for folder in IMAGE_FOLDERS]
    folder = next(
        (one for one in folders if (one / "convert_hf_to_gguf.py").is_file() and (one / "gguf-py").is_dir()), None
    )
    if given and folder is None:
        message = f"{given} holds no convert_hf_to_gguf.py beside its gguf-py"
        raise Stop(
            EXIT_USAGE, message, fix="name the folder of a llama.cpp checkout or image, or leave --llama-cpp out"
        )
    places = [folder / place / "llama-quantize" for place in ("", "build/bin", "bin") if folder]
    on_path = shutil.which("llama-quantize")
    quantizer = next((one for one in places if os.access(one, os.X_OK)), Path(on_path) if on_path else None)
    if folder is not None:
        return Tools(converter=folder / "convert_hf_to_gguf.py", quantizer=quantizer, label=f"llama.cpp in {folder}")
    return Tools(converter=pinned_folder() / "convert_hf_to_gguf.py", quantizer=quantizer, label=PINNED_LABEL)


def pinned_folder() -> Path:
    """Return where the header's llama-cpp-python put llama.cpp's converter and sources."""
    return Path(sysconfig.get_path("purelib")) / "llama.cpp"


def require_pinned(tools: Tools) -> None:
    """Stop with 5 when the pinned converter is not there, or not as it was published."""
    if tools.label != PINNED_LABEL:
        return
    fix = "run this script with uv, which installs what its header says; or give --llama-cpp DIR"
    if not tools.converter.is_file():
        raise Stop(EXIT_ENVIRONMENT, f"{PINNED_LABEL} is not installed here", fix=fix)
    found = pinned_digest()
    if found != PINNED_DIGEST:
        raise Stop(EXIT_ENVIRONMENT, f"{tools.converter.parent} is not {PINNED_LABEL}: its digest is {found}", fix=fix)


def pinned_digest() -> str:
    """Return the sha256 of all names and contents of the converter, its library and the sources."""
    folder, digest = pinned_folder(), hashlib.sha256()
    for path in sorted([*folder.rglob("*"), *folder.with_name("gguf").rglob("*")]):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder.parent).as_posix()} {digest_of(path)}\n".encode())
    return digest.hexdigest()


def supported_architectures(tools: Tools) -> frozenset[str]:
    """Return the names that the converter registers, read from its source without running it."""
    files = [tools.converter, *sorted((tools.converter.parent / "conversion").glob("*.py"))]
    texts = [file.read_text("utf-8", "replace") for file in files if file.is_file()]
    calls = (call for text in texts for call in re.findall(r"\.register\(([^)]*)\)", text))
    return frozenset(name for call in calls for name in re.findall(r"[\"']([\w.]+)[\"']", call))


def check_source(source: Source, tools: Tools, args: argparse.Namespace) -> None:
    """Stop with 4 for what cannot be converted: another architecture, quantised weights, more tokens than embeddings."""
    known = supported_architectures(tools)
    if known and source.architecture not in known:
        message = (
            f"the architecture {source.architecture} of {source.model.given} is not one that {tools.label} converts"
        )
        close = sorted(known)
        family = [name for name in close if name[:4].lower() == source.architecture[:4].lower()]
        listed = ", ".join((family or close)[:12])
        raise Stop(
            EXIT_INPUT, f"{message}; it knows {len(known)}, such as {listed}", fix="give a newer one: --llama-cpp DIR"
        )
    quantized = source.config.get("quantization_config")
    if quantized:
        kind = quantized.get("quant_method", "some method") if isinstance(quantized, dict) else "some method"
        message = f"the weights of {source.model.given} are quantised already ({kind})"
        raise Stop(EXIT_INPUT, message, fix="name the model that they were made from")
    strange = sorted({tensor.dtype for tensor in source.tensors.values()} - DTYPES.keys())
    if strange:
        raise Stop(
            EXIT_INPUT, f"{source.model.given} has weights of the type {strange[0]}", fix="name its 16-bit version"
        )
    needs = [quant for quant in args.quants if quant in IMATRIX_ONLY]
    if needs and args.imatrix is None:
        message = f"{', '.join(needs).lower()} needs an importance matrix"
        raise Stop(EXIT_USAGE, message, fix="add --imatrix FILE (llama-imatrix makes one), or choose other --quants")


def check_vocabulary(source: Source, tokenizer: Path) -> None:
    """Stop with 4 when the tokenizer has tokens beyond the rows of the embedding."""
    rows = next((tensor.shape[0] for name, tensor in source.tensors.items() if WORDS.fullmatch(name)), None)
    name = next((name for name in source.tensors if WORDS.fullmatch(name)), "")
    if name in source.changes and source.changes[name].whole:
        rows = source.changes[name].shape[0]
    found = read_object(tokenizer)
    vocabulary = found.get("model", {}).get("vocab", {})
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    numbers += [one.get("id", 0) for one in found.get("added_tokens", [])]
    if rows is not None and numbers and max(numbers) >= rows:
        message = f"the tokenizer has {max(numbers) + 1} tokens, the embedding of {source.model.given} {rows} rows"
        fix = "use the tokenizer that the model was trained with, or an adapter saved with its resized embedding"
        raise Stop(EXIT_INPUT, message, fix=fix)


def make_plan(source: Source, quants: Sequence[str]) -> Plan:
    """Return the order of the work and what it takes: first what is made from the model, then from the 16-bit file."""
    direct = [quant for quant in quants if quant in CONVERTED]
    others = [quant for quant in quants if quant not in CONVERTED]
    through = ("BF16" if source.dtype == "BF16" else "F16") if others else None
    sizes = {quant: round(source.parameters * BITS[quant] / 8) for quant in (*quants, *filter(None, [through]))}
    held = sizes[through] if through else 0
    download = sum(source.model.sizes[name] for name in source.weights)
    download += sum(4 * math.prod(change.shape) for change in source.changes.values())  # merged, in float32
    first = max((sizes[quant] for quant in direct if quant != through), default=0)
    then = max((sizes[quant] for quant in others), default=0)
    memory = MEMORY_BASE + 3 * largest_block(source)
    order = (*sorted(direct, key=lambda quant: quant == through), *others)
    return Plan(
        quants=tuple(order), through=through, sizes=sizes, disk=max(download + first, then) + held, memory=memory
    )


def largest_block(source: Source) -> int:
    """Return the bytes in float32 of the largest tensor; the experts of a layer count as one, which they become."""
    blocks: dict[str, int] = {}
    for name, tensor in source.tensors.items():
        block = re.sub(r"experts\.\d+", "experts", name)
        blocks[block] = blocks.get(block, 0) + 4 * tensor.count
    return max(blocks.values(), default=source.parameters)


def check_plan(plan: Plan, tools: Tools, args: argparse.Namespace, output: Output) -> None:
    """Stop with 5 when disk, memory or tools do not suffice."""
    require_pinned(tools)
    require_disk(plan.disk, work_parent(output))
    require_ram(plan.memory)
    others = [quant.lower() for quant in plan.quants if quant not in CONVERTED]
    if others and tools.quantizer is None and not (shutil.which("c++") and shutil.which("make")):
        message = f"{', '.join(others)} needs llama-quantize, or c++ and make to build it; neither is here"
        fix = "add --quants f16,q8_0, give --llama-cpp DIR, or run the Job with --image ghcr.io/ggml-org/llama.cpp:full"
        raise Stop(EXIT_ENVIRONMENT, message, fix=fix)


def work_parent(output: Output) -> Path:
    """Return the folder that the work goes to: beside a local output, else the temporary one."""
    return output.folder.absolute().parent if output.folder else Path(tempfile.gettempdir())


def describe(source: Source, output: Output, plan: Plan, done: Mapping[str, Any], tools: Tools) -> dict[str, Any]:
    """Return the plan for people and programs."""
    return {
        "model": f"{source.model.given}@{source.model.identity[:19]}",
        "adapter": f"{source.adapter.given}@{source.adapter.identity[:19]}" if source.adapter else None,
        "architecture": source.architecture,
        "parameters": source.parameters,
        "output": str(output),
        "there": sorted(done),
        "to_make": list(plan.quants),
        "about_bytes": {quant: plan.sizes[quant] for quant in plan.quants},
        "disk_bytes": plan.disk,
        "memory_bytes": plan.memory,
        "llama_cpp": tools.label,
    }


# ---- the work ----


def convert(
    source: Source,
    plan: Plan,
    tools: Tools,
    args: argparse.Namespace,
    persist: Persist,
    done: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, float]]:
    """Make, verify and persist each file; return what is there of each type, and the seconds of each kind of work.

    The work folder goes unless something in it could not be pushed.
    """
    folder, keep = work_folder(persist.output), False
    try:
        job = Job(source=source, plan=plan, tools=tools, args=args, persist=persist, folder=folder, seconds={})
        made = make_all(job, done)
    except Stop as stop:
        keep = stop.code == EXIT_NOT_PERSISTED
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return made, {what: round(seconds, 2) for what, seconds in job.seconds.items()}


def work_folder(output: Output) -> Path:
    """Return an empty folder for the work; what a killed run left of a local one goes."""
    if output.folder is None:
        return Path(tempfile.mkdtemp(prefix="gguf-"))
    folder = output.folder.absolute().with_name(f".{output.folder.name}.work")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all steps of the work share."""

    source: Source
    plan: Plan
    tools: Tools
    args: argparse.Namespace
    persist: Persist
    folder: Path
    seconds: dict[str, float]

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time that the block takes to `seconds`, and say what it is about to do."""
        note(what)
        began = time.monotonic()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began

    @property
    def name(self) -> str:
        """What the files are called, before the type."""
        given = Path(self.source.given.given.rstrip("/")).resolve() if self.source.given.folder else None
        name = given.name if given else self.source.given.given.partition("/")[2]
        return re.sub(r"[^\w.-]+", "-", name)

    def files(self, quant: str) -> list[Path]:
        """Return the files of a type that were made, wherever they are now."""
        for folder in (self.folder / quant, self.persist.output.folder):
            found = sorted(folder.glob(f"{self.name}-{quant}*.gguf")) if folder else []
            if found:
                return found
        return []


def make_all(job: Job, done: dict[str, Any]) -> dict[str, Any]:
    """Return what is there of each type after the work."""
    with job.timed("fetch"):
        model = fetch_model_files(job)
    with job.timed("ask the model itself"):
        reference = read_reference(model, job.folder / "adapter" if job.source.adapter else None)
    if job.source.changes:
        with job.timed("merge"):
            merge_adapter(model, job.folder / "adapter", job.source.changes)
    check_numbers(model, job.plan)
    made = dict(done)
    with Progress(len(job.plan.quants), "types") as progress:
        for quant in job.plan.quants:
            make_quant(quant, model, job)
            with job.timed(f"verify {quant}"):
                made[quant] = verify(quant, job, reference, model)
            with job.timed(f"persist {quant}"):
                put(quant, job, made)
            progress.add()
    return made


def make_quant(quant: str, model: Path, job: Job) -> None:
    """Make the files of one type: from the model, or from the 16-bit file, which is made first where it is not there."""
    first = quant if quant in CONVERTED else str(job.plan.through)
    if not job.files(first):
        with job.timed(f"convert {first}"):
            run_converter(first, model, job)
    if first == quant:
        return
    shutil.rmtree(job.folder / "download", ignore_errors=True)  # nothing reads the weights any more
    library = None if job.tools.quantizer else build_library()
    with job.timed(f"quantize {quant}"):
        run_quantizer(quant, job.files(first), job, library)


def put(quant: str, job: Job, made: Mapping[str, Any]) -> None:
    """Persist the files of a type with what is known of all, and free their space unless others are made from them."""
    folder = job.folder / quant
    conversion = {"name": job.name, "source": commits_of(job.source), "quants": dict(sorted(made.items()))}
    text = json.dumps(conversion, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / CONVERSION).write_text(text, encoding="utf-8")
    (folder / "Modelfile").write_text(modelfile(made, job), encoding="utf-8")
    keep = [name for entry in made.values() for name in entry["files"]]
    job.persist.put(folder, keep, lambda existing: card(existing, conversion, job))
    if quant != job.plan.through:
        shutil.rmtree(folder)


def commits_of(source: Source) -> dict[str, str]:
    """Return the commits that a restart takes again."""
    if source.adapter is None:
        return {"model": source.model.identity}
    return {"adapter": source.adapter.identity, "base": source.model.identity}


def fetch_model_files(job: Job) -> Path:
    """Return a folder with the model as the converter wants it: safetensors, its tokenizer, no code of the repository."""
    source, model = job.source, job.folder / "model"
    model.mkdir()
    names = [*source.weights, *(name for name in CONFIG_FILES if name in source.model.sizes)]
    speaks = any(name in source.given.sizes for name in TOKENIZER_FILES[:2])
    tokenizer = source.given if speaks else source.model
    token = job.persist.token
    place = fetch_files(source.model, names, job.folder / "download", token)
    spoken = [name for name in TOKENIZER_FILES if name in tokenizer.sizes]
    words = fetch_files(tokenizer, spoken, job.folder / "words", token)
    if source.adapter:
        wanted = ["adapter_config.json", "adapter_model.safetensors"]
        adapter = fetch_files(source.adapter, wanted, job.folder / "adapter-files", token)
        (job.folder / "adapter").symlink_to(adapter.absolute())
    check_vocabulary(source, words / "tokenizer.json")
    for path in (*(place / name for name in names), *(words / name for name in spoken)):
        if path.name in {"config.json", "tokenizer_config.json"}:
            (model / path.name).write_text(json.dumps(without_code(read_object(path))), encoding="utf-8")
        elif PICKLES.fullmatch(path.name):
            unpickle(path, model / f"{path.stem.replace('pytorch_model', 'model')}.safetensors")
        else:
            (model / path.name).symlink_to(path.absolute())
    return model


def without_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config that names no code: the converter would run it."""
    return {key: value for key, value in config.items() if key != "auto_map"}


def fetch_files(repo: Repo, names: Sequence[str], into: Path, token: str | None) -> Path:
    """Return the folder with these files of the repository, downloaded where they have to be."""
    if repo.folder is not None:
        return repo.folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    fetch = lambda: snapshot_download(  # noqa: E731
        repo.given, revision=repo.identity, allow_patterns=list(names), local_dir=into, token=token or False
    )
    return Path(retry(fetch, what=f"downloading {repo.given}"))


def run_converter(quant: str, model: Path, job: Job) -> None:
    """Run llama.cpp's converter; stop with 4 and its own last words when it refuses the model."""
    target = job.folder / quant / f"{job.name}-{quant}.gguf"
    target.parent.mkdir(exist_ok=True)
    argv = [sys.executable, job.tools.converter, model, "--outfile", target, "--outtype", quant.lower()]
    argv += ["--model-name", job.name]
    if job.plan.sizes[quant] > size_in_bytes(job.args.split_max_size):
        argv += ["--split-max-size", job.args.split_max_size]
    said = run_tool([str(word) for word in argv], {"HF_HUB_OFFLINE": "1"})
    if said is not None:
        fix = "name another model, or give a newer llama.cpp: --llama-cpp DIR"
        if "pre-tokenizer was not recognized" in said:
            fix = "use the original tokenizer of its family (the converter knows those), or a newer --llama-cpp DIR"
        raise Stop(EXIT_INPUT, f"the converter refuses {job.source.given.given}: {said}", fix=fix)


def run_quantizer(quant: str, sources: Sequence[Path], job: Job, library: Path | None) -> None:
    """Run llama-quantize, or what it calls in `library`, on the first of the 16-bit files; it finds the others."""
    target = job.folder / quant / f"{job.name}-{quant}.gguf"
    target.parent.mkdir(exist_ok=True)
    split = len(sources) > 1 and job.plan.sizes[quant] > size_in_bytes(job.args.split_max_size)
    imatrix = str(job.args.imatrix or "")
    if job.tools.quantizer is not None:
        options = [*(["--imatrix", imatrix] if imatrix else []), *(["--keep-split"] if split else [])]
        argv = [str(job.tools.quantizer), *options, str(sources[0]), str(target), quant]
        said = run_tool(argv, {})
    else:
        argv = [sys.executable, "-c", QUANTIZE, str(sources[0]), str(target), quant, str(int(split)), imatrix]
        said = run_tool(argv, {"LLAMA_CPP_LIB_PATH": str(library)})
    if said is not None:
        raise Stop(EXIT_UNEXPECTED, f"the quantiser failed at {quant}: {said}", fix="leave this type out of --quants")


def run_tool(argv: Sequence[str], variables: Mapping[str, str]) -> str | None:
    """Run a program without the token; return None, or the last line that it said when it failed."""
    kept = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(argv, env={**kept, **variables}, stdout=log, stderr=subprocess.STDOUT, check=False)
        log.seek(max(0, os.fstat(log.fileno()).st_size - 8192))
        lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    if done.returncode == 0:
        return None
    return one_line(lines[-1] if lines else f"exit code {done.returncode}")[:300]


def size_in_bytes(text: str) -> int:
    """Return the bytes of `2G` or `500M`, in powers of ten as llama.cpp reads them."""
    return int(text[:-1]) * {"M": 10**6, "G": 10**9}[text[-1]]


def build_library() -> Path:
    """Return the folder of llama.cpp's library, built from the pinned sources for this processor when it is not yet."""
    processor = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("flags", "Features"))), "") if Path("/proc/cpuinfo").is_file() else sysconfig.get_platform()  # fmt: skip
    key = hashlib.sha256(f"{PINNED_DIGEST}{processor}".encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jobshelf"
    place = home / f"llama.cpp-{key}"
    if place.is_dir():
        return place
    from cmake import CMAKE_BIN_DIR

    note("building llama.cpp's library, once for this machine")
    home.mkdir(parents=True, exist_ok=True)
    cmake = str(Path(CMAKE_BIN_DIR) / "cmake")
    off = ["COMMON", "TESTS", "TOOLS", "EXAMPLES", "SERVER", "APP"]
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", "-DGGML_OPENMP=OFF"]
    options += ["-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON"]  # the folder is moved when it is whole
    options += ["-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"]  # half the time; what quantises is C, which stays at -O3
    with tempfile.TemporaryDirectory(dir=home, prefix=".build-") as build:
        configure = [
            cmake,
            "-S",
            str(pinned_folder()),
            "-B",
            build,
            *options,
            *(f"-DLLAMA_BUILD_{one}=OFF" for one in off),
        ]
        jobs = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        said = run_tool(configure, {}) or run_tool([cmake, "--build", build, "--target", "llama", "-j", jobs], {})
        if said is not None:
            fix = "add --quants f16,q8_0, give --llama-cpp DIR, or run the Job with --image ghcr.io/ggml-org/llama.cpp:full"
            raise Stop(EXIT_ENVIRONMENT, f"llama.cpp's library could not be built: {said}", fix=fix)
        if not place.exists():  # another run may have been faster
            (Path(build) / "bin").rename(place)
    return place


# ---- weights, tensor by tensor ----


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where its numbers begin."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        return json.loads(stream.read(length)), 8 + length


def write_tensors(path: Path, tensors: Sequence[tuple[str, Tensor, Callable[[], Any]]]) -> None:
    """Write a safetensors file; the numbers of a tensor are asked for when they are written, and not kept."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor, _ in tensors:
        begin, end = end, end + tensor.count * DTYPES[tensor.dtype][1]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for _, _, numbers in tensors:
            stream.write(numbers())


def merge_adapter(model: Path, adapter: Path, changes: Mapping[str, Change]) -> None:
    """Write the weights that the adapter changes anew, in float32: rounded once, to the type that is made of them."""
    from safetensors import safe_open

    config = read_object(model / "config.json")
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as factors:
        for shard in sorted(model.glob("*.safetensors")):
            header, start = read_header(shard)
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            touched = {name: change for name, change in changes.items() if name in tensors}
            if touched:
                rewrite_shard(shard, tensors, start, touched, factors.get_tensor)
    rows = next((one.shape[0] for name, one in changes.items() if one.whole and WORDS.fullmatch(name)), None)
    if rows and "vocab_size" in config:
        (model / "config.json").write_text(json.dumps({**config, "vocab_size": rows}), encoding="utf-8")


def rewrite_shard(
    shard: Path,
    tensors: Mapping[str, Any],
    start: int,
    changes: Mapping[str, Change],
    factor: Callable[[str], torch.Tensor],
) -> None:
    """Replace a file of the model (a link) by one with the changed tensors; the download that it stood for goes."""
    with shard.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as numbers:

        def produce(name: str, entry: Mapping[str, Any]) -> Callable[[], Any]:
            begin, end = (start + offset for offset in entry["data_offsets"])
            if name not in changes:
                return lambda: numbers[begin:end]
            return lambda: changed(bytearray(numbers[begin:end]), entry, changes[name], factor)

        kinds = {name: Tensor(dtype=entry["dtype"], shape=tuple(entry["shape"])) for name, entry in tensors.items()}
        kinds |= {name: Tensor(dtype="F32", shape=change.shape) for name, change in changes.items()}
        new = [(name, kinds[name], produce(name, entry)) for name, entry in tensors.items()]
        write_tensors(shard.with_name(f"{shard.name}.part"), new)
    behind = shard.resolve()
    if shard.is_symlink() and behind.parent.name == "download":
        behind.unlink()
    shard.with_name(f"{shard.name}.part").replace(shard)


def changed(numbers: bytearray, entry: Mapping[str, Any], change: Change, factor: Callable[[str], torch.Tensor]) -> Any:  # noqa: ANN401 - a buffer
    """Return the numbers of a tensor after the adapter's change (LoRA, or DoRA: https://arxiv.org/abs/2402.09353)."""
    import torch

    dtype = getattr(torch, DTYPES[entry["dtype"]][0])
    if change.whole:
        weight = factor(change.whole).float()
    else:
        weight = torch.frombuffer(numbers, dtype=dtype).reshape(entry["shape"]).float()
        delta = factor(change.b).float() @ factor(change.a).float()
        weight.add_(delta.T if change.transposed else delta, alpha=change.scaling)
        if change.magnitude:
            length = weight.norm(dim=0 if change.transposed else 1)
            scale = factor(change.magnitude).float().flatten() / length
            weight.mul_(scale if change.transposed else scale[:, None])
    return _bytes_of(weight)


def unpickle(path: Path, target: Path) -> None:
    """Write the weights of a pickled file as safetensors; only tensors are loaded, no code of the file is run."""
    import torch

    names = {getattr(torch, name): dtype for dtype, (name, _) in DTYPES.items()}
    try:
        held = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        message = f"{path.name} holds more than tensors, or is damaged: {one_line(error)[:200]}"
        raise Stop(EXIT_INPUT, message, fix="name a safetensors version of the model") from error
    weights = {name: tensor for name, tensor in held.items() if getattr(tensor, "dtype", None) in names}
    write_tensors(
        target,
        [
            (name, Tensor(dtype=names[one.dtype], shape=tuple(one.shape)), lambda one=one: _bytes_of(one))
            for name, one in weights.items()
        ],
    )


def _bytes_of(tensor: torch.Tensor) -> Any:  # noqa: ANN401 - a buffer
    import torch

    return tensor.contiguous().flatten().view(torch.uint8).numpy().data


def check_numbers(model: Path, plan: Plan) -> None:
    """Stop with 4 for weights that are no numbers, and for those that float16 would turn into infinity."""
    narrow = "F16" in plan.quants or plan.through == "F16"
    for shard in sorted(model.glob("*.safetensors")):
        for name, dtype, bits in largest_bits(shard):
            if bits >= INFINITE[dtype]:
                message = f"{name} in {shard.name} has weights that are infinite or no numbers"
                raise Stop(EXIT_INPUT, message, fix="name another checkpoint of the model")
            if narrow and bits >= F16_OVERFLOW.get(dtype, 2**40):
                message = f"{name} in {shard.name} has weights above 65504, which f16 turns into infinity"
                raise Stop(EXIT_INPUT, message, fix="choose bf16 in the place of f16: --quants bf16,...")


def largest_bits(shard: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (name, type, bits of the largest magnitude) of each matrix of 16 or 32 bits; vectors stay float32 in GGUF."""
    import numpy as np

    header, start = read_header(shard)
    kinds = {"BF16": np.uint16, "F16": np.uint16, "F32": np.uint32}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in kinds or math.prod(entry["shape"]) == 0:
            continue
        kind = kinds[entry["dtype"]]
        numbers = np.memmap(shard, dtype=kind, mode="r", offset=start + entry["data_offsets"][0], shape=math.prod(entry["shape"]))  # fmt: skip
        mask = np.iinfo(kind).max >> 1
        largest = max(int((numbers[at : at + 2**22] & mask).max()) for at in range(0, len(numbers), 2**22))
        if len(entry["shape"]) > 1 or largest >= INFINITE[entry["dtype"]]:
            yield name, entry["dtype"], largest


# ---- what the model says, and what the files say ----


def read_reference(model: Path, adapter: Path | None) -> Reference:
    """Ask the model itself, with transformers (and PEFT for an adapter): tokens, and predictions on the prompts.

    Weights stay in the files and are widened to float32 where and while they are used, so that one module is in memory.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        network = AutoModelForCausalLM.from_pretrained(model, dtype="auto", local_files_only=True)
        if adapter is not None:
            network = with_adapter(network, adapter)
    except (ValueError, KeyError, OSError, RuntimeError, ImportError) as error:
        message = (
            f"transformers cannot load the model, so that nothing could be compared with it: {one_line(error)[:300]}"
        )
        raise Stop(
            EXIT_INPUT, message, fix="mend its config or tokenizer, or convert it with llama.cpp by hand"
        ) from error
    widen_in_use(network.eval())
    prompts = tuple(tuple(tokenizer.encode(text)) for text in PROMPTS)
    found: dict[tuple[int, int], np.ndarray] = {}
    with torch.inference_mode():
        for number, prompt in enumerate(prompts):
            logits = network(input_ids=torch.tensor([prompt]), use_cache=False).logits[0].float()
            for length in lengths(prompt):
                found[number, length] = torch.log_softmax(logits[length - 1], dim=-1).numpy()
    return Reference(
        prompts=prompts,
        texts=tuple(tuple(tokenizer.encode(text, add_special_tokens=False)) for text in TEXTS),
        log_probabilities=found,
        template=tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
        words=len(tokenizer),
        weights=count_weights(model),
    )


def with_adapter(network: Any, adapter: Path) -> Any:  # noqa: ANN401 - a torch module
    """Return the model with the adapter beside its weights, as PEFT runs it."""
    from peft import PeftModel
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as factors:
        whole = [name for name in factors.keys() if re.search(r"(embed_tokens|wte)(\.modules_to_save)?\.weight$", name)]  # noqa: SIM118
        rows = [factors.get_slice(name).get_shape()[0] for name in whole]
    if rows and rows[0] != network.get_input_embeddings().num_embeddings:
        network.resize_token_embeddings(rows[0], mean_resizing=False)
    return PeftModel.from_pretrained(network, adapter)


def widen_in_use(network: torch.nn.Module) -> None:
    """Let each module compute in float32: its weights are widened before it runs, and as they were after it."""
    import torch

    narrow: dict[torch.nn.Module, dict[str, Any]] = {}

    def widen(module: torch.nn.Module, _: object) -> None:
        narrow[module] = dict(module._parameters)
        for name, weight in narrow[module].items():
            if weight is not None and weight.is_floating_point():
                module._parameters[name] = torch.nn.Parameter(weight.detach().float(), requires_grad=False)

    def restore(module: torch.nn.Module, _: object, __: object) -> None:
        module._parameters.update(narrow.pop(module))

    for module in network.modules():
        if module._parameters:
            module.register_forward_pre_hook(widen)
            module.register_forward_hook(restore)


def lengths(prompt: Sequence[int]) -> list[int]:
    """Return how many tokens of a prompt are given before a prediction is compared."""
    return sorted({max(1, len(prompt) * part // POSITIONS) for part in range(1, POSITIONS + 1)})


def verify(quant: str, job: Job, reference: Reference, model: Path) -> dict[str, Any]:
    """Return what is true of the files of a type; stop with 1 when they are not the model."""
    files = job.files(quant)
    if not files:
        raise Stop(
            EXIT_UNEXPECTED, f"{job.tools.label} made no file of the type {quant}", fix="leave it out of --quants"
        )
    problems, facts = read_gguf(files, quant, job, reference, model)
    if not problems:
        problems, agreement = ask_gguf(files[0], quant, reference)
        facts |= agreement
    if problems:
        message = f"{files[0].name} is not the model: {'; '.join(problems)}; nothing of it was uploaded"
        raise Stop(
            EXIT_UNEXPECTED, message, fix=f"leave {quant.lower()} out of --quants, or use a newer --llama-cpp DIR"
        )
    note(f"{quant}: agrees (error {facts['error']:g}, {facts['same']} predictions the same)")
    sizes = {path.name: {"bytes": path.stat().st_size, "sha256": digest_of(path)} for path in files}
    return {"files": sizes, "made_by": job.tools.label, **facts}


def read_gguf(
    files: Sequence[Path], quant: str, job: Job, reference: Reference, model: Path
) -> tuple[list[str], dict[str, Any]]:
    """Return what is wrong in the metadata and tensors of the files, and their figures."""
    from importlib import import_module

    gguf = import_module(
        "gguf"
    )  # llama.cpp's own, from the header's llama-cpp-python: newer than the package of that name
    readers = [gguf.GGUFReader(path) for path in files]
    fields = readers[0].fields
    tensors = {tensor.name: tensor for reader in readers for tensor in reader.tensors}
    kind = str(fields["general.architecture"].contents())
    config = read_object(model / "config.json")
    config = {**config, **(config.get("text_config") or {})}
    told = {name: fields[name].contents() for name in fields if not name.startswith("tokenizer.ggml.")}
    checks = {
        "type": (
            gguf.LlamaFileType(told["general.file_type"]).name,
            f"{'ALL' if quant == 'F32' else 'MOSTLY'}_{quant}",
        ),
        "chat template": (
            told.get("tokenizer.chat_template"),
            reference.template or told.get("tokenizer.chat_template"),
        ),
        "width": (
            told.get(f"{kind}.embedding_length"),
            config.get("hidden_size", told.get(f"{kind}.embedding_length")),
        ),
        "layers": (told.get(f"{kind}.block_count", 0) >= (config.get("num_hidden_layers") or 0), True),
        "words": (len(fields["tokenizer.ggml.tokens"].data) >= reference.words, True),
    }
    problems = [f"its {name} is {found}, not {wanted}" for name, (found, wanted) in checks.items() if found != wanted]
    counts = {name: int(tensor.n_elements) for name, tensor in tensors.items() if not NO_WEIGHTS.fullmatch(name)}
    problems += wrong_count(sum(counts.values()), job.source, reference.weights)
    shapes = hashlib.sha256(
        json.dumps({name: [int(n) for n in one.shape] for name, one in sorted(tensors.items())}).encode()
    )
    return problems, {"tensors": len(tensors), "parameters": sum(counts.values()), "shapes": shapes.hexdigest()[:16]}


def count_weights(model: Path) -> dict[str, int]:
    """Return how many numbers each tensor of the model holds."""
    return {
        name: math.prod(entry["shape"])
        for shard in model.glob("*.safetensors")
        for name, entry in read_header(shard)[0].items()
        if name != "__metadata__" and not NO_WEIGHTS.fullmatch(name)
    }


def wrong_count(found: int, source: Source, counts: Mapping[str, int]) -> list[str]:
    """Return the complaint that weights are missing or too many; a head that is the embedding may be there once or twice."""
    total = sum(counts.values())
    head = next((count for name, count in counts.items() if name.endswith("lm_head.weight")), 0)
    if found in {total, total - head} or not counts:
        return []
    if any(key.endswith(("vision_config", "audio_config")) for key in source.config):
        note(f"{found} of {total} weights are in the file: GGUF has only the language model")
        return []
    return [f"it has {found} weights, the model {total}"]


def ask_gguf(file: Path, quant: str, reference: Reference) -> tuple[list[str], dict[str, Any]]:
    """Load the file with llama.cpp; return what is wrong in its tokens and predictions, and the figures."""
    import numpy as np

    try:
        server = load_gguf(file)
    except RuntimeError as error:
        return [f"llama.cpp does not load it ({one_line(error)})"], {}
    ask = asker(server.listening_address)
    wrong = [
        text
        for text, tokens in zip(TEXTS, reference.texts, strict=True)
        if ask("/tokenize", {"content": text, "add_special": False, "parse_special": False})["tokens"] != list(tokens)
    ]
    squares, divergences, same = [], [], 0
    # The server tells no probabilities beside half a character, so another token is forced; they are those before that.
    asked = {"n_predict": 1, "n_probs": LIKELIEST, "temperature": 0, "logit_bias": [[reference.prompts[0][-1], 1000]]}
    for (number, length), theirs in reference.log_probabilities.items():
        question = {"prompt": list(reference.prompts[number][:length]), **asked}
        likely = ask("/completion", question)["completion_probabilities"][0]["top_logprobs"]
        ids, ours = np.array([one["id"] for one in likely]), np.array([one["logprob"] for one in likely], dtype=float)
        squares.append((np.mean((ours - theirs[ids]) ** 2) / theirs.var()).item())
        divergences.append(divergence(theirs[ids].astype(float), ours))
        same += int(ids[0] == int(theirs.argmax()))
    said = ask("/completion", {"prompt": list(reference.prompts[0]), "n_predict": 8, "temperature": 0})[
        "tokens_predicted"
    ]
    error = math.sqrt(sum(squares) / len(squares))
    limit = TOLERANCES[quant.removeprefix("I")[:2]]
    problems = (
        [f"it splits {wrong[0]!r} into other tokens than the model ({len(wrong)} of {len(TEXTS)} texts)"]
        if wrong
        else []
    )
    problems += [f"its predictions differ by {error:.3g}, more than {limit:g}"] if not error <= limit else []
    problems += ["it generates nothing"] if not said else []
    # two digits: the last ones depend on the processor
    figures = {"error": float(f"{error:.2g}"), "limit": limit, "divergence": float(f"{np.mean(divergences):.2g}")}
    return problems, {**figures, "same": f"{same} of {len(squares)}", "texts": len(TEXTS) - len(wrong)}


def load_gguf(file: Path) -> xllamacpp.Server:
    """Return llama.cpp's server with the file, on a free port of loopback; every tensor is checked."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.cache_ram_mib = 512, 1, 0, 0
    params.warmup, params.fit_params, params.check_tensors, params.verbosity = False, False, True, -1
    return xllamacpp.Server(params)


def asker(address: str) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
    """Return what puts a question to the server at `address`; no proxy is in between."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str, question: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps(question).encode()
        request = urllib.request.Request(address + path, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        with opener.open(request, timeout=3600) as answer:
            return json.loads(answer.read())

    return ask


def divergence(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence of ours from theirs in nats, all other tokens taken as one."""
    import numpy as np

    p, q = np.exp(theirs), np.exp(ours)
    rest = (max(1 - p.sum(), 1e-12), max(1 - q.sum(), 1e-12))
    return max(0.0, float((p * (theirs - ours)).sum() + rest[0] * math.log(rest[0] / rest[1])))


# ---- what people read ----


def modelfile(made: Mapping[str, Any], job: Job) -> str:
    """Return Ollama's Modelfile for the type that most people want of those that are there, with the model's own sampling."""
    wanted = ("Q4_K_M", "Q5_K_M", "Q8_0", *made)
    entry = made[next(quant for quant in wanted if quant in made)]
    generation = read_object(job.folder / "model" / "generation_config.json")
    names = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "repetition_penalty": "repeat_penalty"}
    lines = [f"PARAMETER {ours} {generation[name]}" for name, ours in names.items() if isinstance(generation.get(name), int | float)]  # fmt: skip
    return "\n".join([f"FROM ./{min(entry['files'])}", *lines]) + "\n"


def card(existing: str | None, conversion: Mapping[str, Any], job: Job) -> str:
    """Return the card: which files, how large, how far they agree with the model, and what they were made from."""
    source = job.source
    quants: Mapping[str, Any] = conversion["quants"]
    sizes = {quant: sum(file["bytes"] for file in entry["files"].values()) for quant, entry in quants.items()}
    rows = [
        {"type": quant, "file": shown_files(list(entry["files"])), "GB": f"{sizes[quant] / 1e9:.3g}",
         "error": f"{entry['error']:g} (limit {entry['limit']:g})", "divergence": f"{entry['divergence']:g}",
         "same next token": entry["same"]}
        for quant, entry in quants.items()
    ]  # fmt: skip
    made_of = (
        f"the adapter {source.adapter.given} merged into {source.model.given}" if source.adapter else source.model.given
    )
    identity = ", ".join(f"{name} {commit}" for name, commit in commits_of(source).items())
    sections = [
        f"# {md(conversion['name'])} in GGUF",
        f"Made from {md(made_of)} ({md(source.architecture)}, {next(iter(quants.values()))['parameters']:,} weights).",
        md_table(rows),
        "Each file was loaded with llama.cpp and held against the model in float32 before it was uploaded: metadata, "
        f"number of weights, the tokens of {len(TEXTS)} texts, the chat template, and the predictions at "
        f"{len(PROMPTS)} prompts. Error: RMS difference of the log-probabilities of the {LIKELIEST} likeliest tokens, over the "
        "standard deviation of all; divergence: Kullback-Leibler, in nats.",
        how_to_use(job),
        provenance(
            ScriptStamp(name=SCRIPT_NAME, url=SCRIPT_URL, version=VERSION),
            source=source.given.given,
            identity=identity,
            arguments=job.persist.words,
            packages=("huggingface-hub", "llama-cpp-python", "torch", "transformers", "xllamacpp"),
        ),
    ]
    return render_card(existing, front_matter=front_matter(source), body="\n\n".join(sections))


def shown_files(names: Sequence[str]) -> str:
    """Return the file, or the first of several and their number."""
    return names[0] if len(names) == 1 else f"{min(names)} and {len(names) - 1} more"


def how_to_use(job: Job) -> str:
    """Return the commands that run the files."""
    where = str(job.persist.output)
    if job.persist.output.repo_id:
        return "\n\n".join(["Run it:", fenced(f"llama-cli -hf {where}\nollama run hf.co/{where}")])
    return "\n\n".join(["Run it:", fenced(f"ollama create {job.name.lower()} -f Modelfile")])


def front_matter(source: Source) -> dict[str, Any]:
    """Return what the Hub reads: the base, the licence and the languages of the model, as its own card has them."""
    cards = [repo.card for repo in (source.adapter, source.model) if repo]
    kept = {}
    for key in ("license", "license_name", "license_link", "language", "pipeline_tag"):
        value = next((card[key] for card in cards if card.get(key)), None)
        if value:
            kept[key] = value
    base = {"base_model": source.given.given, "base_model_relation": "quantized"} if source.given.folder is None else {}
    return {**kept, **base, "library_name": "gguf", "tags": ["gguf", "llama.cpp"]}


def show(facts: Mapping[str, Any], args: argparse.Namespace) -> int:
    """Print the facts: JSON for programs, one line each for people."""
    if args.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False, default=str))
        return EXIT_DONE
    for name, value in facts.items():
        if name == "made":
            for quant, entry in value.items():
                size = sum(file["bytes"] for file in entry["files"].values())
                print(one_line(f"{quant}: {shown_files(list(entry['files']))}, {size} bytes, error {entry['error']:g}"))
        elif value is not None:
            print(one_line(f"{name.replace('_', ' ')}: {value}"))
    return EXIT_DONE


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


# --- block: persist_model 1 (jobshelf) ---
MODEL_MANIFEST = "jobshelf.json"
MODEL_CHECKPOINT = "last-checkpoint"
MODEL_LAST = "trainer_state.json"  # a checkpoint that has it is whole
MODEL_ATTEMPTS = 5
MODEL_NOT_FOREIGN = frozenset({".gitattributes", "README.md", "LICENSE", MODEL_MANIFEST})
_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MODEL_STEP = re.compile(r"checkpoint-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeld:
    """What a model repository holds at commit `head`: path -> hash, the manifest at its root, its card."""

    head: str
    private: bool
    files: Mapping[str, str]
    manifest: Mapping[str, Any]
    card: str | None


def parse_model(given: str) -> str:
    """Return the id of a model repository; stop with 2 when `given` is none."""
    if not _MODEL_ID.fullmatch(given) or ".." in given or "--" in given or given.endswith((".git", ".", "-")):
        raise Stop(EXIT_USAGE, f"{given!r} is no model repository", fix="write user/name")
    return given


def look_at_model(repo_id: str, token: str | None) -> ModelHeld | None:
    """Return what the repository holds, None when there is none for this token."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.model_info(repo_id), what=f"looking at {repo_id}")
    except RepositoryNotFoundError:
        return None
    head = str(info.sha)
    files = _model_files(repo_id, head, token)
    small = {name: _model_read(repo_id, head, name, token) for name in (MODEL_MANIFEST, "README.md") if name in files}
    return ModelHeld(
        head=head,
        private=bool(info.private),
        files=files,
        manifest=_model_manifest(small.get(MODEL_MANIFEST, b"")),
        card=small["README.md"].decode("utf-8", "replace") if "README.md" in small else None,
    )


def open_model(
    repo_id: str, run: Run, *, token: str, private: bool, overwrite: bool, dry_run: bool
) -> ModelHeld | None:
    """Return what the repository holds after checking that `run` may write to it; create it when there is none.

    Stops with 4 when it holds what another script or another request made (unless `overwrite`), 3 when it cannot be
    created, 2 when a private model would go to a public repository. A dry run creates nothing.
    """
    held = look_at_model(repo_id, token)
    if held is None:
        if not dry_run:
            _model_create(repo_id, token, private=private)
        return None
    if private and not held.private:
        raise Stop(EXIT_USAGE, f"{repo_id} is public, but this model is private", fix="name another, or allow --public")
    theirs = [held.manifest.get("script"), held.manifest.get("request")]
    foreign = [name for name in held.files if name not in MODEL_NOT_FOREIGN]
    if foreign and not overwrite and theirs != [run.script, _model_request(run)]:
        message = f"{repo_id} holds {len(foreign)} files of another run ({', '.join(foreign[:3])})"
        raise Stop(EXIT_INPUT, message, fix="name another repository, or add --overwrite")
    return held


def persist_model(
    repo_id: str,
    folder: Path,
    run: Run,
    *,
    token: str,
    make_card: Callable[[str | None], str] | None = None,
    inside: str = "",
    keep: Collection[str] = (),
) -> str:
    """Put `folder` at `inside` of the repository ("" is its root) in one commit, and return that commit.

    Files of an earlier state that `folder` does not have go in the same commit; those named in `keep`, files of others,
    and at the root the checkpoints (MODEL_CHECKPOINT), stay. `make_card` gets the card of the repository, else of the folder, else None. Stops with 6 when the folder is not, or not provably, there.
    """
    try:
        for _ in range(MODEL_ATTEMPTS):
            held = look_at_model(repo_id, token)
            if held is None:
                raise RuntimeError(f"{repo_id} is not there any more")
            wanted = _model_wanted(folder, run, held, make_card, inside, keep)
            commit = _model_commit(repo_id, held, wanted, _model_stale(held, {*wanted, *keep}, inside), run, token)
            if commit is not None:
                _model_verify(wanted, _model_files(repo_id, commit, token))
                return commit
            note(f"{repo_id} changed while this was written: looking at it again")
        raise RuntimeError(f"{repo_id} changed {MODEL_ATTEMPTS} times while this was written")
    except (Stop, OSError, RuntimeError, ValueError) as error:
        raise _model_not_persisted(repo_id, folder, inside, token, error) from error


def fetch_model(repo_id: str, into: Path, *, token: str | None, inside: str = "") -> Path | None:
    """Bring `inside` of the repository to the folder `into`, all of one commit; None when there is nothing."""
    held = look_at_model(repo_id, token)
    start = f"{inside}/" if inside else ""
    names = [name for name in held.files if name.startswith(start) and name != ".gitattributes"] if held else []
    if held is None or not names:
        return None
    staging = into.with_name(f".{into.name}.part")  # beside it: files move whole, and the next attempt clears it
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for name in names:
            _model_download(repo_id, held.head, name, str(staging), token)
        _model_verify({name: _model_hash(staging / name, held.files[name]) for name in names}, held.files)
        for name in sorted(names, key=lambda name: (Path(name).name == MODEL_LAST, name)):
            path = into / name.removeprefix(start)
            path.parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return into


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of a Trainer with the highest step that was written to its end, None when there is none.

    A Trainer writes MODEL_LAST last.
    """
    steps = {int(match[1]): path for path in folder.glob("checkpoint-*") if (match := _MODEL_STEP.fullmatch(path.name))}
    whole = [step for step, path in steps.items() if (path / MODEL_LAST).is_file()]
    return steps[max(whole)] if whole else None


def _model_wanted(
    folder: Path,
    run: Run,
    held: ModelHeld,
    make_card: Callable[[str | None], str] | None,
    inside: str,
    keep: Collection[str],
) -> dict[str, Path | bytes]:
    """Return what is to be in the repository: path in it -> local file or content."""
    start = f"{inside}/" if inside else ""
    wanted: dict[str, Path | bytes] = {f"{start}{name}": folder / name for name in _model_names(folder)}
    if not wanted:
        raise RuntimeError(f"{folder} is empty")
    if make_card is not None and not inside:
        own = folder / "README.md"
        wanted["README.md"] = make_card(held.card or (own.read_text("utf-8") if own.is_file() else None)).encode()
    stays = {name for name in _model_owned(held) if name in keep or not _model_in_scope(name, inside)}
    owned = stays | wanted.keys()
    content = {
        "script": run.script,
        "request": _model_request(run),
        "source": run.source,
        "files": sorted(owned - MODEL_NOT_FOREIGN),
    }
    wanted[MODEL_MANIFEST] = (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    return wanted


def _model_names(folder: Path) -> list[str]:
    """Return the files of a model, relative to its folder; what Git and the Hub's client keep there is none of it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith((".git", ".cache/"))]


def _model_owned(held: ModelHeld) -> set[str]:
    """Return the files that earlier commits of this kind made; no other file is ever removed."""
    listed = held.manifest.get("files")
    return {name for name in listed if name in held.files} if isinstance(listed, list) else set()


def _model_in_scope(name: str, inside: str) -> bool:
    return name.startswith(f"{inside}/") if inside else not name.startswith(f"{MODEL_CHECKPOINT}/")


def _model_stale(held: ModelHeld, wanted: Collection[str], inside: str) -> list[str]:
    """Return the files of the earlier state that are no longer made; checkpoints outlive a change of the model."""
    return sorted(name for name in _model_owned(held) if name not in wanted and _model_in_scope(name, inside))


def _model_commit(
    repo_id: str, held: ModelHeld, wanted: Mapping[str, Path | bytes], stale: list[str], run: Run, token: str
) -> str | None:
    """Commit on the head that was looked at; None when it has moved since."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    changed = {
        name: item for name, item in wanted.items() if held.files.get(name) != _model_hash(item, held.files.get(name))
    }
    if not changed and not stale:
        return held.head

    def commit() -> str:
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=item) for name, item in changed.items()]
        operations += [CommitOperationDelete(path_in_repo=name) for name in stale]
        message = f"Result of {run.script}"
        api = HfApi(token=token)
        return str(api.create_commit(repo_id, operations, commit_message=message, parent_commit=held.head).oid)

    try:
        return retry(commit, what=f"writing to {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {409, 412}:
            raise
        return None


def _model_files(repo_id: str, commit: str, token: str | None) -> dict[str, str]:
    """Return path -> hash: the sha256 of a large file, git's id (40 digits) of a small one."""
    from huggingface_hub import HfApi

    api = HfApi(token=token or False)
    items = retry(lambda: list(api.list_repo_tree(repo_id, recursive=True, revision=commit)), what=f"listing {repo_id}")
    files = ((item, getattr(item, "lfs", None)) for item in items if hasattr(item, "size"))
    return {item.path: str(lfs.sha256) if lfs else str(item.blob_id) for item, lfs in files}


def _model_hash(item: Path | bytes, like: str | None) -> str:
    """Return the hash of a file or content, of the kind that `like` is: a sha256, or git's id of 40 digits."""
    size = len(item) if isinstance(item, bytes) else item.stat().st_size
    digest = hashlib.sha256() if like is None or len(like) != 40 else hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - git's
    if isinstance(item, bytes):
        digest.update(item)
    else:
        with item.open("rb") as stream:
            while chunk := stream.read(1_048_576):
                digest.update(chunk)
    return digest.hexdigest()


def _model_verify(wanted: Mapping[str, Path | bytes | str], there: Mapping[str, str]) -> None:
    """Raise RuntimeError when a file is not in the repository as it is here."""
    wrong = [
        name
        for name, item in wanted.items()
        if there.get(name) != (item if isinstance(item, str) else _model_hash(item, there.get(name)))
    ]
    if wrong:
        raise RuntimeError(f"{len(wrong)} files differ from what was sent: {', '.join(sorted(wrong)[:3])}")


def _model_download(repo_id: str, commit: str, name: str, folder: str, token: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    def download() -> str:
        return hf_hub_download(repo_id, name, revision=commit, local_dir=folder, token=token, force_download=True)

    return Path(retry(download, what=f"reading {name} of {repo_id}"))


def _model_read(repo_id: str, commit: str, name: str, token: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return _model_download(repo_id, commit, name, folder, token).read_bytes()


def _model_manifest(text: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(text or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _model_request(run: Run) -> Any:  # noqa: ANN401 - any JSON
    """Return the request as a file brings it back: tuples are lists."""
    return json.loads(json.dumps(dict(run.request)))


def _model_create(repo_id: str, token: str, *, private: bool) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(lambda: api.create_repo(repo_id, private=private, exist_ok=True), what=f"creating {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 402, 403, 404}:
            raise
        message = f"the Hub does not let this token create {repo_id}: {one_line(error.server_message or error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def _model_not_persisted(repo_id: str, folder: Path, inside: str, token: str, error: BaseException) -> Stop:
    """Return the stop that says where the model is: on a Job in the volume or a bucket, else where it was made."""
    reason = one_line(error.message if isinstance(error, Stop) else error)
    here = folder.absolute()
    message = f"the model is not in {repo_id} ({reason}); it is in {here}"
    if not os.environ.get("JOB_ID"):
        return Stop(EXIT_NOT_PERSISTED, message, fix=_model_push(repo_id, str(here), inside))
    volume = os.environ.get("JOBSHELF_VOLUME")
    mounted = [f"{volume}/{repo_id.replace('/', '--')}"] if volume else []
    for given in [*mounted, f"hf://buckets/{repo_id}-model"]:
        if _model_saved(given, folder, inside, token):
            fetch = "" if given in mounted else f"hf buckets sync {given} ./to-push && "
            push = _model_push(repo_id, given if given in mounted else "./to-push", "")
            saved = f"the model is not in {repo_id} ({reason}); it is saved in {given}"
            return Stop(EXIT_NOT_PERSISTED, saved, fix=fetch + push)
    return Stop(EXIT_NOT_PERSISTED, message, fix=f"{_model_push(repo_id, str(here), inside)} before this disk is gone")


def _model_push(repo_id: str, folder: str, inside: str) -> str:
    leave_out = ["--exclude", ".cache/*"] if (Path(folder) / ".cache").exists() else []
    return shlex.join(["hf", "upload", repo_id, folder, inside or ".", *leave_out, "--repo-type", "model"])


def _model_saved(given: str, folder: Path, inside: str, token: str) -> bool:
    place = parse_bucket(given)
    start = f"{inside}/" if inside else ""
    try:
        if place.bucket_id is not None:
            create_bucket_once(place, token)
        put_in_bucket(place, {f"{start}{name}": folder / name for name in _model_names(folder)}, token)
    except (Stop, OSError, RuntimeError) as error:
        note(
            f"{given} does not take the model either ({one_line(error.message if isinstance(error, Stop) else error)})"
        )
        return False
    return True


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


if __name__ == "__main__":
    raise SystemExit(main())
