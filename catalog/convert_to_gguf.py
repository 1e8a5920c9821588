# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate>=1.12,<2",
#     "cmake>=4,<5",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "llama-cpp-python==0.3.36",  # used by: this script, for the sources of llama.cpp in it
#     "numpy>=2.2,<3",
#     "peft>=0.21,<0.22",
#     "protobuf>=6,<8",
#     "pyyaml>=6,<7",  # used by: llama.cpp's converter
#     "requests>=2.32,<3",  # used by: llama.cpp's converter
#     "safetensors>=0.7,<1",  # used by: transformers and peft
#     "sentencepiece>=0.2.1,<0.3",
#     "tenacity>=9.1,<10",
#     "torch>=2.13,<3",
#     "tqdm>=4.67,<5",  # used by: llama.cpp's converter
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
"""Convert a model or an adapter to GGUF, check each file against the original, and publish it.

Reads a model or a PEFT adapter (its base is found) from the Hub or a local folder. PEFT merges the adapter; llama.cpp's
own converter and quantiser make the files. Then llama.cpp loads each one, and its metadata, its tokens of a text set and
its predictions on fixed prompts must be the original's, else it is not published. Each file is sent when it is done; the
same command resumes a run that was killed. No GPU is used.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/convert_to_gguf.py user/my-adapter user/my-adapter-gguf
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/convert_to_gguf.py ./merged ./gguf --quants bf16,q8_0
    hf jobs uv run --secrets HF_TOKEN --attempts 3 https://huggingface.co/datasets/jobshelf/scripts/resolve/main/convert_to_gguf.py user/my-model user/my-model-gguf --quants q4_k_m,q8_0

f16, bf16, f32 and q8_0 need no compiler. For other types llama-quantize is taken from --llama-cpp, the PATH or llama.cpp's
image; where there is none, llama.cpp's library is built once, which takes a C++ compiler and minutes. ADAPTER_MODEL,
BASE_MODEL and OUTPUT_REPO stand for INPUT, --base-model and OUTPUT when there are no arguments.
Exit codes: 0 done; 1 a file disagrees with its model; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 not persisted.
"""

import argparse
import ast
import ctypes
import hashlib
import importlib
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

CONVERSION = "conversion.json"  # what each published file is, and how far it agrees with the model
CONVERTED = ("F32", "F16", "BF16", "Q8_0")  # by the converter itself; all others are quantised from a 16-bit file
QUANTIZED = (
    "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_L",
    "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K",
)  # fmt: skip
# How far predictions may be off: RMS difference of the log-probabilities of the likeliest tokens, as a share of the
# standard deviation of all of them. Models that learnt a language are off by 0.01 in Q8, 0.03 in Q5, 0.06 in Q4, 0.16
# in Q2 (bench/gguf_tolerances.py); one that learnt a sentence by heart by 0.32 in Q5; an unrelated model by 1 and more.
TOLERANCES = {
    "F3": 0.01, "F1": 0.02, "BF": 0.05, "Q8": 0.15, "Q6": 0.2, "Q5": 0.4, "Q4": 0.55, "Q3": 0.6, "Q2": 0.8,
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
TOKENIZER = ("tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.*")


def main() -> int:
    """Run the command line and return the exit code."""
    args = parse_arguments()
    try:
        facts = convert(args)
    except OSError as error:
        if type(error).__name__ == "GatedRepoError":
            stop(3, str(error), "ask for access on the page of the model, then use a token of that account")
        stop(5, f"{type(error).__name__}: {error}", "see to the network or the disk, then run the same command again")
    print(json.dumps(facts, indent=2) if args.json else "\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0


def parse_arguments() -> argparse.Namespace:
    """Return the arguments, or what three environment variables say when there are none."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("input", nargs="?", metavar="INPUT", help="Hub model or adapter (user/name), or a local folder")
    add("output", nargs="?", metavar="OUTPUT", help="Hub model (user/name), hf://buckets/user/name/folder, or ./folder")
    quants = "f16,q4_k_m,q5_k_m,q8_0"
    add("--quants", type=parse_quants, default=quants, metavar="TYPES", help="types to make (default: %(default)s)")
    add("--base-model", metavar="BASE", help="base of an adapter; default: the one that its config names")
    add("--revision", metavar="REV", help="branch, tag or commit of INPUT")
    add("--base-revision", metavar="REV", help="branch, tag or commit of the base")
    add("--llama-cpp", metavar="DIR", help="folder of a llama.cpp whose converter and llama-quantize to use")
    add(
        "--split-max-size",
        type=str.upper,
        default="48G",
        metavar="SIZE",
        help="largest file, as 2G or 500M (default: %(default)s)",
    )
    add("--allow-pickle", action="store_true", help="read weights that are pickled (without running their code)")
    add("--private", action="store_true", help="private output; always so when the input is private")
    add("--public", action="store_true", help="public output, even of a private input")
    add("--keep", action="store_true", help="keep the files that another version of this script or its input made")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(commit_every=0)
    args = parser.parse_args()
    if args.input is None:
        args.input, args.output = os.environ.get("ADAPTER_MODEL"), os.environ.get("OUTPUT_REPO")
        args.base_model = args.base_model or os.environ.get("BASE_MODEL")
    if not args.input or not args.output:
        parser.error("name the model and where its files go: INPUT OUTPUT, or set ADAPTER_MODEL and OUTPUT_REPO")
    for source in filter(None, (args.input, args.base_model)):
        if Path(source).absolute().is_relative_to(Path(args.output).absolute()):
            parser.error(f"{source} lies in OUTPUT")
    return args


def parse_quants(text: str) -> tuple[str, ...]:
    """Return the types that `text` lists, those first that the converter makes by itself."""
    names = dict.fromkeys(name.strip().upper() for name in text.split(",") if name.strip())
    known = (*CONVERTED, *QUANTIZED)
    unknown = ", ".join(name.lower() for name in names if name not in known)
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no type {unknown or 'is named'}; there are: {', '.join(known).lower()}")
    return tuple(sorted(names, key=lambda name: name not in CONVERTED))


def convert(args: argparse.Namespace) -> dict[str, Any]:
    """Check everything; then make, verify and publish one type after the other. Returns what was done."""
    require_write(args.output, "model")
    repos = find_repos(args)
    base = repos[-1]
    converter, quantizer = find_tools(args.llama_cpp)
    config = base.read("config.json")
    check_model(base, config, converter, allow_pickle=args.allow_pickle)
    deciding = argparse.Namespace(split_max_size=args.split_max_size)
    output = Output(args, run_identity(deciding, "+".join(repo.commit for repo in repos)), kind="model")
    made = find_made(output)
    missing = [quant for quant in args.quants if quant not in made]
    facts = {
        "made_from": {repo.source: repo.commit for repo in repos},
        "architecture": config.get("architectures", ["none"])[0],
        "output": args.output,
        "there": sorted(made),
        "to_make": missing,
    }
    if not missing:
        return {**facts, "status": "already there"}
    check_machine(missing, quantizer, repos)
    if args.dry_run:
        return {**facts, "status": "dry run"}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="gguf-") as folder:
        work = Path(folder)
        with timed("ask the original", seconds):
            model, reference = prepare(repos, work)
        name = re.sub(r"[^\w.-]+", "-", Path(repos[0].source).expanduser().resolve().name)
        through = "BF16" if config.get("dtype", config.get("torch_dtype")) == "bfloat16" else "F16"
        for quant in missing:
            first = quant if quant in CONVERTED else through
            target, source = work / f"{name}-{quant}.gguf", work / f"{name}-{first}.gguf"
            if not parts_of(source):
                with timed(f"convert {first}", seconds):
                    run_converter(converter, model, source, args.split_max_size)
            if source != target:
                with timed(f"quantize {quant}", seconds):
                    run_quantizer(quantizer, converter.parent, parts_of(source), target)
            with timed(f"verify {quant}", seconds):
                made[quant] = verify(parts_of(target), quant, reference)
            if quant == missing[0]:  # not before there is a file: what is wrong with the input leaves nothing behind
                output.claim(private=any(repo.private for repo in repos))
            publish(parts_of(target), made, repos, output, keep=quant == through)
    return {**facts, "status": "written", "made": made, "seconds": seconds}


@contextmanager
def timed(step: str, seconds: dict[str, float]) -> Iterator[None]:
    """Say what begins, and put down how long it took."""
    print(step, file=sys.stderr)
    began = time.monotonic()
    yield
    seconds[step] = round(time.monotonic() - began, 2)


# ---- what is checked before the weights are downloaded ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Repo:
    """A model or an adapter: a repository on the Hub at a commit, or a local folder."""

    source: str
    commit: str
    private: bool

    def fetch(self, *patterns: str) -> list[Path]:
        """Return its files whose names match a pattern, downloaded where they have to be."""
        from huggingface_hub import snapshot_download

        folder = Path(self.source).expanduser()
        if not folder.is_dir():
            wanted = {"revision": self.commit, "allow_patterns": list(patterns)}
            folder = Path(retrying(snapshot_download, self.source, **wanted))
        return sorted(path for path in folder.glob("*") if any(path.match(pattern) for pattern in patterns))

    def read(self, name: str) -> dict[str, Any]:
        """Return the object in one of its JSON files, {} when there is no such file. Stops with 4 for other content."""
        for path in self.fetch(name):
            with suppress(ValueError, RecursionError):
                if isinstance(held := json.loads(path.read_text(encoding="utf-8")), dict):
                    return held
            stop(4, f"{name} of {self.source} holds no JSON object", "repair it, or name another revision")
        return {}

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each of its files."""
        from huggingface_hub import HfApi

        folder = Path(self.source).expanduser()
        if folder.is_dir():
            return {path.name: path.stat().st_size for path in folder.glob("*") if path.is_file()}
        info = retrying(HfApi().model_info, self.source, revision=self.commit, files_metadata=True)
        return {file.rfilename: file.size or 0 for file in info.siblings}


def find_repos(args: argparse.Namespace) -> list[Repo]:
    """Return the model, or the adapter and its base. Stops with 4 for an adapter that no GGUF file can hold."""
    commit, private = find_model(args.input, args.revision)
    given = Repo(source=args.input, commit=commit, private=private)
    settings = given.read("adapter_config.json")
    if not settings:
        return [given]
    if settings.get("num_virtual_tokens") or settings.get("adapter_len"):
        found = (
            f"{args.input} is a {settings.get('peft_type')} adapter, which changes no weight: GGUF has no place for it"
        )
        stop(4, found, "train an adapter that can be merged, such as LoRA")
    task = settings.get("task_type")
    if task not in {None, "CAUSAL_LM"}:
        stop(4, f"{args.input} is an adapter for {task}, not for a language model", "name one for CAUSAL_LM")
    if not given.fetch("adapter_model.safetensors", *["adapter_model.bin"] * args.allow_pickle):
        fix = "finish its upload; --allow-pickle reads adapter_model.bin"
        stop(4, f"the adapter {args.input} has no adapter_model.safetensors", fix)
    source = str(args.base_model or settings.get("base_model_name_or_path") or "")
    if not source:
        stop(4, f"the adapter {args.input} does not name its base", "add --base-model user/name")
    print(f"{args.input} is an adapter of {source} (for another copy of it: --base-model)", file=sys.stderr)
    revision = args.base_revision or (None if args.base_model else settings.get("revision"))
    commit, private = find_model(source, revision)
    return [given, Repo(source=source, commit=commit, private=private)]


def find_tools(given: str | None) -> tuple[Path, str | None]:
    """Return llama.cpp's converter, by default the one pinned in the header, and a llama-quantize if there is one."""
    folder = Path(given).expanduser() if given else Path(sysconfig.get_path("purelib")) / "llama.cpp"
    converter = folder / "convert_hf_to_gguf.py"
    if not converter.is_file():
        fix = "name a checkout of llama.cpp with --llama-cpp, or run this script with uv, which installs the pinned one"
        stop(2 if given else 5, f"{folder} holds no convert_hf_to_gguf.py", fix)
    places = [folder, folder / "build/bin", folder / "bin", "/app", os.environ.get("PATH", "")]  # /app: in its image
    return converter, shutil.which("llama-quantize", path=os.pathsep.join(map(str, places)))


def check_model(base: Repo, config: dict[str, Any], converter: Path, *, allow_pickle: bool) -> None:
    """Stop with 4 for a model that is not there as a whole, or that the converter does not know."""
    names = set(base.sizes())
    if not config:
        held = "GGUF files already" if any(name.endswith(".gguf") for name in names) else "no config.json"
        stop(4, f"{base.source} holds {held}", "name a model that was saved with transformers")
    pickled = sorted(name for name in names if re.fullmatch(r"pytorch_model.*\.bin", name))
    if not any(re.fullmatch(r"model.*\.safetensors", name) for name in names) and not (pickled and allow_pickle):
        held = f"{pickled[0]}, which can carry code" if pickled else "no weights"
        stop(4, f"{base.source} holds {held}", "name a model with model.safetensors, or add --allow-pickle")
    missing = sorted(set(base.read("model.safetensors.index.json").get("weight_map", {}).values()) - names)
    if missing:
        found = f"{base.source} lacks {len(missing)} of its weight files ({missing[0]})"
        stop(4, found, "finish its upload, or name another revision")
    if "quantization_config" in config:
        fix = "name the model that they were made from (of an adapter: --base-model user/name)"
        stop(4, f"the weights of {base.source} are quantised already", fix)
    named = str((config.get("architectures") or ["none"])[0])
    texts = [path.read_text("utf-8", "replace") for path in converter.parent.glob("conversion/*.py")]
    if texts and not any(re.search(rf'\.register\([^)]*"{re.escape(named)}"', text) for text in texts):
        found = f"llama.cpp's converter does not know the architecture {named} of {base.source}"
        stop(4, found, "give a newer llama.cpp: --llama-cpp DIR")


def check_machine(quants: list[str], quantizer: str | None, repos: list[Repo]) -> None:
    """Stop with 5 when the disk or the tools do not suffice."""
    weights = sum(size for name, size in repos[-1].sizes().items() if name.endswith((".safetensors", ".bin")))
    needed = weights * (5 if len(repos) == 2 else 3)  # the model, two GGUF files; merged, it is there in float32
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        found = f"this takes {needed / 1e9:.1f} GB of disk space, {free / 1e9:.1f} GB are free at {folder}"
        stop(5, found, "name another folder in TMPDIR, or run a Job with more: --flavor cpu-xl")
    others = ", ".join(quant.lower() for quant in quants if quant not in CONVERTED)
    if others and not quantizer and not (shutil.which("c++") and shutil.which("make")):
        fix = "add --quants f16,q8_0, give --llama-cpp DIR, or run a Job with --image ghcr.io/ggml-org/llama.cpp:full"
        stop(5, f"{others} needs llama-quantize, or c++ and make to build it; neither is here", fix)


# ---- the original: fetched, asked, merged ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the original says: its tokens, and the log-probabilities of the token after `prompts[i][:n]`, by (i, n)."""

    prompts: list[list[int]]
    texts: list[list[int]]
    log_probabilities: dict[tuple[int, int], Any]
    template: str | None


def prepare(repos: list[Repo], work: Path) -> tuple[Path, Reference]:
    """Return a folder with the model as the converter wants it, an adapter merged, and what the original says."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = assemble(repos, work / "model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        network = AutoModelForCausalLM.from_pretrained(model, dtype="auto", local_files_only=True)
    except (ValueError, KeyError, OSError, RuntimeError, ImportError) as error:
        found = f"transformers cannot load the model, so that nothing could be compared with it: {error}"
        stop(4, found, "repair its config or tokenizer, or name another revision")
    if len(repos) == 2:
        network = attach(network, repos[0].fetch("adapter_*")[0].parent)
        widen_changed(network, work / "widened")
    rows = network.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        found = f"the tokenizer has {len(tokenizer)} tokens, the embedding {rows} rows"
        stop(4, found, "use the tokenizer that it was trained with, or an adapter saved with its resized embedding")
    widen_in_use(network.eval())
    reference = ask_original(network, tokenizer)
    if len(repos) == 2:
        merge(network, model)
    name_spare_rows(model, rows)
    return model, reference


def assemble(repos: list[Repo], folder: Path) -> Path:
    """Return the folder with links to weights and tokenizer, and with the configs, but no code of the repository."""
    folder.mkdir()
    base = repos[-1]
    speaker = next((repo for repo in repos if repo.fetch("tokenizer.json", "tokenizer.model")), base)
    weights = base.fetch("model*.safetensors*") or base.fetch("pytorch_model*")
    for path in [*weights, *base.fetch("generation_config.json"), *speaker.fetch(*TOKENIZER)]:
        (folder / path.name).symlink_to(path.absolute())
    for repo, name in ((base, "config.json"), (speaker, "tokenizer_config.json")):
        if settings := repo.read(name):
            settings.pop("auto_map", None)
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text(json.dumps(settings), encoding="utf-8")
    return folder


def attach(network: Any, adapter: Path) -> Any:
    """Return the model with the adapter beside its weights. Stops with 4, in PEFT's words, when it does not fit."""
    from peft import PeftModel
    from peft.utils.save_and_load import load_peft_weights

    words = network.get_input_embeddings()
    name = next(name for name, module in network.named_modules() if module is words)
    whole = re.compile(rf".*\b{re.escape(name)}\.(modules_to_save\.|original_module\.|base_layer\.)?weight")
    fix = "name the base that it was trained on: --base-model user/name"
    try:
        rows = [
            len(held) for key, held in load_peft_weights(str(adapter), device="cpu").items() if whole.fullmatch(key)
        ]
        if rows and rows[0] != words.num_embeddings:  # trained with new tokens
            network.resize_token_embeddings(rows[0], mean_resizing=False)
        tuned = PeftModel.from_pretrained(network, adapter)
        loaded = tuned.load_adapter(adapter, "default")
    except (ValueError, KeyError, OSError, RuntimeError, ImportError, TypeError, AttributeError) as error:
        lines = [line for line in str(error).splitlines() if "mismatch" in line] or [str(error)]
        stop(4, f"PEFT cannot load the adapter: {lines[0]}", fix)
    strange = [key for key in loaded.unexpected_keys if not re.search(r"\.(original_module|modules_to_save)\.", key)]
    if strange:
        stop(4, f"the adapter changes {strange[0]}, which the base does not have", fix)
    if loaded.missing_keys:
        stop(4, f"the adapter lacks {loaded.missing_keys[0]}, which its config announces", fix)
    return tuned


def widen_changed(network: Any, file: Path) -> None:
    """Give every layer that the adapter changes weights of its own in float32, in files: merging rounds nothing.

    A head that shares its weights with the embedding gets its own too, as the adapter may change one of the two.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in network.modules() if isinstance(module, BaseTunerLayer)]
    for module in dict.fromkeys(inner for layer in layers for inner in layer.modules()):
        for name, weight in module._parameters.items():
            if weight is not None and weight.is_floating_point() and weight.numel():
                held = torch.from_file(str(file), shared=True, size=weight.numel(), dtype=torch.float32)
                file.unlink()  # its space is free when the weight is
                held = held.view(weight.shape).copy_(weight.detach())
                module._parameters[name] = torch.nn.Parameter(held, requires_grad=False)


def widen_in_use(network: Any) -> None:
    """Let each module compute in float32: its weights are widened before it runs, and as they were after it."""
    import torch

    narrow: dict[Any, dict[str, Any]] = {}

    def widen(module: Any, _: object) -> None:
        narrow[module] = dict(module._parameters)
        for name, weight in narrow[module].items():
            if weight is not None and weight.is_floating_point():
                module._parameters[name] = torch.nn.Parameter(weight.detach().float(), requires_grad=False)

    def restore(module: Any, _: object, __: object) -> None:
        module._parameters.update(narrow.pop(module))

    for module in network.modules():
        if module._parameters:
            module.register_forward_pre_hook(widen)
            module.register_forward_hook(restore)


def ask_original(network: Any, tokenizer: Any) -> Reference:
    """Return what the model itself says to the prompts and texts."""
    import torch

    prompts = [tokenizer.encode(text) for text in PROMPTS]
    found = {}
    with torch.inference_mode():
        for number, prompt in enumerate(prompts):
            logits = network(input_ids=torch.tensor([prompt]), use_cache=False).logits[0].float()
            for length in {max(1, len(prompt) * part // POSITIONS) for part in range(1, POSITIONS + 1)}:
                found[number, length] = torch.log_softmax(logits[length - 1], dim=-1).numpy()
    texts = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
    return Reference(prompts=prompts, texts=texts, log_probabilities=found, template=template)


def merge(network: Any, model: Path) -> None:
    """Put the model with its adapter merged in the place of the weights in `model`."""
    try:
        merged = network.merge_and_unload()
    except (ValueError, NotImplementedError, AttributeError, TypeError, RuntimeError) as error:
        stop(4, f"PEFT cannot merge the adapter: {error}", "train one that it can merge, such as LoRA")
    for path in [*model.glob("model*"), *model.glob("pytorch_model*"), *model.glob("generation_config.json")]:
        path.unlink()  # a link
    merged.save_pretrained(model, max_shard_size="1GB")


def name_spare_rows(model: Path, rows: int) -> None:
    """Give the embedding's rows beyond the tokenizer's a name, as llama.cpp wants as many tokens as rows.

    `resize_token_embeddings` leaves such rows. The converter names them for every other kind of tokenizer.
    """
    path = model / "tokenizer.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kind = held.get("model", {})
    if (model / "tokenizer.model").exists() or kind.get("type") != "BPE" or not kind.get("byte_fallback"):
        return
    added = held["added_tokens"]
    tokens = 1 + max([*kind["vocab"].values(), *(token["id"] for token in added)])
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added += [{"id": number, "content": f"[PAD{number}]", **plain} for number in range(tokens, rows)]
    path.unlink()  # a link
    path.write_text(json.dumps(held), encoding="utf-8")


# ---- the files ----


def parts_of(file: Path) -> list[Path]:
    """Return the file, or the files that llama.cpp made of it."""
    return sorted([*file.parent.glob(file.name), *file.parent.glob(f"{file.stem}-*-of-*.gguf")])


def run_converter(converter: Path, model: Path, target: Path, size: str) -> None:
    """Run llama.cpp's converter; stop with 4 and its own last words when it refuses the model."""
    name, _, quant = target.stem.rpartition("-")
    options = ["--outtype", quant.lower(), "--model-name", name, "--split-max-size", size]
    said = run_tool(sys.executable, converter, model, "--outfile", target, *options)
    if said is not None:
        fix = "name another model or tokenizer, or give a newer llama.cpp: --llama-cpp DIR"
        stop(4, f"llama.cpp's converter refuses the model: {said}", fix)


def run_quantizer(quantizer: str | None, llama: Path, sources: list[Path], target: Path) -> None:
    """Run llama-quantize, or what it calls in llama.cpp's library, on the first of the 16-bit files; it finds the rest."""
    quant, split = target.stem.rpartition("-")[2], len(sources) > 1
    if quantizer:
        said = run_tool(quantizer, *["--keep-split"] * split, sources[0], target, quant)
    else:
        os.environ["LLAMA_CPP_LIB_PATH"] = str(build_library(llama, target.parent / "library"))
        llama_cpp: Any = importlib.import_module("llama_cpp")
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.keep_split = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quant}"), split
        names = str(sources[0]).encode(), str(target).encode()
        said = "see above" if llama_cpp.llama_model_quantize(*names, ctypes.byref(params)) else None
    if said is not None:
        stop(1, f"llama.cpp's quantiser failed at {quant}: {said}", f"leave {quant.lower()} out of --quants")


def build_library(llama: Path, folder: Path) -> Path:
    """Return the folder of llama.cpp's library, built there when it is not yet."""
    if not folder.exists():
        print("building llama.cpp's library", file=sys.stderr)
        cmake = Path(importlib.import_module("cmake").CMAKE_BIN_DIR) / "cmake"
        # C++ at -O1 takes half the time; what quantises is C, at -O3
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG", "-DBUILD_SHARED_LIBS=ON"]
        options += [f"-DLLAMA_BUILD_{one}=OFF" for one in ("COMMON", "TESTS", "TOOLS", "EXAMPLES", "SERVER", "APP")]
        said = run_tool(cmake, "-S", llama, "-B", folder, "-DGGML_OPENMP=OFF", *options)
        said = said or run_tool(cmake, "--build", folder, "--target", "llama", "-j", os.cpu_count() or 1)
        if said is not None:
            fix = "add --quants f16,q8_0, or install llama-quantize"
            stop(5, f"llama.cpp's library could not be built: {said}", fix)
    return folder / "bin"


def run_tool(*words: object) -> str | None:
    """Run a program offline and without the token; return None, or the last line that it said when it failed."""
    env = {name: value for name, value in os.environ.items() if "TOKEN" not in name} | {"HF_HUB_OFFLINE": "1"}
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    done = subprocess.run([str(word) for word in words], env=env, check=False, **pipe)
    lines = done.stdout.strip().splitlines() or [f"exit code {done.returncode}"]
    return None if done.returncode == 0 else lines[-1]


# ---- what the files say ----


def verify(files: list[Path], quant: str, reference: Reference) -> dict[str, Any]:
    """Return what is true of the files of a type; stop with 1 when they are not the model."""
    gguf: Any = importlib.import_module("gguf")  # llama.cpp's own, newer than the package of that name
    fields = gguf.GGUFReader(files[0]).fields
    kind = gguf.LlamaFileType(fields["general.file_type"].contents()).name.partition("_")[2]
    template = fields["tokenizer.chat_template"].contents() if "tokenizer.chat_template" in fields else None
    problems, facts = ask_gguf(files[0], quant, reference)
    problems += [f"its type is {kind}"] if kind != quant else []
    problems += ["its chat template is another one"] if reference.template not in {None, template} else []
    if problems:
        fix = f"leave {quant.lower()} out of --quants (bf16 holds weights above 65504), or use a newer --llama-cpp DIR"
        stop(1, f"{files[0].name} is not the model: {'; '.join(problems)}; it was not published", fix)
    print(f"{quant}: agrees (error {facts['error']:g}, {facts['same']} predictions the same)", file=sys.stderr)
    return {"files": {path.name: path.stat().st_size for path in files}, **facts}


def ask_gguf(file: Path, quant: str, reference: Reference) -> tuple[list[str], dict[str, Any]]:
    """Load the file with llama.cpp; return what is wrong in its tokens and predictions, and the figures."""
    import numpy as np
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.cache_ram_mib = 512, 1, 0, 0
    params.warmup, params.fit_params, params.check_tensors, params.verbosity = False, False, True, 1
    try:
        server = xllamacpp.Server(params)  # on a free port of loopback
    except RuntimeError:  # llama.cpp says why on stderr
        return ["llama.cpp does not load it, see above"], {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str, **question: object) -> dict[str, Any]:
        data = json.dumps(question).encode()
        return json.loads(opener.open(server.listening_address + path, data=data, timeout=3600).read())

    split = [ask("/tokenize", content=text, add_special=False, parse_special=False)["tokens"] for text in TEXTS]
    wrong = [text for text, ours, theirs in zip(TEXTS, split, reference.texts, strict=True) if ours != theirs]
    # The server tells no probabilities beside half a character, so another token is forced; they are those before that.
    asked = {"n_predict": 1, "n_probs": LIKELIEST, "temperature": 0, "logit_bias": [[reference.prompts[0][-1], 1000]]}
    squares, same = [], 0
    for (number, length), theirs in reference.log_probabilities.items():
        answer = ask("/completion", prompt=reference.prompts[number][:length], **asked)
        likely = answer["completion_probabilities"][0]["top_logprobs"]
        ids, ours = np.array([one["id"] for one in likely]), np.array([one["logprob"] for one in likely], dtype=float)
        squares.append(np.mean((ours - theirs[ids]) ** 2) / theirs.var())
        same += int(ids[0] == theirs.argmax())
    error, limit = math.sqrt(np.mean(squares)), TOLERANCES[quant.removeprefix("I")[:2]]
    problems = [f"it splits {text!r} into other tokens ({len(wrong)} of {len(TEXTS)} texts)" for text in wrong[:1]]
    problems += [f"its predictions differ by {error:.3g}, more than {limit:g}"] if not error <= limit else []
    figures = {"error": float(f"{error:.2g}"), "limit": limit}  # two digits: the last ones depend on the processor
    return problems, {**figures, "same": f"{same} of {len(squares)}", "texts": len(TEXTS) - len(wrong)}


# ---- the output ----


def find_made(output: "Output") -> dict[str, Any]:
    """Return what earlier runs published, by type, as far as its files are there; with --overwrite, they are to go."""
    told: dict[str, Any] = {}
    if CONVERSION in output.finished or ("run.json" in output.stale and output.fs.exists(CONVERSION)):
        told = json.loads(retrying(output.fs.cat_file, CONVERSION))["quants"]
    if output.stale:
        names = {CONVERSION, *(name for entry in told.values() for name in entry["files"])}
        output.stale |= {name for name in names if output.fs.exists(name)}
    return {quant: entry for quant, entry in told.items() if entry["files"].keys() <= output.finished}


def publish(files: list[Path], made: dict[str, Any], repos: list[Repo], output: "Output", *, keep: bool) -> None:
    """Send the files of a type, with the card and what is known of all; `keep` them here, for types made of them."""
    for path in files:
        (shutil.copy if keep else shutil.move)(path, output.folder / path.name)
    (output.folder / "README.md").write_text(card(made, repos, output.target), encoding="utf-8")
    (output.folder / CONVERSION).write_text(json.dumps({"quants": made}), encoding="utf-8")  # last: its files are there
    output.send()


def card(made: dict[str, Any], repos: list[Repo], target: str) -> str:
    """Return the card: which files, how large, how far they agree with the model, and what they were made from."""
    from huggingface_hub import ModelCard

    held: dict[str, Any] = {}
    for path in [path for repo in repos[::-1] for path in repo.fetch("README.md")]:  # the adapter's own counts more
        held |= ModelCard(path.read_text("utf-8", "replace"), ignore_metadata_errors=True).data.to_dict()
    kept = ("license", "license_name", "license_link", "language", "pipeline_tag")
    front = {key: held[key] for key in kept if held.get(key)}
    front |= {"library_name": "gguf", "tags": ["gguf", "llama.cpp", "uv-script", "jobshelf"]}
    if not Path(repos[0].source).expanduser().is_dir():
        front |= {"base_model": repos[0].source, "base_model_relation": "quantized"}
    rows = [
        f"| {quant} | {min(one['files'])} | {sum(one['files'].values()) / 1e9:.3g} | {one['error']:g} | {one['same']} |"
        for quant, one in sorted(made.items())
    ]
    head = "| type | file | GB | error | same next token |\n|---|---|---|---|---|"
    about = f"""*Error*: how far the log-probabilities of the {LIKELIEST} likeliest tokens are from the original's, as a
share of their spread. Each file was loaded with llama.cpp and compared before it was published."""
    sources = json.dumps({repo.source: repo.commit for repo in repos}, indent=1)
    made_from = f"Made by `convert_to_gguf.py` from\n\n```json\n{sources}\n```\n"
    table = "\n".join([head, *rows])
    return f"---\n{json.dumps(front, default=str)}\n---\n# GGUF files\n\n{table}\n\n{about}\n\n{made_from}"


# ---- shared functions ----


def find_model(source: str, revision: str | None) -> tuple[str, bool]:
    """Return the commit of a Hub model, or the digest of a local folder, and whether it is private. Stops with 3 or 4."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    folder = Path(source).expanduser()
    try:
        if folder.is_dir():
            digest = hashlib.sha256()
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                with path.open("rb") as opened:
                    found = hashlib.file_digest(opened, "sha256").hexdigest()
                digest.update(f"{path.relative_to(folder)} {found}\n".encode())
            return digest.hexdigest(), False
        info = retrying(HfApi().model_info, source, revision=revision)
        return info.sha, bool(info.private)
    except HFValidationError:
        stop(4, f"{source} is neither a local folder nor a Hub model", "write ./folder or user/name")
    except HfHubHTTPError as error:
        code = 4 if get_token() else 3  # without a token the Hub does not say whether a model exists
        fix = "check the name; a private model needs a token: `hf auth login`, or --secrets HF_TOKEN for a Job"
        stop(code, f"the Hub answered {error.response.status_code} for {source}", fix)


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
    raise SystemExit(main())
