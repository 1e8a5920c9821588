# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate>=1.15,<2",
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "matplotlib>=3.11,<4",
#     "peft>=0.21,<0.22",  # used by: trl
#     "pyyaml>=6,<7",
#     "tenacity>=9.1,<10",
#     "torch>=2.13,<3",
#     "trackio>=0.43,<0.44",  # used by: transformers
#     "transformers>=5.19,<6",
#     "trl>=1.16,<1.17",
#     "zstandard>=0.25,<1",  # used by: fsspec
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "a10g-large"
# timeout = "4h"
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# version = "0.2.0"
# title = "Preference training (DPO)"
# task = "fine-tuning"
# tags = ["dpo", "trl", "lora", "preference", "text-generation"]
# inputs = ["dataset", "model"]
# outputs = ["model"]
# persists = "hub-model"
# token = "write"
# shardable = false
# license = "Apache-2.0"
# aliases = ["train-dpo"]
# status = "stable"
# rehearse = ["{input:preferences}", "{output}", "--model", "{model}", "--max-steps", "4", "--save-steps", "1", "--per-device-train-batch-size", "2", "--gradient-accumulation-steps", "1"]
# estimate = ["--job", "train", "--method", "dpo", "--epochs", "1"]
# ///
"""Train a language model on pairs of a better and a worse answer with TRL's DPOTrainer; resumable.

Reads prompts with a chosen and a rejected answer, as text or conversations; the prompt may be in both answers instead. The
model may be a LoRA adapter, as train_sft.py makes it: it is trained further, and is its own reference. Otherwise trains a
new adapter, with --full all weights. Every option of trl.DPOConfig and trl.ModelConfig works under its own name
(--help-all lists them), also in TRL's YAML by --config FILE. Before the first start, and by --dry-run, it reads all rows and
takes one step on a tiny model of the same architecture. Run the same command again after a crash, and it resumes.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_dpo.py ./pairs.jsonl ./out --model Qwen/Qwen2.5-0.5B-Instruct --map question=prompt
    hf jobs uv run --secrets HF_TOKEN https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_dpo.py trl-lib/ultrafeedback_binarized user/qwen-dpo --model Qwen/Qwen2.5-0.5B-Instruct

TRL's own form works as well, and trains all weights unless --use_peft is given: --model_name_or_path M --dataset_name D
--output_dir O --push_to_hub --hub_model_id R. Several GPUs are all used. Needs a token that may write.
Exit codes: 0 done; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 trained, not persisted; 143 stopped, saved.
"""

import argparse
import ast
import copy
import csv
import dataclasses
import difflib
import glob
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_dpo.py"
# What is not TRL's own default, and why
DEFAULTS = {
    "save_total_limit": (1, "only the last checkpoint is needed to resume"),
    "disable_tqdm": (True, "logs of a Job have no progress bars"),
}
LORA = {
    "lora_target_modules": ("all-linear", "adapters on every layer learn as much as all weights"),
    "learning_rate": (1e-5, "adapters need ten times the rate of all weights"),
}
WANTED = [("prompt", "chosen", "rejected"), ("chosen", "rejected")]
LIKELY = {"question": "prompt", "instruction": "prompt", "query": "prompt", "input": "prompt"}
LIKELY |= {"better": "chosen", "preferred": "chosen", "worse": "rejected", "dispreferred": "rejected"}
# What changes speed, memory, place or messages, and not what is learned. A name covers those that begin with it.
IGNORED = (
    *("accelerator_config", "activation_", "bf16", "dataloader_", "dataset_num_proc", "dataset_streaming", "ddp_"),
    *("debug", "deepspeed", "disable_tqdm", "eval_accum", "fp16", "fsdp", "gradient_accumulation"),
    *("gradient_checkpointing", "hub_", "local_rank", "log_", "logging_", "output_dir", "overwrite_", "parallelism"),
    *("per_device_", "project", "push_to_hub", "report_to", "resume_from", "run_name", "save_", "skip_memory"),
    *("tf32", "torch_", "trackio_", "use_cpu"),
)
QUIET = {"use_cpu": True, "max_steps": 1, "save_strategy": "no", "eval_strategy": "no", "push_to_hub": False}
QUIET |= {"gradient_accumulation_steps": 1, "load_best_model_at_end": False, "max_length": None}
UNUSED = {"fp16": False, "bf16": False, "tf32": None, "attn_implementation": None, "torch_compile": False}
UNUSED |= {"load_in_4bit": False, "load_in_8bit": False, "use_liger_kernel": False, "use_vllm": False}
UNUSED |= {"packing": False, "padding_free": False, "deepspeed": None, "fsdp": None, "optim": "adamw_torch"}
UNUSED |= {"report_to": []}
PACKAGES = {"8bit": "bitsandbytes", "bnb": "bitsandbytes", "4bit": "bitsandbytes", "liger": "liger_kernel"}
PACKAGES |= {"deepspeed": "deepspeed", "vllm": "vllm", "flash_attention_2": "flash_attn"}
PACKAGES |= {name: name for name in ("clearml", "comet_ml", "mlflow", "swanlab", "tensorboard", "wandb")}
SMALL = {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 64}
SMALL |= {"moe_intermediate_size": 64, "shared_expert_intermediate_size": 64, "num_experts_per_tok": 2}
SMALL |= {"num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1}
SMALL |= {"first_k_dense_replace": 0, "depth": 1}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = trainer_arguments(argv, str(__doc__).partition("\n")[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no folder is left behind
    require_write(args.output, "model")
    read_options(args)
    source = args.script.dataset_name, args.script.dataset_config
    rows, commit, private = read_rows(*source, args.script.dataset_train_split)
    rows = map_columns(rows, args.map, WANTED, LIKELY).select(range(len(rows))[: args.max_samples])
    check_pairs(rows, source[0])
    tested = None if args.config.eval_strategy == "no" else read_rows(*source, args.script.dataset_test_split)[0]
    tested = tested and map_columns(tested, args.map, [tuple(rows.column_names)], LIKELY)
    base, private_base = find_model(args.model.model_name_or_path, args.model.model_revision)
    run = training_identity(args, commit, base)
    if not Path(args.model.model_name_or_path).is_dir():
        args.model.model_revision = base
    made = (
        f"`{args.model.model_name_or_path}`, trained on {len(rows):,} rows of `{source[0]}` by [train_dpo.py]({URL})."
    )
    print(f"{made} Model at {base}, rows at {commit}, to {args.output}")
    make = partial(make_trainer, rows, tested, find_adapter(args))
    return run_training(args, run, make, check_rows, made, private=private or private_base)


def read_options(args: argparse.Namespace) -> None:
    """Add what TRL parses to `args`, and the place of the model."""
    from trl import DPOConfig, ModelConfig, ScriptArguments

    args.script, args.config, args.model = parse_trl(args, [ScriptArguments, DPOConfig, ModelConfig], DEFAULTS, LORA)
    if not args.script.dataset_name or not args.model.model_name_or_path:
        stop(2, "dataset or model is missing", "train_dpo.py DATASET OUTPUT --model M")
    args.output = training_target(args.config)


def find_adapter(args: argparse.Namespace) -> str | None:
    """Return the folder of the model if it is an adapter, and put its base model in its place."""
    from huggingface_hub import HfApi

    name, commit = args.model.model_name_or_path, args.model.model_revision
    if Path(name).is_dir():
        is_adapter = Path(name, "adapter_config.json").is_file()
    else:
        is_adapter = retrying(HfApi().file_exists, name, "adapter_config.json", revision=commit)
    if not is_adapter:
        return None
    if args.full:
        stop(2, f"{name} is an adapter, and --full trains all weights", "merge it into its base model first")
    folder = fetch_model(name, commit)
    base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    found, _ = find_model(base, None)
    args.model.model_name_or_path, args.model.model_revision = base, "main" if Path(base).is_dir() else found
    args.model.use_peft = False  # no second adapter
    print(f"{name} is an adapter for {base}: it is trained further, and its present state is the reference")
    return str(folder)


def make_trainer(rows: Any, tested: Any, adapter: str | None, config: Any, model: Any, *callbacks: Any) -> Any:
    """Return the trainer as `trl dpo` makes it. Without callbacks it rehearses: the reference scores one row, not all."""
    if config.precompute_ref_log_probs and not callbacks:
        load_trainer(rows.select([0]), tested and tested.select([0]), adapter, config, model, is_real=False)
        config.precompute_ref_log_probs = False
    return load_trainer(rows, tested, adapter, config, model, *callbacks, is_real=bool(callbacks))


def load_trainer(
    rows: Any, tested: Any, adapter: str | None, config: Any, model: Any, *callbacks: Any, is_real: bool
) -> Any:
    """Return DPOTrainer with the model, or with the adapter on it, that is to be trained."""
    from peft import PeftConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOTrainer, get_peft_config, get_quantization_config

    class DropReference(TrainerCallback):
        def on_train_end(self, *_: Any, model: Any, **__: Any) -> None:
            model.delete_adapter("ref")

    config, base = copy.copy(config), model.model_name_or_path
    loading = {"revision": model.model_revision, "trust_remote_code": config.trust_remote_code}
    loading |= {"attn_implementation": model.attn_implementation, "dtype": model.dtype}
    loading |= config.model_init_kwargs or {}
    given = {"train_dataset": rows, "eval_dataset": tested, "callbacks": [*callbacks]}
    quantization = get_quantization_config(model)
    if adapter is None:
        config.model_init_kwargs = loading
        given |= {"quantization_config": quantization, "peft_config": get_peft_config(model)}
        return DPOTrainer(base, args=config, **given)
    config.model_init_kwargs = None
    weights = AutoModelForCausalLM.from_pretrained(base, quantization_config=quantization, **loading)
    if is_real:
        weights = PeftModel.from_pretrained(weights, adapter, is_trainable=True)
        given["callbacks"].append(DropReference())
    else:
        settings = PeftConfig.from_pretrained(adapter)
        settings.inference_mode = False
        weights = get_peft_model(weights, settings)
    return DPOTrainer(weights, args=config, processing_class=AutoTokenizer.from_pretrained(adapter), **given)


def check_rows(trainer: Any, config: Any) -> list[int]:
    """Stop with 4 at rows that train nothing or wrongly; return the number of the longest row, and of another."""
    names, size = ["prompt_ids", "chosen_ids", "rejected_ids"], trainer.model.get_input_embeddings().weight.shape[0]
    if names[0] not in trainer.train_dataset.column_names:  # TRL reads images step by step
        return [0, len(trainer.train_dataset) // 2]
    tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    limit, ends = config.max_length or sys.maxsize, False
    lengths, prompts, alike = [], [], 0
    for number, row in enumerate(trainer.train_dataset.select_columns(names)):
        prompt, chosen, rejected = row.values()
        if (largest := max(prompt + chosen + rejected, default=0)) >= size:
            found = f"row {number} has token {largest}, the model has {size} tokens"
            stop(4, found, "use the tokenizer of this model")
        room = max(limit - len(prompt), 0) if config.truncation_mode == "keep_start" else limit
        alike += chosen[:room] == rejected[:room]
        ends |= tokenizer.eos_token_id in chosen
        prompts.append(len(prompt))
        lengths.append(len(prompt) + max(len(chosen), len(rejected)))
    lost = sum(length >= limit for length in prompts) if config.truncation_mode == "keep_start" else 0
    if lost == len(prompts):
        found = f"each prompt has {limit:,} tokens or more, row 0 has {prompts[0]:,}: no row is left"
        stop(4, found, f"add --max_length {max(lengths)}")
    if alike == len(prompts):
        found = f"chosen and rejected answers are the same in each row, or in its first {limit:,} tokens"
        stop(4, found, f"check the columns and --map; a row has up to {max(lengths):,} tokens: --max_length")
    if not ends:
        found = f"no answer has the end {tokenizer.eos_token!r} of the tokenizer; they end with"
        print(f"{found} {tokenizer.decode(chosen[-2:])!r}: the model may not stop; train_sft.py has --eos_token")
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    over = sum(length > limit for length in lengths) - lost
    print(f"{sum(lengths):,} tokens, at most {lengths[longest]:,} in a row ({longest}); {over:,} rows are cut")
    if alike:  # among them those without room for an answer, which TRL leaves out
        print(
            f"{alike:,} pairs teach nothing: {lost:,} prompts leave no room for an answer, the others have equal ones"
        )
    return [longest, len(lengths) // 2]


def run_training(
    args: argparse.Namespace, run: dict[str, str], make: Callable[..., Any], look: Any, made: str, *, private: bool
) -> int:
    """Train with what `make(config, model, *callbacks)` returns, from the last checkpoint on; return the exit code.

    Before the first start there is a `smoke_step`. After it, every process of a machine with several GPUs comes here.
    """
    output = kept = TrainingOutput(args, args.output, run)
    if args.checkpoints:
        kept = TrainingOutput(args, args.checkpoints, run)
    shared, is_first = os.environ.get("TRAINING_FOLDER"), os.environ.get("RANK", "0") == "0"
    if output.is_finished:
        print(f"already there: {args.output}")
        return 0
    if args.dry_run or not (shared or kept.checkpoint):
        smoke_step(make, args.config, args.model, look)
    if args.dry_run:
        return 0
    given = shared or output.folder
    with nullcontext(given) if given else tempfile.TemporaryDirectory() as folder:
        if not shared:
            for place in {output, kept}:
                place.claim(private=private)
            if kept.checkpoint and kept.folder != Path(folder):
                retrying(kept.fs.get, kept.checkpoint, f"{folder}/", recursive=True)
            if args.processes > 1:
                return launch_on_gpus(args.processes, Path(folder))
        if is_first and args.config.hub_strategy == "end":
            print("hub_strategy end: no checkpoint is sent, so a training that is stopped starts over")
        is_sent = is_first and kept.folder != Path(folder) and args.config.hub_strategy != "end"
        keeper = keep_checkpoints(kept if is_sent else None, args.commit_every)
        vars(args.config).update(output_dir=str(folder), push_to_hub=False)
        trainer = make(args.config, args.model, keeper)
        failed = guard_monitors(trainer, run)
        try:
            code = train_and_publish(trainer, keeper, output, kept, made)
        except SystemExit as left:
            code = int(left.code or 0)
    if failed:
        sys.stdout.flush()
        os._exit(code)  # whatever such a monitor does at an exit may hang
    return code


def train_and_publish(trainer: Any, keeper: Any, output: Any, kept: Any, made: str) -> int:
    """Train from the last checkpoint on, and publish the model; return 143 after a SIGTERM, which comes first."""
    config, model, is_first = trainer.args, Path(trainer.args.output_dir, "model"), trainer.is_world_process_zero()
    last = model.parent / kept.checkpoint if kept.checkpoint else config.resume_from_checkpoint
    trainer.train(resume_from_checkpoint=last and str(last))
    keeper.settle()
    if keeper.stopped:
        print("stopped, the checkpoint is saved; run the same command again to resume", file=sys.stderr)
        return 143 if is_first else 0
    trainer.save_model(str(model))
    if is_first:
        (model / "training_args.bin").unlink()  # a pickle
        describe_training(trainer, model, f"# {Path(output.target).name}\n\n{made}", output.run)
        output.publish(model)
        if kept is not output:
            kept.clear()
        print(f"written to {output.target}")
    return 0


def trainer_arguments(argv: list[str] | None, description: str) -> argparse.Namespace:
    """Return our options; `words` are those that TRL parses. Imports nothing heavy."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    add = parser.add_argument
    add("dataset", metavar="DATASET", nargs="?", help="Hub dataset (user/name), or a local file or folder")
    add("output", metavar="OUTPUT", nargs="?", help="Hub model (user/name), hf://buckets/..., or a folder (./out)")
    add("--model", "--model-name", dest="name", metavar="M", help="model to train: on the Hub, or a local folder")
    add("--config", dest="yaml", metavar="FILE", help="YAML file with options of TRL")
    add("--split", metavar="NAME", help="split to train on (default: train)")
    add("--map", nargs="+", default=[], metavar="OLD=NEW", help="rename columns first")
    add("--max-samples", type=int, metavar="N", help="train on the first N rows only")
    add("--full", action="store_true", help="train all weights, not a LoRA adapter")
    add("--checkpoints", metavar="PLACE", help="keep checkpoints there, as in hf://buckets/user/name (default: OUTPUT)")
    add("--commit-every", type=int, default=240, metavar="S", help="seconds between checkpoints (default: 240)")
    add("--num-processes", type=int, metavar="N", help="processes to train in (default: one for each GPU)")
    add("--private", action="store_true", help="make a new output private, as for private input")
    add("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="resume what another version of this script or other options began")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, take one step on a tiny model, write nothing")
    add("--help-all", action="store_true", help="show the options of TRL, which all work here, and exit")
    given = [word.partition("=") for word in (sys.argv[1:] if argv is None else argv)]
    words = [(head.replace("_", "-") if head.startswith("--") else head) + is_ + value for head, is_, value in given]
    places = list(takewhile(lambda word: not word.startswith("-"), words))
    if len(places) not in {0, 2}:
        parser.error("DATASET and OUTPUT come first, then the options")
    args, args.words = parser.parse_known_args([*(places or ["", ""]), *words[len(places) :]])
    if args.commit_every < 0 or min(args.max_samples or 1, args.num_processes or 1) < 1:
        parser.error("--max-samples and --num-processes are at least 1, --commit-every is at least 0")
    if not all(0 < pair.find("=") < len(pair) - 1 for pair in args.map):
        parser.error("--map takes OLD=NEW")
    args.words += ["--model-name-or-path", args.name] if args.name else []
    args.words += ["--dataset-train-split", args.split] if args.split else []
    args.words += ["--use-peft", "false"] if args.full else []
    args.words += ["--dataset-name", args.dataset, "--output-dir", args.output] if places else []
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", args.output):  # unless --push-to-hub false follows
        args.words = ["--push-to-hub", "--hub-model-id", args.output, *args.words]
    return args


def parse_trl(args: argparse.Namespace, kinds: list[Any], defaults: dict[str, Any], lora: dict[str, Any]) -> list[Any]:
    """Return an instance of each of TRL's `kinds`, from `args.words`, else the YAML file, else our defaults.

    Each default is a value and its reason, and is printed; those of `lora` are for adapters. Stops with 2. How many
    processes train is in `args.processes`: those that run, those asked for, or one for each GPU.
    """
    import torch
    import yaml
    from trl import TrlParser

    args.processes = int(os.environ.get("WORLD_SIZE", "0")) or args.num_processes or max(1, torch.cuda.device_count())
    if args.dataset:
        defaults = defaults | {"use_peft": (True, "an adapter fits on a small GPU; --full trains all weights")}
    if not torch.cuda.is_available():  # else TRL refuses even its own defaults
        defaults = defaults | {"use_cpu": (True, "there is no GPU"), "bf16": (False, "there is no GPU")}
        args.words += ["--tf32", "false"] if any(word.startswith("--tf32") for word in args.words) else []
    try:
        text = Path(args.yaml).read_text(encoding="utf-8") if args.yaml else "{}"
        file = {str(name).replace("-", "_"): value for name, value in yaml.safe_load(text).items()}
        os.environ.update({name: str(value) for name, value in (file.pop("env", None) or {}).items()})
        for table in (defaults, defaults | lora):
            parser = TrlParser(kinds, allow_abbrev=False, add_help=False, usage="DATASET OUTPUT [options]")
            if args.help_all:
                parser.print_help()
                raise SystemExit(0)
            ours = {name: value for name, (value, _) in table.items()}
            unknown = parser.set_defaults_with_config(**ours | file)[::2]
            *parsed, rest = parser.parse_args_and_config(args.words, return_remaining_strings=True)
            if not any(getattr(one, "use_peft", False) for one in parsed):
                break
    except (OSError, ValueError, TypeError, AttributeError, ImportError, yaml.YAMLError) as error:
        stop(2, f"TRL refuses the options: {error}", "see --help-all")
    if unknown := [*unknown, *rest]:
        known = {name for action in parser._actions for name in action.option_strings}
        near = difflib.get_close_matches("--" + unknown[0].lstrip("-").replace("-", "_"), known, 1)
        stop(2, f"{unknown[0]} is no option", f"did you mean {near[0]}?" if near else "see --help and --help-all")
    for name, (value, reason) in table.items():
        if any(getattr(one, name, None) == value for one in parsed):
            print(f"{name} {value}: {reason}")
    return parsed


def training_target(config: Any) -> str:
    """Return the Hub model that --push_to_hub names, else the place that --output_dir does. Stops with 3."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if not config.push_to_hub:
        is_like_a_repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", config.output_dir)
        return f"./{config.output_dir}" if is_like_a_repo else config.output_dir
    name = config.hub_model_id or Path(config.output_dir).name
    if "/" not in name:
        owner = "USER"
        with suppress(HfHubHTTPError):  # a token that is refused is for require_write
            owner = retrying(HfApi().whoami)["name"] if get_token() else owner
        name = f"{owner}/{name}"
    require_write(name, "model")
    return name


def training_identity(args: argparse.Namespace, source: str, model: str) -> dict[str, str]:
    """Return `run_identity` of a training: the options that differ from TRL's defaults and change what is learned."""
    batch = args.config.per_device_train_batch_size * args.config.gradient_accumulation_steps * args.processes
    changed = {"rows_in_a_step": batch, "map": args.map, "max_samples": args.max_samples}
    for settings in (args.script, args.config, args.model):
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            if value != field.default and not field.name.startswith(IGNORED):
                changed[field.name] = str(value)
    return {**run_identity(argparse.Namespace(**changed), source), "model": model}


def map_columns(rows: Any, pairs: list[str], wanted: list[tuple[str, ...]], likely: dict[str, str]) -> Any:
    """Return the rows, renamed by OLD=NEW `pairs`; stop with 4 unless they have all columns of one tuple in `wanted`.

    `likely` are usual names and what they would be here, for the advice.
    """
    names, listed = dict(pair.split("=", 1) for pair in pairs), ", ".join(rows.column_names[:20])
    if missing := names.keys() - {*rows.column_names}:
        stop(4, f"there is no column {min(missing)!r}", f"choose from {listed}")
    columns = [names.get(name, name) for name in rows.column_names]
    if twice := [name for name in columns if columns.count(name) > 1]:
        stop(4, f"there would be two columns {twice[0]!r}", f"also rename the other: --map {twice[0]}=other_{twice[0]}")
    if not any({*one} <= {*columns} for one in wanted):
        found = {new: old for old, new in likely.items() if old in columns} | dict.fromkeys(columns, "")
        fit = next((one for one in wanted if {*one} <= found.keys()), ())
        moves = " ".join(f"{found[name]}={name}" for name in fit if found[name])
        forms = " or ".join("+".join(one) for one in wanted)
        fix = f"--map {moves}" if moves else "dataset_inspector.py shows how to map them"
        stop(4, f"the columns are {listed}; expected {forms}", fix)
    return rows.rename_columns(names)


def check_pairs(rows: Any, source: str) -> None:
    """Stop with 4 unless `chosen`, `rejected` and a `prompt`, if any, are all text or all messages.

    TRL looks at one column of the first row and takes the others to be alike; a prompt that the answers repeat is
    trained on twice.
    """
    names = [name for name in ("chosen", "rejected", "prompt") if name in rows.column_names]
    expected, repeats = "", "prompt" in names and len(rows) > 0
    for number, row in enumerate(rows.select_columns(names)):
        for name in names:
            kind = kind_of_answer(row[name])
            expected = expected or (kind if kind in {"text", "messages"} else "text or messages")
            if kind != expected:
                fix = "correct or remove the row; dataset_inspector.py prints the code that maps other formats"
                if name == "prompt" and expected == "messages" and row["chosen"][0]["role"] != "assistant":
                    fix = "the answers hold it too: --map prompt=question"
                stop(4, f"row {number} of {source}: {name} is {kind}, expected {expected}", fix)
        prompt = row.get("prompt")
        repeats = repeats and all(prompt and row[name][: len(prompt)] == prompt for name in names[:2])
    if repeats:
        found = f"each chosen and rejected answer of {source} begins with its prompt"
        stop(4, found, "TRL finds the prompt in them without that column: --map prompt=question")


def kind_of_answer(value: Any) -> str:
    """Return `text`, `messages`, or what the value is instead."""
    if isinstance(value, str):
        return "text"
    if not isinstance(value, list) or not value:
        return "empty" if value in (None, []) else f"a {type(value).__name__}"
    for turn in value:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            return "a list of something other than messages with role and content"
        if turn.get("content") is None and not turn.get("tool_calls"):
            return f"messages of which one of role {turn['role']!r} has no content"
    return "messages"


def smoke_step(make: Callable[..., Any], asked: Any, model: Any, look: Callable[..., list[int]]) -> None:
    """Take one step on the CPU with the trainer that `make(config, model)` makes, on a model of the same kind, shrunk.

    `look(trainer, asked)` checks the rows, all tokenised and none cut, and returns the numbers of those to step on.
    """
    from transformers import PrinterCallback

    if asked.trust_remote_code:
        print("no rehearsal: the model brings code of its own")
        return
    config, model = copy.copy(asked), copy.copy(model)
    for settings in (config, model):
        for name, value in UNUSED.items():
            found = getattr(settings, name, None)
            text = f"{name} {getattr(found, 'value', found)}"  # optim is an enumeration
            needed = [package for key, package in PACKAGES.items() if found and key in text]
            if needed and not find_spec(needed[0]):
                fix = f"uv run --with {needed[0].replace('_', '-')} train...; for a Job --with as well"
                stop(5, f"{text}: the package {needed[0]} is not installed", fix)
            if found and found != value and (needed or name != "optim"):
                print(f"rehearsal on the CPU: {name} is {value}, not {text.partition(' ')[2]}")
                setattr(settings, name, value)
    with tempfile.TemporaryDirectory() as folder:
        vars(config).update(QUIET, output_dir=folder)
        use_device(config)
        try:
            shrink_model(model.model_name_or_path, folder, model.model_revision)
            model.model_name_or_path, model.model_revision = folder, "main"
            trainer = make(config, model)
            trainer.remove_callback(PrinterCallback)
            trainer.train_dataset = trainer.train_dataset.select(look(trainer, asked)).map(cut_row)
            trainer.train()
        except Exception as error:  # noqa: BLE001 -- TRL refuses rows, templates and options in many ways
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            mapped = [frame.f_locals for frame in frames if frame.f_code.co_name == "iter_outputs"]
            where = f"row {mapped[-1]['i']}" if mapped and "i" in mapped[-1] else "this training"
            stop(4, f"TRL refuses {where}: {error!r}", "correct that; nothing was written yet")
    use_device(asked)


def use_device(config: Any) -> Any:
    """Return the device that the settings ask for, from now on that of accelerate."""
    vars(config).pop("_setup_devices", None)
    return config.device


def cut_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the last 1,024 tokens of a row: all that counts in a rehearsal, at a fraction of the memory."""
    tokens = {key: value for key, value in row.items() if key.endswith(("ids", "labels", "mask", "masks"))}
    return {key: value[-1024:] for key, value in tokens.items() if isinstance(value, list)}


def shrink_model(name: str, folder: str, revision: str) -> None:
    """Write a model to `folder`: tokenizer, vocabulary and head size of the model `name`, one layer, random weights."""
    import transformers
    from transformers import AutoConfig, AutoProcessor, GenerationConfig

    config = AutoConfig.from_pretrained(name, revision=revision)
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    for part in filter(None, (text, getattr(config, "vision_config", None))):
        for key, value in SMALL.items():
            if getattr(part, key, None) is not None:
                setattr(part, key, value)
        if getattr(part, "layer_types", None):
            part.layer_types = part.layer_types[:1]
    text.hidden_size = head
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = getattr(transformers, config.architectures[0])(config)
    with suppress(OSError):  # not every model has one
        model.generation_config = GenerationConfig.from_pretrained(name, revision=revision)
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(name, revision=revision).save_pretrained(folder)


def launch_on_gpus(processes: int, folder: Path) -> int:
    """Run this command again in processes that share `folder`; return the first exit code that is not 0, if any.

    accelerate's launcher hides that code, and cannot start what `uv run -` reads.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    shared = {"TRAINING_FOLDER": str(folder), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": threads, **address}
    started = []
    for rank in range(processes):
        variables = os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=variables))
    signal.signal(signal.SIGTERM, lambda *_: [one.terminate() for one in started])
    while None in (codes := [one.poll() for one in started]) and not any(codes):
        time.sleep(0.2)
    for one in started if any(codes) else ():  # they would wait for it
        one.kill()
    return next(filter(None, codes), 0)


def guard_monitors(trainer: Any, run: dict[str, str]) -> list[Any]:
    """Let training go on without what `report_to` names once it fails, or when it takes a minute; return what failed.

    Trackio gets a name for this run; on a Job, a Space.
    """
    config, failed = trainer.args, list[Any]()
    digest = hashlib.sha256(json.dumps(run).encode()).hexdigest()
    config.run_name = config.run_name or f"{Path(trainer.model.config._name_or_path).name}-{digest[:6]}"
    config.trackio_static_space_id = config.trackio_static_space_id or False  # else each run would make a new one
    config.trackio_space_id = config.trackio_space_id or ("trackio" if "JOB_ID" in os.environ else None)

    def late(*_: Any) -> None:
        raise TimeoutError("no answer within a minute")

    def guarded(monitor: Any, call: Any) -> Any:
        def attempt(*args: Any, **kwargs: Any) -> None:
            if monitor in failed:
                return
            try:
                signal.setitimer(signal.ITIMER_REAL, 60, 1)  # again each second: a monitor may catch it
                try:
                    call(*args, **kwargs)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more
                print(f"{type(monitor).__name__}: {error}; training goes on without it", file=sys.stderr)
                failed.append(monitor)

        return attempt

    signal.signal(signal.SIGALRM, late)
    for monitor in trainer.callback_handler.callbacks:
        if type(monitor).__module__.startswith("transformers.integrations"):
            for event in [name for name in dir(monitor) if name.startswith("on_")]:
                setattr(monitor, event, guarded(monitor, getattr(monitor, event)))
    return failed


def keep_checkpoints(output: Any, every: float) -> Any:
    """Return a callback that saves a checkpoint every so many seconds and on SIGTERM, and sends each to `output`, if any.

    They are sent in the background. While the place does not answer, training goes on.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    pool = ThreadPoolExecutor(1)

    class Keeper(TrainerCallback):
        asked, stopped, saved, sending = False, False, 0.0, pool.submit(int)

        def on_train_begin(self, args: Any, *_: Any, **__: Any) -> None:
            signal.signal(signal.SIGTERM, lambda *_: vars(self).update(asked=True))
            self.links, self.saved = Path(args.output_dir, ".sending"), time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            is_last = state.global_step >= state.max_steps  # then the model itself follows
            wanted = [self.asked and not is_last, time.monotonic() - self.saved > every]
            self.stopped, is_due = broadcast_object_list(wanted)  # all processes save the same step
            control.should_save |= is_due or self.stopped
            control.should_training_stop |= self.stopped

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not all(math.isfinite(logs.get(name, 0)) for name in ("loss", "grad_norm")):
                stop(4, f"the loss is no number at step {state.global_step}", "lower --learning-rate; check the rows")

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.saved = time.monotonic()
            PartialState().wait_for_everyone()
            is_last = state.global_step >= state.max_steps
            if output is None or not state.is_world_process_zero or is_last:
                return
            wait([self.sending], None if self.stopped else 30)
            if self.sending.done():  # else the next one is sent
                self.settle()
                name = f"checkpoint-{state.global_step}"
                shutil.copytree(Path(args.output_dir, name), self.links / name, copy_function=os.link)
                self.sending = pool.submit(output.send, self.links)
            if self.stopped:
                self.settle()

        def settle(self) -> None:
            """Wait for the checkpoint on its way; say so when it was refused."""
            try:
                self.sending.result()
            except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more
                print(f"the checkpoint was not sent, training goes on: {error}", file=sys.stderr)
            shutil.rmtree(self.links, ignore_errors=True)

    return Keeper()


def describe_training(trainer: Any, folder: Path, made: str, run: dict[str, Any]) -> None:
    """Write the log of a training, a plot of it, and the card, which says that the model was `made` by this `run`."""
    from matplotlib.figure import Figure

    passing = ("runtime", "_second", "step_time", "num_tokens")  # what an interrupted training counts otherwise
    log = [
        {key: value for key, value in entry.items() if not key.endswith(passing)}
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_loss" in entry
    ]
    lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in log)
    (folder / "training_log.jsonl").write_text(lines, encoding="utf-8")
    measure = "reward" if any("reward" in entry for entry in log) else "loss"
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    for name in (measure, f"eval_{measure}"):
        points = [(entry["step"], entry[name]) for entry in log if entry.get(name) is not None]
        axes.plot([step for step, _ in points], [value for _, value in points], label=name)
    axes.set(xlabel="step", ylabel=measure)
    axes.legend()
    figure.savefig(folder / f"{measure}.png", metadata={"Software": None})
    base, tags = trainer.model.config._name_or_path, ["uv-script", "jobshelf", *trainer._tag_names]
    library = "peft" if hasattr(trainer.model, "peft_config") else "transformers"
    front = json.dumps({"tags": tags, "base_model": base, "library_name": library})
    used = ", ".join(f"{name} {version(name)}" for name in ("trl", "transformers", "peft", "torch"))
    text = f"---\n{front}\n---\n{made}\n\n```json\n{json.dumps(run, indent=1)}\n```\n\n{used}\n\n![{measure}]({measure}.png)\n"
    (folder / "README.md").write_text(f"{text}\n{evaluation_table(log)}", encoding="utf-8")


def evaluation_table(log: list[dict[str, Any]]) -> str:
    """Return as Markdown what the first and the last evaluation of a log found, if there were any."""
    tested = [entry for entry in log if "eval_loss" in entry]
    if not tested:
        return ""
    first, last = tested[0], tested[-1]
    lines = [f"| evaluated | step {first['step']} | step {last['step']} |", "|---|---|---|"]
    for name, before in sorted(first.items()):  # as in the state of a training that was resumed
        is_shown = name.startswith(("eval_loss", "eval_reward")) and not name.endswith("std")
        if is_shown and None not in (before, after := last.get(name)):
            lines.append(f"| {name[5:]} | {before:.4f} | {after:.4f} |")
    return "\n".join(lines) + "\n"


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


def fetch_model(source: str, commit: str) -> Path:
    """Return the folder with the files of the model."""
    from huggingface_hub import snapshot_download

    folder = Path(source).expanduser()
    return folder if folder.is_dir() else Path(retrying(snapshot_download, source, revision=commit))


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


class TrainingOutput:
    """The place of a training: user/name on the Hub, hf://buckets/..., s3://..., gs://... or a folder.

    Its run.json says whose files they are. What is put there takes the place of the checkpoint before it.
    """

    def __init__(self, args: argparse.Namespace, target: str, run: dict[str, Any]) -> None:
        from fsspec import url_to_fs
        from fsspec.implementations.dirfs import DirFileSystem

        self.args, self.target, self.run = args, target, run
        self.repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", target) is not None
        store, root = url_to_fs(f"hf://{target}" if self.repo else target)
        self.fs = DirFileSystem(root, store)
        self.folder = Path(root) if "file" in store.protocol else None
        names, self.held = retrying(self.look)
        differs = [key for key, value in run.items() if self.held.get(key) != value]
        is_ours = bool(self.held) and (args.keep or not differs)
        if names and not is_ours and not args.overwrite:
            found = f"another run ({', '.join(differs)} differ)" if self.held else "files of another origin"
            also = "--keep to resume it, or " if self.held else ""
            stop(4, f"{target} holds {found}", f"name another output, or add {also}--overwrite")
        if is_ours:
            self.run = {**run, "kept": self.held} if differs else self.held
        self.is_finished = is_ours and not differs and "training_log.jsonl" in names
        steps = [re.fullmatch(r"checkpoint-(\d+)/trainer_state\.json", name) for name in names if is_ours]
        last = max((int(step[1]) for step in steps if step), default=None)
        self.checkpoint = last and f"checkpoint-{last}"

    def look(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names of the files that are there now, and what run.json says."""
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
            retrying(api.create_repo, self.target, private=private, exist_ok=True)
            if private:  # also one that was there
                retrying(api.update_repo_settings, self.target, private=True)
        elif bucket:
            retrying(api.create_bucket, bucket[1], private=private, exist_ok=True)
            if private:
                retrying(api.update_bucket_settings, bucket[1], private=True)
        if self.run != self.held and "kept" not in self.run:
            self.clear()

    def clear(self) -> None:
        """Leave nothing of a training but run.json."""
        with tempfile.TemporaryDirectory() as empty:
            self.send(Path(empty))

    def send(self, folder: Path) -> None:
        """Put the files of a folder there; within two minutes, or ConnectionError."""
        retrying(self.put, folder)

    def put(self, folder: Path) -> None:
        """Put the files of a folder there, in a repository with one commit. Repeated, it changes nothing."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        names, held = self.look()
        if held not in (self.held, self.run):
            stop(4, f"another run has taken {self.target}", "name another output, or run this again with --overwrite")
        (folder / "run.json").write_text(json.dumps(self.run), encoding="utf-8")
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        if self.repo:
            changes = [CommitOperationDelete(name) for name in names - files.keys()]
            changes += [CommitOperationAdd(name, path) for name, path in files.items()]
            HfApi().create_commit(self.target, changes, commit_message=f"Add {len(files)} files")
        else:
            last = ("trainer_state.json", "training_log.jsonl")  # the others are there when these are
            for name in sorted(files, key=lambda name: name.endswith(last)):
                self.put_file(files[name], name)
            made = {name.partition("/")[0] for name in names if re.match(r"checkpoint-\d+/|training_log\.jsonl$", name)}
            for name in made - {name.partition("/")[0] for name in files}:  # of what else there may be, nothing is ours
                self.fs.rm(name, recursive=True)
        self.held = self.run

    def put_file(self, path: Path, name: str) -> None:
        """Put a file there, whole or not at all."""
        if self.folder is None:
            self.fs.put_file(str(path), name)
            return
        there = self.folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, there.with_name(f".{there.name}"))  # a copy, if it comes from another disk
        there.with_name(f".{there.name}").replace(there)

    def publish(self, folder: Path) -> None:
        """Put the model there, within half an hour; if it is refused for good, keep it here and stop with 6."""
        from huggingface_hub import HfApi
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

        is_away, tries = retry_if_exception_type(ConnectionError), stop_after_attempt(20)  # of two minutes each
        try:
            Retrying(retry=is_away, stop=tries, reraise=True)(self.send, folder)
        except Exception as error:
            if self.folder:
                raise
            kept = shutil.move(folder, Path(f"unsaved-{os.getpid()}").absolute())
            here, there = shlex.quote(str(kept)), shlex.quote(self.target)
            sync = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r"}.get(self.target[:2], "hf buckets sync")
            push = f"hf upload {there} {here} . --delete 'checkpoint-*'" if self.repo else f"{sync} {here} {there}"
            stop(6, f"{self.target} refused the model now in {kept}: {error}", push)
        shutil.rmtree(folder)
        if self.repo and not self.args.overwrite:  # the checkpoints would stay in the history
            retrying(HfApi().super_squash_history, self.target)


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
