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
#     "math-verify>=0.9,<0.10",  # used by: trl
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
# timeout = "8h"
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# version = "0.2.0"
# title = "Reinforcement learning with rewards (GRPO)"
# task = "fine-tuning"
# tags = ["grpo", "trl", "lora", "reinforcement-learning", "reasoning", "text-generation"]
# inputs = ["dataset", "model"]
# outputs = ["model"]
# persists = "hub-model"
# token = "write"
# shardable = false
# license = "Apache-2.0"
# aliases = ["train-grpo"]
# status = "stable"
# rehearse = ["{input:questions}", "{output}", "--model", "{model}", "--map", "question=prompt", "answer=solution", "--reward_funcs", "accuracy", "length", "--max_completion_length", "8", "--max_steps", "2", "--save_steps", "1"]
# estimate = ["--job", "train", "--method", "grpo", "--epochs", "1"]
# ///
"""Train a language model with rewards for its own answers (GRPO); the same command resumes.

Reads prompts, text or conversations, and generates answers to them, which TRL's rewards, functions of yours or a reward
model judge; all columns reach the rewards. Writes a LoRA adapter (all weights with --full). Every option of
trl.GRPOConfig and trl.ModelConfig works under its own name, behind DATASET and OUTPUT, and `--config FILE.yaml`. Each
checkpoint goes to OUTPUT as it is saved.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_grpo.py openai/gsm8k user/qwen-grpo --dataset_config main --map question=prompt answer=solution --model Qwen/Qwen2.5-0.5B-Instruct --reward_funcs accuracy length
    hf jobs uv run --secrets HF_TOKEN https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_grpo.py user/problems user/reasoner --model Qwen/Qwen2.5-1.5B-Instruct --reward-file URL#sha256=SUM --reward_weights 1 0.5

Rewards: accuracy (needs a column `solution`), format, length, their names in TRL, module.function as TRL finds it, and
with --reward-file each public function of a Python file that has a parameter `completions`.
Exit codes: 0 done; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 trained, but not persisted; 143 stopped.
"""

import argparse
import ast
import copy
import csv
import dataclasses
import difflib
import functools
import glob
import hashlib
import importlib
import inspect
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from functools import partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import takewhile
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, NoReturn

URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_grpo.py"
# What is not TRL's own default, and why
DEFAULTS = {
    "save_total_limit": (1, "only the last checkpoint is needed to resume"),
    "disable_tqdm": (True, "logs of a Job have no progress bars"),
    "eval_on_start": (True, "the card shows the rewards before and after"),
    "num_generations_eval": (1, "one answer a prompt is enough for their mean"),
}
LORA = {
    "lora_target_modules": ("all-linear", "adapters on every layer learn as much as all weights"),
    "learning_rate": (1e-5, "adapters need ten times the rate of all weights"),
}
LIKELY = {"question": "prompt", "problem": "prompt", "instruction": "prompt", "query": "prompt", "input": "prompt"}
# Short names of TRL's rewards
REWARDS = {"accuracy": "accuracy_reward", "reasoning_accuracy": "reasoning_accuracy_reward"}
REWARDS |= {"format": "think_format_reward", "length": "get_soft_overlong_punishment"}
GIVEN = {"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"}  # to a reward
# What changes speed, memory, place or messages, and not what is learned. A name covers those that begin with it.
IGNORED = ("output_dir", "overwrite_", "logging_", "log_", "report_to", "run_name", "project", "trackio_", "debug")
IGNORED += ("save_", "hub_", "push_to_hub", "resume_from", "disable_tqdm", "dataset_num_proc", "dataset_streaming")
IGNORED += (
    "per_device_",
    "gradient_accumulation",
    "gradient_checkpointing",
    "activation_",
    "dataloader_",
    "eval_accum",
)
IGNORED += ("use_cpu", "bf16", "fp16", "tf32", "ddp_", "fsdp", "deepspeed", "local_rank", "parallelism", "torch_")
IGNORED += ("accelerator_config", "skip_memory")
QUIET = {"use_cpu": True, "max_steps": 1, "save_strategy": "no", "eval_strategy": "no", "report_to": []}
QUIET |= {"gradient_accumulation_steps": 1, "load_best_model_at_end": False, "max_length": None}
ON_GPU = {"fp16": False, "bf16": False, "tf32": None, "attn_implementation": None, "torch_compile": False}
ON_GPU |= {"load_in_4bit": False, "load_in_8bit": False, "use_liger_kernel": False, "use_vllm": False}
ON_GPU |= {"packing": False, "padding_free": False, "deepspeed": None, "fsdp": None, "optim": "adamw_torch"}
PACKAGES = {"8bit": "bitsandbytes", "bnb": "bitsandbytes", "4bit": "bitsandbytes", "liger": "liger_kernel"}
PACKAGES |= {"deepspeed": "deepspeed", "vllm": "vllm", "flash_attention_2": "flash_attn"}
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
    rewards = load_rewards(args.script, args.config.max_completion_length)
    args.config.reward_weights = weigh(args.config.reward_weights, list(rewards))
    source = args.script.dataset_name, args.script.dataset_config
    rows, commit, private = read_rows(*source, args.script.dataset_train_split)
    rows = map_columns(rows, args.map, [("prompt",)], LIKELY)
    rows = rows.select(range(len(rows))[: args.max_samples])
    check_columns(rewards, rows.column_names)
    tested = rows.select(range(min(32, len(rows)))) if args.config.eval_on_start else None
    if args.config.eval_strategy != "no":
        tested = map_columns(read_rows(*source, args.script.dataset_test_split)[0], args.map, [("prompt",)], LIKELY)
    base, private_base = find_model(args.model.model_name_or_path, args.model.model_revision)
    run = {**training_identity(args, commit, base), "rewards": digest_rewards(args.script, rewards)}
    print(f"{args.model.model_name_or_path} at {base}, {len(rows):,} rows of {source[0]} at {commit}, to {args.output}")
    if not Path(args.model.model_name_or_path).is_dir():
        args.model.model_revision = base
    make = partial(make_trainer, rows, tested, rewards)
    return run_training(args, run, make, check_rows, card(args, run, len(rows)), private=private or private_base)


def read_options(args: argparse.Namespace) -> None:
    """Add what TRL parses to `args`, and the place of the model."""
    from trl import GRPOConfig, ModelConfig
    from trl.scripts.grpo import GRPOScriptArguments

    @dataclasses.dataclass
    class RewardArguments(GRPOScriptArguments):
        reward_file: list[str] | None = dataclasses.field(
            default=None, metadata={"help": "Python files, or URLs with #sha256=SUM, with functions that are rewards"}
        )

    class AllProcesses(GRPOConfig):  # before they are started there is one, and a batch seems to be smaller
        world_size = property(lambda _: count_processes(args))

    adapter = {"use_peft": (True, "an adapter fits on a small GPU; --full trains all weights")} if args.dataset else {}
    kinds = [RewardArguments, AllProcesses, ModelConfig]
    args.script, args.config, args.model = parse_trl(args, kinds, DEFAULTS | adapter, LORA)
    args.config.__class__ = GRPOConfig  # it is pickled into checkpoints
    if not args.script.dataset_name or not args.model.model_name_or_path:
        stop(2, "dataset or model is missing", "train_grpo.py DATASET OUTPUT --model M")
    if args.config.use_vllm and not find_spec("vllm"):
        fix = "uv run --with 'vllm>=0.22,<0.32' train_grpo.py ...; for a Job --with as well"
        stop(5, "--use_vllm: the package vllm is not installed", fix)
    args.output = training_target(args, args.config)


def load_rewards(args: Any, longest: int) -> dict[str, Any]:
    """Return the rewards by name, in the order of --reward_weights: a model's commit, functions by name, those of files."""
    functions = [named_reward(word, longest) for word in args.reward_funcs or ()]
    functions += [reward for source in args.reward_file or () for reward in rewards_of_file(source)]
    rewards = [(getattr(one, "__name__", type(one).__name__), one) for one in functions]
    if model := args.reward_model_name_or_path:
        rewards.insert(0, (model, find_model(model, None)[0]))
    names = [name for name, _ in rewards]
    if not names:
        stop(2, "no reward was given", "add --reward_funcs accuracy format, or --reward-file FILE.py")
    if twice := [name for name in names if names.count(name) > 1]:
        stop(2, f"two rewards are called {twice[0]}", "give each one once, under a name of its own")
    return dict(rewards)


def named_reward(word: str, longest: int) -> Callable[..., Any]:
    """Return a reward of TRL, or the function that `module.function` names, found as `trl grpo` finds it."""
    module, _, name = word.rpartition(".")
    if module:
        sys.path.insert(0, str(Path.cwd()))
        try:
            return getattr(importlib.import_module(module), name)
        except Exception as error:  # noqa: BLE001 -- a module may raise anything
            stop(2, f"cannot import the reward {word}: {error!r}", "check its name; modules of this folder are found")
    if word not in {*REWARDS, *REWARDS.values()}:
        listed = ", ".join([*REWARDS, *REWARDS.values()])
        stop(2, f"there is no reward {word!r}", f"take {listed}, module.function, or --reward-file FILE.py")
    import trl.rewards

    found = getattr(trl.rewards, REWARDS.get(word, word))
    if word == "length":  # what the last fifth of the longest answer costs
        return found(longest, max(1, longest // 5))
    return found(1280, 256) if word == REWARDS["length"] else reading_text(found)  # the numbers of `trl grpo`


def reading_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a reward of TRL, which expects conversations and solutions that are text, read text and numbers, too."""

    @functools.wraps(function)
    def reward(completions: list[Any], **columns: Any) -> Any:
        if "solution" in columns:
            columns["solution"] = ["" if one is None else str(one) for one in columns["solution"]]
        chats = [[{"role": "assistant", "content": one}] if isinstance(one, str) else one for one in completions]
        return function(completions=chats, **columns)

    return reward


def rewards_of_file(source: str) -> list[Callable[..., Any]]:
    """Run a Python file, and return its functions with a parameter `completions`; those with an underscore are helpers."""
    import fsspec

    place, _, expected = source.partition("#sha256=")
    if "://" in place and not expected:
        fix = f"read it, then append #sha256= and what `curl -sL {place} | sha256sum` prints"
        stop(2, f"--reward-file {place} has no sha256", fix)
    try:
        with fsspec.open(place, "rb") as opened:
            code = opened.read()
        found = hashlib.sha256(code).hexdigest()
        if expected not in {"", found}:
            stop(4, f"{place} has the sha256 {found}, expected {expected}", "read what has changed, then give that one")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "reward_file.py")
            path.write_bytes(code)
            spec = spec_from_file_location("reward_file", path)
            module = sys.modules["reward_file"] = module_from_spec(spec)  # dataclasses look it up
            spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 -- a file may raise anything
        stop(4, f"--reward-file {place}: {error!r}", "check the name, and that the file runs by itself")
    own = [one for name, one in vars(module).items() if inspect.isfunction(one) and not name.startswith("_")]
    own = [one for one in own if one.__module__ == "reward_file" and "completions" in inspect.signature(one).parameters]
    return own or stop(4, f"{place} has no reward", "write a function: def my_reward(completions, **kwargs)")


def digest_rewards(args: Any, rewards: dict[str, Any]) -> str:
    """Return a digest of the files that hold rewards, and of a model's commit: a changed reward is another training."""
    commits = [commit.encode() for commit in rewards.values() if isinstance(commit, str)]
    files = [source for source in args.reward_file or () if "://" not in source]
    files += [str(sys.modules[word.rpartition(".")[0]].__file__) for word in args.reward_funcs or () if "." in word]
    texts = [Path(file.partition("#sha256=")[0]).read_bytes() for file in files]
    return hashlib.sha256(b"".join(texts + commits)).hexdigest()


def weigh(given: list[float] | None, names: list[str]) -> list[float]:
    """Return a weight for each reward, 1 where none was given."""
    weights = given or []
    if len(weights) > len(names) or not all(map(math.isfinite, weights)):
        found = f"--reward_weights {' '.join(map(str, weights))} for {len(names)} rewards"
        stop(2, found, f"give a number for each, at most, in this order: {', '.join(names)}")
    weights = [*weights, *[1.0] * (len(names) - len(weights))]
    print("rewards: " + ", ".join(f"{name} x {weight:g}" for name, weight in zip(names, weights, strict=True)))
    return weights


def check_columns(rewards: dict[str, Any], columns: list[str]) -> None:
    """Stop with 4 unless each reward finds the columns it asks for and takes the others: TRL gives it all of them."""
    if taken := GIVEN & set(columns):
        stop(
            4, f"TRL gives rewards {min(taken)!r} of its own", f"rename the column: --map {min(taken)}=my_{min(taken)}"
        )
    for name, function in rewards.items():
        if isinstance(function, str):
            continue  # the commit of a model
        parameters = inspect.signature(function).parameters.values()
        needed = {one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
        if missing := needed - GIVEN - set(columns):
            fix = f"name the column that holds it: --map OLD={min(missing)}"
            stop(4, f"the reward {name} needs a column {min(missing)!r}; there are {', '.join(columns[:20])}", fix)
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            stop(4, f"the reward {name} does not take every column", "add **kwargs to its parameters")


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., list[float | None]]:
    """Return the reward with its failures named; TRL would take NaN for None, which leaves a completion out."""
    import asyncio

    runner = asyncio.Runner()  # one for all calls: clients belong to a loop

    def reward(completions: list[Any], **columns: Any) -> list[float | None]:
        try:
            values = function(completions=completions, **columns)
            values = runner.run(values) if inspect.iscoroutine(values) else values
            numbers = [None if value is None else float(value) for value in values]
        except Exception as error:  # noqa: BLE001 -- a reward may raise anything
            frame = traceback.extract_tb(error.__traceback__)[-1]
            found = f"the reward {name} failed at {Path(frame.filename).name}:{frame.lineno}: {error!r}"
            stop(4, found, "correct it, then run the same command again")
        if len(numbers) != len(completions):
            found = f"the reward {name} returned {len(numbers)} numbers for {len(completions)} completions"
            stop(4, found, "return one for each completion, or None to leave it out")
        if wrong := [number for number in numbers if number is not None and not math.isfinite(number)]:
            stop(4, f"the reward {name} returned {wrong[0]}", "return a number, or None to leave a completion out")
        return numbers

    reward.__name__ = name
    return reward


def make_trainer(rows: Any, tested: Any, rewards: dict[str, Any], config: Any, model: Any, *callbacks: Any) -> Any:
    """Return the trainer as `trl grpo` makes it; without callbacks it is that of the rehearsal."""
    from transformers import AutoModelForSequenceClassification, TrainerCallback
    from trl import GRPOTrainer, get_peft_config, get_quantization_config

    class RewardsAfter(TrainerCallback):
        asked = config.eval_on_start and config.eval_strategy != "epoch"

        def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            args.eval_on_start &= state.global_step == 0  # not when it resumes

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_evaluate |= self.asked and state.global_step >= state.max_steps

    def judge(name: str, commit: str) -> Any:  # TRL would look for the commit of the model that is trained
        if not callbacks:
            return guarded(name, lambda completions, **_: [0] * len(completions))
        found = {"revision": commit} if not Path(name).is_dir() else {}
        return AutoModelForSequenceClassification.from_pretrained(name, num_labels=1, dtype=model.dtype, **found)

    if not callbacks:
        short = {"max_completion_length": 16, "num_generations": 2, "per_device_train_batch_size": 4}
        short |= {"generation_batch_size": 4, "steps_per_generation": 1, "eval_on_start": False}
        print("rehearsal: 2 completions of at most 16 tokens for each of 2 prompts")
        vars(config).update(short)
    names = ("attn_implementation", "dtype")
    config.model_init_kwargs = {
        "revision": model.model_revision,
        "trust_remote_code": config.trust_remote_code,
        **{name: getattr(model, name) for name in names},
        **(config.model_init_kwargs or {}),
    }
    return GRPOTrainer(
        model=model.model_name_or_path,
        reward_funcs=[judge(*one) if isinstance(one[1], str) else guarded(*one) for one in rewards.items()],
        args=config,
        train_dataset=rows,
        eval_dataset=tested,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        callbacks=[*callbacks, RewardsAfter()],
    )


def check_rows(trainer: Any, config: Any) -> list[int]:
    """Stop with 4 at prompts that cannot be read or answered; return the number of the longest, and of another."""
    size = trainer.model.get_input_embeddings().weight.shape[0]
    context = getattr(trainer.model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    room, lengths = context - config.max_completion_length, []
    for number, prompt in enumerate(trainer.train_dataset["prompt"]):
        if not prompt or not isinstance(prompt, str | list):
            stop(4, f"the prompt of row {number} is {prompt!r}", "remove or correct it: text, or a list of messages")
        try:
            ids = trainer._tokenize_prompts([prompt])[0][0]
        except Exception as error:  # noqa: BLE001 -- a chat template may raise anything
            stop(4, f"the chat template refuses row {number}: {error!r}", "correct the row, or --chat_template_kwargs")
        if max(ids, default=0) >= size:
            stop(
                4, f"row {number} has token {max(ids)}, the model has {size} tokens", "use the tokenizer of this model"
            )
        if len(ids) > room:
            found = f"row {number} has {len(ids):,} tokens: no {config.max_completion_length:,} more fit in {context:,}"
            stop(4, found, "remove the row, or lower --max_completion_length")
        lengths.append(len(ids))
    if len(lengths) < (needed := config.generation_batch_size // config.num_generations):
        stop(4, f"there are {len(lengths)} prompts, and a step takes {needed}", "lower --per_device_train_batch_size")
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    print(f"{sum(lengths):,} tokens in {len(lengths):,} prompts, at most {lengths[longest]:,} (row {longest})")
    return [longest, len(lengths) // 2]


def card(args: argparse.Namespace, run: dict[str, str], count: int) -> str:
    """Return the model card: what was trained on what, by what."""
    from importlib.metadata import version

    front = {"tags": ["uv-script", "jobshelf", "trl", "grpo"], "base_model": args.model.model_name_or_path}
    front["library_name"] = "peft" if args.model.use_peft else "transformers"
    made = f"`{args.model.model_name_or_path}`, trained on {count:,} rows of `{args.script.dataset_name}` by [train_grpo.py]({URL})."
    versions = ", ".join(f"{name} {version(name)}" for name in ("trl", "transformers", "peft", "torch"))
    return f"---\n{json.dumps(front)}\n---\n# {Path(args.output).name}\n\n{made}\n\n```json\n{json.dumps(run, indent=1)}\n```\n\n{versions}\n"


def run_training(
    args: argparse.Namespace, run: dict[str, str], make: Callable[..., Any], look: Any, card: str, *, private: bool
) -> int:
    """Train with what `make(config, model, *callbacks)` returns from the last checkpoint on; return the exit code.

    Before the first start there is a `smoke_step`. After it, every process of a machine with several GPUs comes here.
    """
    shared = os.environ.get("TRAINING_FOLDER")
    is_first = os.environ.get("RANK", "0") == "0"
    output = checkpoints = ModelOutput(args, run, kind="model")
    if args.checkpoints:
        checkpoints = ModelOutput(argparse.Namespace(**vars(args) | {"output": args.checkpoints}), run, kind="model")
    if "README.md" in output.finished:
        print(f"already there: {args.output}")
        return 0
    if args.dry_run or not (shared or any(name.startswith("checkpoint-") for name in checkpoints.finished)):
        smoke_step(make, args.config, args.model, look)
    if args.dry_run:
        return 0
    with nullcontext(shared) if shared else tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place in {output, checkpoints} if is_first else ():
            place.claim(private=private)
        if not shared:
            last_checkpoint(checkpoints, folder)
            if (processes := count_processes(args)) > 1:
                return launch_on_gpus(args, folder, processes)
        if args.config.hub_strategy == "end":
            print("hub_strategy end: no checkpoint is sent, so a training that is stopped starts over")
        sent = checkpoints if is_first and args.config.hub_strategy != "end" else None
        keeper = keep_checkpoints(sent, folder, args.commit_every)
        args.config.output_dir, args.config.push_to_hub = name, False
        trainer = make(args.config, args.model, keeper)
        idle = guard_monitors(trainer, run)
        try:
            code = train_and_save(trainer, keeper, folder)
            if is_first and not code:
                publish_training(trainer, folder / "model", output, card)
                forget_checkpoints(output, checkpoints)
        except SystemExit as left:
            code = int(left.code or 0)
        if is_first:
            (folder / "code").write_text(str(code), encoding="utf-8")  # accelerate does not pass it on
    if not idle.is_set():
        os._exit(code)  # whatever a monitor does at an exit would hang
    return 0 if shared and code == 143 else code


def train_and_save(trainer: Any, keeper: Any, folder: Path) -> int:
    """Train from the last checkpoint in the folder on, and save the model there; return 143 after a SIGTERM."""
    from transformers.trainer_utils import get_last_checkpoint

    trainer.train(resume_from_checkpoint=get_last_checkpoint(folder) or trainer.args.resume_from_checkpoint)
    keeper.settle()
    if keeper.stopped:
        print("stopped, the checkpoint is saved; run the same command again to resume", file=sys.stderr)
        return 143
    trainer.save_model(str(folder / "model"))
    return 0


def forget_checkpoints(output: Any, checkpoints: Any) -> None:
    """Remove checkpoints that are of no use any more, also from the history of a repository that was new."""
    from huggingface_hub import HfApi

    for name in () if checkpoints is output else checkpoints.finished - {"run.json"}:
        retrying(checkpoints.fs.rm_file, name)
    if output.repo and not output.args.overwrite:
        retrying(HfApi().super_squash_history, output.target)
    print(f"written to {output.target}", flush=True)


def trainer_arguments(argv: list[str] | None, description: str) -> argparse.Namespace:
    """Return our options; `words` are those that TRL parses, with the places first. Imports nothing heavy."""
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
    add("--accelerate-config", metavar="FILE", help="settings of accelerate launch, for FSDP or DeepSpeed")
    add("--private", action="store_true", help="make a new output private, as for private input")
    add("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="resume what another version of this script or other options began")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, take one step on a tiny model, write nothing")
    add("--help-all", action="store_true", help="show the options of TRL, which all work here, and exit")
    given = sys.argv[1:] if argv is None else argv
    dashed = [word.partition("=")[0].replace("_", "-") + "".join(word.partition("=")[1:]) for word in given]
    words = [dash if word.startswith("--") else word for word, dash in zip(given, dashed, strict=True)]
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
    return args


def parse_trl(args: argparse.Namespace, kinds: list[Any], defaults: dict[str, Any], lora: dict[str, Any]) -> list[Any]:
    """Return an instance of each of TRL's `kinds`, from `args.words`, else the YAML file, else our defaults.

    Each default is a value and its reason, and is printed; those of `lora` are for adapters. Stops with 2.
    """
    import torch
    import yaml
    from trl import TrlParser

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
    said = {word[2:].partition("=")[0].replace("-", "_") for word in args.words if word.startswith("--")} | {*file}
    for name, (value, reason) in table.items():
        if name not in said:
            print(f"{name} {value}: {reason}")
    return parsed


def training_target(args: argparse.Namespace, config: Any) -> str:
    """Return OUTPUT, or what TRL's options name: --push_to_hub a Hub model, --output_dir a folder."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    said = any(word.startswith(("--push-to-hub", "--no-push-to-hub")) for word in args.words)
    if said and not config.push_to_hub and args.output and not args.output.startswith((".", "/")):
        stop(2, f"--push_to_hub false, but {args.output} is on the Hub", f"write ./{Path(args.output).name}")
    if not config.push_to_hub:
        return args.output or str(Path(config.output_dir).absolute())
    name = config.hub_model_id or args.output or Path(config.output_dir).name
    if "/" not in name or name.startswith((".", "/")):
        owner = "USER"
        with suppress(HfHubHTTPError):  # a token that is refused is for require_write
            owner = retrying(HfApi().whoami)["name"] if get_token() else owner
        name = f"{owner}/{Path(name).name}"
    require_write(name, "model")
    return name


def training_identity(args: argparse.Namespace, source: str, model: str) -> dict[str, str]:
    """Return `run_identity` of a training: the options that differ from TRL's defaults and change what is learned."""
    changed: dict[str, Any] = {}
    for settings in (args.script, args.config, args.model):
        for field in dataclasses.fields(settings):
            value, default = getattr(settings, field.name), field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if value != default and not field.name.startswith(IGNORED):
                changed[field.name] = str(value)
    batch = args.config.per_device_train_batch_size * args.config.gradient_accumulation_steps * count_processes(args)
    ours = {"rows_in_a_step": batch, "map": args.map, "max_samples": args.max_samples}
    return {**run_identity(argparse.Namespace(**changed | ours), source), "model": model}


def map_columns(rows: Any, pairs: list[str], wanted: list[tuple[str, ...]], likely: dict[str, str]) -> Any:
    """Return the rows, renamed by OLD=NEW `pairs`; stop with 4 unless they have all columns of one tuple in `wanted`.

    `likely` are usual names and what they would be here, for the advice.
    """
    names = dict(pair.split("=", 1) for pair in pairs)
    listed = ", ".join(rows.column_names[:20])
    if missing := names.keys() - set(rows.column_names):
        stop(4, f"there is no column {min(missing)!r}", f"choose from {listed}")
    renamed = [names.get(name, name) for name in rows.column_names]
    if twice := [name for name in renamed if renamed.count(name) > 1]:
        stop(4, f"there would be two columns {twice[0]!r}", f"also rename the other: --map {twice[0]}=other_{twice[0]}")
    if not any(set(columns) <= set(renamed) for columns in wanted):
        forms = " or ".join("+".join(columns) for columns in wanted)
        found = {new: old for old, new in likely.items() if old in renamed}
        fit = [columns for columns in wanted if set(columns) <= {*found, *renamed}]
        moves = [f"{found[name]}={name}" for name in (fit[0] if fit else ()) if name not in renamed]
        fix = f"--map {' '.join(moves)}" if moves else "dataset_inspector.py shows how to map them"
        stop(4, f"the columns are {listed}; expected {forms}", fix)
    return rows.rename_columns(names)


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
        for name, value in ON_GPU.items():
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
        for name, value in {**QUIET, "output_dir": folder}.items():
            setattr(config, name, value)
        use_device(config)
        try:
            shrink_model(model.model_name_or_path, folder, model.model_revision)
            model.model_name_or_path, model.model_revision = folder, "main"
            trainer = make(config, model)
            trainer.remove_callback(PrinterCallback)
            trainer.train_dataset = trainer.train_dataset.select(look(trainer, asked)).map(cut_row)
            trainer.train()
        except Exception as error:  # noqa: BLE001 -- TRL refuses rows, templates and options in many ways
            stop(4, f"TRL refuses {failing_row(error)}: {error!r}", "correct that; nothing was written yet")
    use_device(asked)


def use_device(config: Any) -> Any:
    """Return the device that the settings ask for, from now on that of accelerate."""
    config.__dict__.pop("_setup_devices", None)
    return config.device


def cut_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the last 1,024 tokens of a row: all that counts in a rehearsal, at a fraction of the memory."""
    tokens = {key: value for key, value in row.items() if key.endswith(("ids", "labels", "mask", "masks"))}
    return {key: value[-1024:] for key, value in tokens.items() if isinstance(value, list)}


def failing_row(error: BaseException) -> str:
    """Return which row the error is about, as far as it shows."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "iter_outputs" and "i" in trace.tb_frame.f_locals:
            return f"row {trace.tb_frame.f_locals['i']}"
        trace = trace.tb_next
    return "this training"


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


def count_processes(args: argparse.Namespace) -> int:
    """Return how many processes train: those that run, those asked for, or one for each GPU."""
    import torch

    return int(os.environ.get("WORLD_SIZE", "0")) or args.num_processes or max(1, torch.cuda.device_count())


def launch_on_gpus(args: argparse.Namespace, folder: Path, processes: int) -> int:
    """Run this command again in `processes` processes under accelerate, with `folder` to share; return the exit code.

    SIGTERM makes a file `stop` in the folder, which the callback that keeps checkpoints looks for.
    """
    import torch

    script = Path(__file__) if "__file__" in globals() else folder / "script.py"
    if "__file__" not in globals():  # with `uv run -` the script follows -c
        script.write_text(sys.orig_argv[sys.orig_argv.index("-c") + 1], encoding="utf-8")
    settings = ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    settings = ["--config_file", args.accelerate_config] if args.accelerate_config else settings
    settings += ["--num_processes", str(processes), "--main_process_port", "0"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *settings, str(script), *sys.argv[1:]]
    shared = {"TRAINING_FOLDER": str(folder), "ACCELERATE_USE_CPU": str(not torch.cuda.is_available()).lower()}
    shared["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
    done = subprocess.run(command, env=os.environ | shared, check=False)
    code = folder / "code"
    return int(code.read_text(encoding="utf-8")) if code.exists() else done.returncode


def guard_monitors(trainer: Any, run: dict[str, str]) -> Event:
    """Let what `report_to` names work in a thread; training goes on when it fails, and waits a minute for it at the end.

    Returns an event that is set while there is nothing left to do. Trackio gets a name for this run; on a Job, a Space.
    """
    config, calls, idle = trainer.args, SimpleQueue[Any](), Event()
    name = hashlib.sha256(json.dumps(run).encode()).hexdigest()[:6]
    config.run_name = config.run_name or f"{Path(trainer.model.config._name_or_path).name}-{name}"
    config.trackio_static_space_id = config.trackio_static_space_id or False  # else each push would make a new one
    config.trackio_space_id = config.trackio_space_id or ("trackio" if "JOB_ID" in os.environ else None)
    idle.set()

    def work() -> None:
        failures = 0
        while True:
            call, args, kwargs, done = calls.get()
            try:
                if failures < 3:
                    call(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more
                print(f"{type(call.__self__).__name__}: {error}; training goes on", file=sys.stderr)
                failures += 1
            if calls.empty():
                idle.set()
            done.set()

    def later(call: Any) -> Any:
        def add(args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            idle.clear()
            done = Event()
            calls.put((call, (args, copy.copy(state), control), kwargs, done))
            if call.__name__ == "on_train_end":
                done.wait(60)

        return add

    for monitor in trainer.callback_handler.callbacks:
        if type(monitor).__module__.startswith("transformers.integrations"):
            for event in [name for name in dir(monitor) if name.startswith("on_")]:
                setattr(monitor, event, later(getattr(monitor, event)))
    Thread(target=work, daemon=True).start()
    return idle


def keep_checkpoints(output: Any, folder: Path, every: float) -> Any:
    """Return a callback that saves a checkpoint in `folder` every so many seconds and on SIGTERM, and sends each to `output`.

    They are sent in the background, by the first process. While the place does not answer, training goes on.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    pool = ThreadPoolExecutor(1)

    class Keeper(TrainerCallback):
        stopped, saved, sending = False, time.monotonic(), Future[None]()

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
            self.saved = time.monotonic()
            self.sending.set_result(None)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            asked = [(folder / "stop").exists(), time.monotonic() - self.saved > every]
            self.stopped, due = broadcast_object_list(asked)  # all processes save the same step
            control.should_save |= due or self.stopped
            control.should_training_stop |= self.stopped
            self.on_epoch_end(args, state, control)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps and not args.load_best_model_at_end:
                control.should_save = self.stopped = False  # the model itself follows

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not all(math.isfinite(logs.get(name, 0)) for name in ("loss", "grad_norm")):
                stop(4, f"the loss is no number at step {state.global_step}", "lower --learning-rate; check the rows")

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.saved = time.monotonic()
            PartialState().wait_for_everyone()
            if output is None or not state.is_world_process_zero:
                return
            self.settle(timeout=None if self.stopped else 30)
            if self.sending.done():  # else the next one is sent
                name = f"checkpoint-{state.global_step}"
                shutil.rmtree(output.folder)
                shutil.copytree(folder / name, output.folder / name, copy_function=link_or_copy)
                self.sending = pool.submit(publish_model, output)
            self.settle(timeout=None if self.stopped else 0)

        def settle(self, timeout: float | None = None) -> None:
            """Wait for the checkpoint on its way; say so when it was refused."""
            wait([self.sending], timeout)
            if self.sending.done() and (error := self.sending.exception()):
                if not isinstance(error, Exception):  # another run has taken the place
                    raise error
                print(f"the checkpoint was not sent, training goes on: {error}", file=sys.stderr)
                self.sending = Future[None]()
                self.sending.set_result(None)

    return Keeper()


def link_or_copy(source: str, target: str) -> None:
    """Make `target` the same file, or a copy on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def publish_training(trainer: Any, folder: Path, output: Any, card: str) -> None:
    """Publish model and tokenizer from `folder`, the log, a plot and the card of a training, in one commit."""
    for path in folder.iterdir():
        if path.name != "training_args.bin":  # a pickle
            path.replace(output.folder / path.name)
    log = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    passing = ("runtime", "_second", "step_time", "num_tokens")  # what an interrupted training counts otherwise
    log = [{key: value for key, value in one.items() if not key.endswith(passing)} for one in log]
    lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in log)
    (output.folder / "training_log.jsonl").write_text(lines, encoding="utf-8")
    measure = "reward" if any("reward" in entry for entry in log) else "loss"
    plot_log(log, measure, output.folder / f"{measure}.png")
    text = f"{card}\n![{measure}]({measure}.png)\n\n{log_tables(log, measure)}\n"
    (output.folder / "README.md").write_text(text, encoding="utf-8")
    output.patience = 1800
    publish_model(output)
    for old in Path(output.root).glob("checkpoint-*") if output.local else ():
        with suppress(OSError):  # they are empty by now
            old.rmdir()


def log_tables(log: list[dict[str, Any]], measure: str) -> str:
    """Return as Markdown how the measure went, and what the first and the last evaluation found."""
    logged = [entry for entry in log if entry.get(measure) is not None]
    lines = ["| step | " + measure + " |", "|---|---|"]
    lines += [f"| {entry['step']} | {entry[measure]:.4f} |" for entry in logged[:: len(logged) // 20 + 1]]
    if tested := [entry for entry in log if "eval_loss" in entry]:
        first, last = tested[0], tested[-1]
        lines += ["", f"| evaluated | step {first['step']} | step {last['step']} |", "|---|---|---|"]
        names = [name for name in first if name.startswith(("eval_loss", "eval_reward")) and not name.endswith("std")]
        names = [name for name in names if None not in {first[name], last.get(name)}]
        lines += [f"| {name[5:]} | {first[name]:.4f} | {last[name]:.4f} |" for name in names]
    return "\n".join(lines)


def plot_log(log: list[dict[str, Any]], measure: str, path: Path) -> None:
    """Draw the measure of each logged step, and that of evaluations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    for name in (measure, f"eval_{measure}"):
        if points := [(entry["step"], entry[name]) for entry in log if entry.get(name) is not None]:
            axes.plot(*zip(*points, strict=True), label=name)
    axes.set(xlabel="step", ylabel=measure)
    if axes.lines:
        axes.legend()
    figure.savefig(path, metadata={"Software": None})


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


def last_checkpoint(output: Any, folder: Path) -> str | None:
    """Download the last complete checkpoint into `folder`; None when there is none."""
    complete = re.compile(r"checkpoint-(\d+)/trainer_state\.json")
    steps = [int(match[1]) for match in map(complete.fullmatch, output.finished) if match]
    if not steps:
        return None
    name = f"checkpoint-{max(steps)}"
    retrying(output.fs.get, name, f"{folder}/", recursive=True)
    return str(folder / name)


def publish_model(output: Any) -> None:
    """Send the checkpoint or the model that waits in `output.folder`, in place of the checkpoint before it."""
    old = {name for name in output.finished if name.startswith("checkpoint-")}
    new = {path.relative_to(output.folder).as_posix() for path in output.folder.rglob("*") if path.is_file()}
    output.stale = old - new if output.repo else set()
    output.send()
    output.finished = output.finished - old | new
    for name in () if output.repo else old - new:
        retrying(output.fs.rm_file, name)


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


class ModelOutput(Output):
    """An Output that never ends a training: what is refused raises, until `patience` says how long to try at the end."""

    patience = 0.0  # seconds

    def send(self) -> None:
        """Send what waits; at the end, stop with 6 when it is refused for all that time."""
        limit = time.monotonic() + self.patience
        while any(self.folder.glob("*")):
            try:
                retrying(self.put)
                break
            except OSError:
                if not self.patience:
                    raise
                if time.monotonic() > limit:
                    break
        super().send()


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
