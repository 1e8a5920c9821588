# block: train_recipe 1
"""How a model is trained where nobody said: by the method, the model's size, the data and the machine, each with its reason.

Promises: every choice is printed with what it rests on; what was asked for is taken as it is; a training that does not
fit into memory by the estimate of `fit` stops with 5 before a weight is loaded, and names the settings that change it.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .exits import EXIT_ENVIRONMENT, EXIT_USAGE, Stop, note
from .fit import (
    FIT_START_SECONDS,
    Estimate,
    Memory,
    Model,
    Training,
    Work,
    adapter_parameters,
    estimate_training,
    largest_batch,
    rank_estimates,
    training_memory,
    usable_memory,
)
from .flavors import FLAVORS, FLAVORS_DATE, Flavor
from .preflight import available_ram, list_gpus
from .progress import progress_duration
from .train_data import TrainLengths

TRAIN_ROWS_A_STEP = 16
TRAIN_LONGEST = 4096  # tokens of a row by default; longer ones are cut, and it is said how many
# GPUs whose tensor cores do not know bfloat16 (before NVIDIA's Ampere).
TRAIN_NO_BF16 = ("T4", "V100", "P100", "P40", "GTX", "RTX 20", "QUADRO RTX", "TITAN")
_TRAIN_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainMachine:
    """What there is to train on: one device (`flavor`: one GPU, or the machine without one) for each of `processes`."""

    flavor: Flavor
    processes: int

    @property
    def on_cpu(self) -> bool:
        """Whether there is no GPU."""
        return not self.flavor.gpus

    @property
    def has_bf16(self) -> bool:
        """Whether its GPU computes in bfloat16."""
        return not self.on_cpu and not any(name in self.flavor.gpu.upper() for name in TRAIN_NO_BF16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSetting:
    """One choice and what it rests on."""

    value: Any
    reason: str


class TrainRecipe:
    """The settings of a training by name; `recipe["batch"]` is a value."""

    def __init__(self, settings: Mapping[str, TrainSetting] | None = None) -> None:
        self.settings: dict[str, TrainSetting] = dict(settings or {})

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - settings are of all kinds
        return self.settings[name].value

    def choose(self, name: str, asked: Any, otherwise: Any, reason: str) -> Any:  # noqa: ANN401 - as above
        """Take what was asked for, else `otherwise` for its `reason`; return it."""
        found = (
            TrainSetting(value=otherwise, reason=reason)
            if asked is None
            else TrainSetting(value=asked, reason="asked for")
        )
        self.settings[name] = found
        return found.value

    def to_json(self) -> dict[str, list[Any]]:
        """Return it as plain values."""
        return {name: [one.value, one.reason] for name, one in self.settings.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Sequence[Any]]) -> TrainRecipe:
        """Return what `to_json` wrote."""
        return cls({name: TrainSetting(value=value, reason=reason) for name, (value, reason) in values.items()})

    def lines(self) -> list[str]:
        """Return it for a reader, a line each."""
        shown = {
            name: f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
            for name, one in self.settings.items()
        }
        width = max(map(len, shown))
        return [f"{name:<{width}}  {text:<12}  {self.settings[name].reason}" for name, text in shown.items()]


def this_machine(processes: int | None) -> TrainMachine:
    """Return what this machine has, as far as this process may use it."""
    gpus = list_gpus()
    ram = available_ram()
    flavor = Flavor(
        name="this machine",
        vcpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ram_gb=ram / 1e9 if ram else math.inf,
        disk_gb=0.0,
        usd_per_hour=0.0,
        gpus=1 if gpus else 0,
        vram_gb=min((gpu.memory for gpu in gpus), default=0) / 1e9,
        gpu=gpus[0].name if gpus else "",
    )
    if gpus and processes and processes > len(gpus):
        message = f"{processes} processes asked for, and this machine has {len(gpus)} GPUs"
        raise Stop(EXIT_USAGE, message, fix=f"write --num-processes {len(gpus)}, or nothing")
    count = processes or max(1, len(gpus))
    if not gpus and count > 1:
        flavor = replace(flavor, ram_gb=flavor.ram_gb / count, vcpus=max(1, flavor.vcpus // count))
    return TrainMachine(flavor=flavor, processes=count)


def choose_recipe(
    args: argparse.Namespace,
    *,
    method: str,
    rates: Mapping[str, float],
    model: Model,
    lengths: TrainLengths,
    machine: TrainMachine,
    packs: bool = False,
    evaluates: bool = False,
    generations: int = 0,
    answer: int = 0,
) -> TrainRecipe:
    """Return the settings. `method` is fit's name of it, `rates` the learning rates by tuning, `packs` whether it can pack.

    `generations` and `answer` are those of grpo where nothing else was asked for: answers to a prompt, and tokens of the
    longest.
    """
    recipe = TrainRecipe()
    tuning = "full" if args.full else "qlora" if args.load_in_4bit else "lora"
    reasons = {"full": "--full", "qlora": "--load-in-4bit", "lora": "--full trains all weights"}
    recipe.choose("tuning", None, tuning, reasons[tuning])
    if tuning != "full":
        rank = recipe.choose("lora_r", args.lora_r, 16, "enough for most data sets")
        recipe.choose("lora_alpha", args.lora_alpha, 2 * rank, "twice the rank")
        recipe.choose("lora_dropout", args.lora_dropout, 0.0, "one pass over the data does not overfit")
        recipe.choose(
            "lora_targets", args.lora_target_modules, "all-linear", "as good as all weights, attention alone is not"
        )
    _choose_numbers(recipe, args, tuning, machine)
    _choose_lengths(recipe, args, lengths, model, machine, packs=packs)
    if generations:
        recipe.choose("num_generations", args.num_generations, generations, "answers to a prompt, as in TRL")
        reason = "tokens of an answer, as in TRL; half of the context at most"
        recipe.choose("max_completion_length", args.max_completion_length, answer, reason)
    run = Training(
        method=method,
        tuning=tuning,
        length=recipe["max_length"],
        rank=args.lora_r or 16,
        generations=_group(recipe),
        answer=recipe["max_completion_length"] if generations else 0,
    )
    _choose_batch(recipe, args, _stored(model, recipe), run, machine)
    recipe.choose(
        "learning_rate", args.learning_rate, rates["full" if tuning == "full" else "lora"], f"{method}, {tuning}"
    )
    _choose_steps(recipe, args, lengths, machine, evaluates=evaluates)
    return recipe


def check_fit(
    recipe: TrainRecipe, model: Model, lengths: TrainLengths, machine: TrainMachine, *, method: str, force: bool
) -> list[str]:
    """Return what memory, time and money it takes, in lines; stop with 5 when the memory is not there, unless `force`."""
    run = _planned(recipe, method)
    model = _stored(model, recipe)
    memory, usable = training_memory(model, run, batch=recipe["batch"]), usable_memory(machine.flavor)
    rows = math.ceil(recipe["steps"] * recipe["batch"] * recipe["accumulation"] * machine.processes / _group(recipe))
    each = recipe["max_length"] if recipe["packing"] else min(lengths.mean, recipe["max_length"])
    work = Work(rows=rows, tokens=(rows * each, rows * each, rows * each))
    elsewhere = rank_estimates(
        estimate_training(model, replace(run, batch=0), work, flavor) for flavor in FLAVORS.values()
    )
    if memory.total > usable:
        refusal = _does_not_fit(recipe, memory, usable, machine, elsewhere[0])
        if not force:
            raise refusal
        note(f"{refusal.message}; started all the same (--force)")
    return list(_told_costs(model, run, work, memory, usable, machine, elsewhere[0]))


def print_recipe(recipe: TrainRecipe, costs: Sequence[str]) -> None:
    """Print the settings with their reasons, then memory, time and money, on stderr."""
    print("\n".join(["settings:", *(f"  {line}" for line in recipe.lines()), *costs]), file=sys.stderr, flush=True)


def require_4bit() -> None:
    """Stop with 5 when the package of QLoRA is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        message = "--load-in-4bit needs the package bitsandbytes, which this script does not bring along"
        raise Stop(
            EXIT_ENVIRONMENT, message, fix="run it with `uv run --with bitsandbytes ...`, or leave --load-in-4bit out"
        )


def _choose_numbers(recipe: TrainRecipe, args: argparse.Namespace, tuning: str, machine: TrainMachine) -> None:
    """Choose the types of weights and of the computation, and the attention kernel."""
    gpu = machine.flavor.gpu or "no GPU"
    half = "bfloat16" if machine.has_bf16 else "float16"
    asked = None if args.dtype == "auto" else args.dtype
    if machine.on_cpu:
        recipe.choose("dtype", asked, "float32", "no GPU")
    elif tuning == "full":
        recipe.choose("dtype", asked, "float32", "small updates get lost in 16 bits; computed in 16 bits")
    else:
        recipe.choose("dtype", asked, half, f"frozen weights; {gpu} {'has' if machine.has_bf16 else 'lacks'} bfloat16")
    recipe.choose("bf16", None, machine.has_bf16, gpu)
    recipe.choose("fp16", None, not machine.on_cpu and not machine.has_bf16, gpu)
    flash = machine.has_bf16 and importlib.util.find_spec("flash_attn") is not None
    reason = "flash-attn is installed" if flash else "flash-attn is not installed" if machine.has_bf16 else gpu
    recipe.choose("attention", args.attn_implementation, "flash_attention_2" if flash else "sdpa", reason)


def _choose_lengths(
    recipe: TrainRecipe,
    args: argparse.Namespace,
    lengths: TrainLengths,
    model: Model,
    machine: TrainMachine,
    *,
    packs: bool,
) -> None:
    context = model.shape.context or TRAIN_LONGEST
    if args.max_length and args.max_length > context:
        message = f"--max-length {args.max_length} is more than the context of the model, {context} tokens"
        raise Stop(EXIT_USAGE, message, fix=f"write --max-length {context}, or less")
    longest = min(context, TRAIN_LONGEST, 64 * math.ceil(lengths.most / 64))
    reason = (
        f"99 of 100 rows have at most {lengths.most:,} tokens, the longest {lengths.longest:,}, the context {context:,}"
    )
    chosen = recipe.choose("max_length", args.max_length, longest, reason)
    if lengths.longest > chosen:
        note(
            f"rows of more than {chosen:,} tokens are cut there: --max-length {min(context, lengths.longest)} keeps more"
        )
    flash = str(recipe["attention"]).startswith(("flash", "kernels"))
    asked = getattr(args, "packing", None) if packs else False
    recipe.choose(
        "packing", asked, packs and flash, "pays with a flash attention kernel" if packs else "not in this method"
    )
    grouped = packs and not recipe["packing"]
    recipe.choose(
        "grouped", None, grouped, "rows of alike lengths make little padding" if grouped else "nothing to group"
    )


def _choose_batch(
    recipe: TrainRecipe, args: argparse.Namespace, model: Model, run: Training, machine: TrainMachine
) -> None:
    """Choose rows at once, passes to a step and gradient checkpointing: as little of it as memory allows."""
    wanted = max(1, TRAIN_ROWS_A_STEP // machine.processes)
    asked = args.per_device_train_batch_size
    enough = asked or min(4, wanted)
    fits = {flag: largest_batch(model, replace(run, checkpointing=flag), machine.flavor) for flag in (False, True)}
    checkpointing = fits[False] < enough
    reason = "activations do not fit without" if checkpointing else "activations fit without, which is faster"
    flag = recipe.choose("checkpointing", args.gradient_checkpointing, checkpointing, reason)
    batch = min(wanted, max(1, fits[flag]))
    recipe.choose("batch", asked, batch, f"fits on {machine.flavor.gpu or 'this machine'}, 8 at most")
    alone = _group(recipe) // math.gcd(_group(recipe), recipe["batch"] * machine.processes)  # a step has whole groups
    passes = alone * math.ceil(max(1, round(wanted / recipe["batch"])) / alone)
    rows = recipe["batch"] * passes * machine.processes
    recipe.choose("accumulation", args.gradient_accumulation_steps, passes, f"{rows} rows a step")


def _choose_steps(
    recipe: TrainRecipe, args: argparse.Namespace, lengths: TrainLengths, machine: TrainMachine, *, evaluates: bool
) -> None:
    epochs = recipe.choose("epochs", args.num_train_epochs, 1.0, "once through the data")
    packed = math.ceil(lengths.rows * lengths.mean / recipe["max_length"]) if recipe["packing"] else lengths.rows
    packed *= _group(recipe)
    a_step = recipe["batch"] * recipe["accumulation"] * machine.processes
    steps = max(1, math.ceil(math.ceil(packed / a_step) * epochs))
    recipe.choose(
        "steps", args.max_steps if args.max_steps > 0 else None, steps, f"{packed:,} sequences, {a_step} a step"
    )
    tenth = max(1, min(200, max(10, recipe["steps"] // 10)))
    saves = recipe.choose("save_steps", args.save_steps, tenth, "a tenth of the run, 10 to 200")
    recipe.choose(
        "eval_steps", args.eval_steps, saves if evaluates else 0, "as save_steps" if evaluates else "no evaluation"
    )
    recipe.choose(
        "logging_steps", args.logging_steps, max(1, min(10, recipe["steps"] // 10)), "10, fewer in a short run"
    )


def _group(recipe: TrainRecipe) -> int:
    """Return how many sequences one row becomes: the answers to a prompt in grpo, else 1."""
    return recipe["num_generations"] if "num_generations" in recipe.settings else 1


def _planned(recipe: TrainRecipe, method: str) -> Training:
    answer = recipe.settings.get("max_completion_length")
    return Training(
        method=method,
        tuning=recipe["tuning"],
        length=recipe["max_length"],
        batch=recipe["batch"],
        rank=16 if recipe["tuning"] == "full" else recipe["lora_r"],
        checkpointing=recipe["checkpointing"],
        generations=_group(recipe),
        answer=answer.value if answer else 0,
    )


def _stored(model: Model, recipe: TrainRecipe) -> Model:
    """Return the model with weights of the chosen type."""
    return replace(model, weight_bytes=_TRAIN_BYTES[recipe["dtype"]])


def _does_not_fit(
    recipe: TrainRecipe, memory: Memory, usable: float, machine: TrainMachine, elsewhere: Estimate
) -> Stop:
    where = f"a {machine.flavor.gpu}" if machine.flavor.gpus else "this machine"
    message = f"about {memory.total / 1e9:.1f} GB needed, {max(0.0, usable) / 1e9:.1f} GB usable on {where}"
    return Stop(EXIT_ENVIRONMENT, message, fix=memory_advice(recipe, "" if elsewhere.short else elsewhere.flavor.name))


def memory_advice(recipe: TrainRecipe, flavor: str = "") -> str:
    """Return the three settings that change how much memory a training takes, and the flavor that has more."""
    name = "max_completion_length" if "max_completion_length" in recipe.settings else "max_length"
    batch, length = max(1, recipe["batch"] // 2), max(64, recipe[name] // 2)
    third = "--load-in-4bit" if recipe["checkpointing"] and recipe["tuning"] == "lora" else "--gradient-checkpointing"
    third = "no --full" if recipe["checkpointing"] and recipe["tuning"] == "full" else third
    advice = f"change --per-device-train-batch-size {batch}, --{name.replace('_', '-')} {length}, {third}"
    return f"{advice}; or run it as a Job with --flavor {flavor}" if flavor else advice


def _told_costs(
    model: Model,
    run: Training,
    work: Work,
    memory: Memory,
    usable: float,
    machine: TrainMachine,
    elsewhere: Estimate,
) -> list[str]:
    has = f"{max(usable, 0) / 1e9:.1f} GB usable" if math.isfinite(usable) else "how much there is, is not known"
    lines = [f"memory: about {memory.total / 1e9:.2f} GB on a device, {has} ({machine.flavor.gpu or 'no GPU'})"]
    here = estimate_training(model, run, work, replace(machine.flavor, disk_gb=0.0))
    if not here.short:
        low, likely, high = (max(1.0, here.seconds[case] - FIT_START_SECONDS[case]) for case in range(3))
        spread = f"{progress_duration(low / machine.processes)} to {progress_duration(high / machine.processes)}"
        lines.append(f"time: about {progress_duration(likely / machine.processes)} here ({spread})")
    if not elsewhere.short:
        low, likely, high = elsewhere.seconds
        lines.append(
            f"cost: as a Job about ${elsewhere.usd[1]:.2f} on {elsewhere.flavor.name} (${elsewhere.usd[0]:.2f} to "
            f"${elsewhere.usd[2]:.2f}, {progress_duration(likely)}; prices of {FLAVORS_DATE}), "
            f"--timeout {elsewhere.timeout_minutes}m"
        )
    return lines


def disk_needed(recipe: TrainRecipe, model: Model, checkpoints: int) -> int:
    """Return the bytes that so many checkpoints and the model take: weights that are trained, and AdamW's two moments."""
    if recipe["tuning"] == "full":
        trained, each = model.parameters, _TRAIN_BYTES[recipe["dtype"]]
    else:
        trained, each = adapter_parameters(model.shape, recipe["lora_r"]), 4
    return 3 * each * trained * (checkpoints + 1)
