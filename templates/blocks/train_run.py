# block: train_run 1
"""A training while it runs: what the Trainer is told, what it reports, how it is stopped, what is kept.

Promises: the same plan gives the same model, interrupted or not; a SIGTERM ends it after the step it is in, with a
checkpoint; a loss that is no number, too little memory and a full disk each end it with a line that says what to
change, and the last good checkpoint stays; only the first of several processes speaks to the Hub.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from .checkpoints import CHECKPOINT_FLUSH_S, CHECKPOINTS_FOLDER, CheckpointPusher, newest_here, seal_checkpoint
from .exits import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_INPUT, Stop, note, one_line
from .launch import LAUNCH_CODE, launch, launched_plan
from .persist_file import Run
from .progress import Progress
from .token import find_token
from .trackio import TrackioRun
from .train_job import TrainPlan
from .train_recipe import TrainRecipe, memory_advice

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import Trainer, TrainerCallback

TRAIN_LOG = "training_log.jsonl"
_LAYER_NAMES = ("target_modules", "exclude_modules", "modules_to_save")
_TRAIN_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
_TRAIN_FULL = ("no space left on device", "file write failed", "disk quota exceeded")


def trainer_settings(plan: TrainPlan) -> dict[str, Any]:
    """Return the arguments that the configs of all TRL's trainers have."""
    recipe, options = plan.settings, plan.options
    return {
        "output_dir": str(plan.work / CHECKPOINTS_FOLDER),
        "model_init_kwargs": model_settings(plan),
        "per_device_train_batch_size": recipe["batch"],
        "per_device_eval_batch_size": recipe["batch"],
        "gradient_accumulation_steps": recipe["accumulation"],
        "gradient_checkpointing": recipe["checkpointing"],
        "learning_rate": recipe["learning_rate"],
        "num_train_epochs": recipe["epochs"],
        "max_steps": options["max_steps"],
        "lr_scheduler_type": options["lr_scheduler_type"],
        "warmup_steps": options["warmup_steps"],
        "weight_decay": options["weight_decay"],
        "optim": options["optim"],
        "bf16": recipe["bf16"],
        "fp16": recipe["fp16"],
        "use_cpu": plan.on_cpu,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": not plan.on_cpu,
        "logging_steps": recipe["logging_steps"],
        "logging_nan_inf_filter": False,  # else a loss that is no number passes as the mean of the others
        "save_steps": recipe["save_steps"],
        "save_total_limit": options["save_total_limit"],
        "eval_strategy": "steps" if recipe["eval_steps"] else "no",
        "eval_steps": recipe["eval_steps"] or None,
        "train_sampling_strategy": "group_by_length" if recipe["grouped"] else "random",
        "seed": options["seed"],
        "data_seed": options["seed"],
        "report_to": "none",  # to Trackio by TrainWatcher, which no Space can stop
        "disable_tqdm": True,
    }


def model_settings(plan: TrainPlan) -> dict[str, Any]:
    """Return how the model is loaded."""
    recipe = plan.settings
    return {"revision": plan.revision or "main", "dtype": recipe["dtype"], "attn_implementation": recipe["attention"]}


def adapter_settings(plan: TrainPlan, task: str) -> LoraConfig | None:
    """Return the new adapter for PEFT's `task` (CAUSAL_LM, SEQ_CLS), None when all weights or an old adapter are trained."""
    from peft import LoraConfig

    recipe = plan.settings
    if recipe["tuning"] == "full" or plan.options["adapter"]:
        return None
    return LoraConfig(
        r=recipe["lora_r"],
        lora_alpha=recipe["lora_alpha"],
        lora_dropout=recipe["lora_dropout"],
        target_modules=recipe["lora_targets"],
        task_type=task,
    )


def quantization_settings(plan: TrainPlan) -> Any:  # noqa: ANN401 - transformers' BitsAndBytesConfig
    """Return how QLoRA stores the frozen weights, None for any other tuning."""
    if not plan.options["load_in_4bit"]:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    kind = getattr(torch, plan.settings["dtype"])
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kind, bnb_4bit_use_double_quant=True
    )


def model_to_train(plan: TrainPlan, kind: str, **loading: Any) -> Any:  # noqa: ANN401 - a name, or a PeftModel
    """Return the name of the model, or the model with the adapter to go on from, loaded by transformers' class `kind`."""
    if not plan.options["adapter"]:
        return plan.model
    import transformers
    from peft import PeftModel

    loading |= model_settings(plan) | {"quantization_config": quantization_settings(plan)}
    base = getattr(transformers, kind).from_pretrained(plan.model, **loading)
    return PeftModel.from_pretrained(base, plan.options["adapter"], is_trainable=True)


class TrainWatcher:
    """What happens between the steps of a training; `callback()` is what a Trainer takes."""

    def __init__(self, plan: TrainPlan, pusher: CheckpointPusher | None, trackio: TrackioRun | None) -> None:
        self._plan, self._pusher, self._trackio = plan, pusher, trackio
        self._recipe = plan.settings
        self._progress: Progress | None = None
        self.stopping = False

    def callback(self) -> TrainerCallback:
        """Return the callback that hands the Trainer's events to this object."""
        from transformers import TrainerCallback

        watcher = self

        class Watch(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.begin(state.global_step, state.max_steps)

            def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.begin_epoch(int(state.epoch or 0), _["train_dataloader"])

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.end_step(control)

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ANN401
                watcher.log(logs or {}, state.global_step, state.is_world_process_zero)

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                if _together(state.is_world_process_zero):
                    watcher.save(Path(args.output_dir), state.global_step, last=state.global_step >= state.max_steps)

            def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.end()

        return Watch()

    def begin(self, step: int, steps: int) -> None:
        """Show how far it is from here on."""
        if self._progress is None and launched_rank() == 0:
            self._progress = Progress(steps, "steps", start=step)
            self._progress.__enter__()

    def begin_epoch(self, epoch: int, loader: Any) -> None:  # noqa: ANN401 - accelerate's DataLoaderShard
        """Seed the order of the epoch: the sampler that groups by length takes it from wherever the common generator is."""
        if self._recipe["grouped"]:
            import torch

            batches = loader.batch_sampler
            while hasattr(batches, "batch_sampler"):
                batches = batches.batch_sampler
            sampler = batches.sampler
            sampler.generator = torch.Generator().manual_seed(self._plan.options["seed"] + epoch)
            # rows of a whole step, so that the order is the same in however many processes
            sampler.batch_size = self._recipe["batch"] * self._recipe["accumulation"] * self._plan.processes

    def end_step(self, control: Any) -> None:  # noqa: ANN401 - transformers' TrainerControl
        """Count the step; on SIGTERM save and stop; look at the loss before it is saved."""
        if self._progress is not None:
            self._progress.add()
        if _any_rank(self.stopping):
            self.stopping = True
            control.should_save = control.should_training_stop = True
        if control.should_save:
            control.should_log = True

    def log(self, figures: Mapping[str, Any], step: int, first: bool) -> None:
        """Report figures; stop with 4 when the loss is no number."""
        numbers = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
        for name in ("loss", "eval_loss"):
            if not math.isfinite(numbers.get(name, 0.0)):
                raise _no_number(name, numbers[name], step, self._recipe)
        if first and self._trackio is not None:
            self._trackio.log({_trackio_name(name): value for name, value in numbers.items()}, step)
        shown = [
            f"{name} {numbers[name]:.4g}"
            for name in ("loss", "eval_loss", "reward", "eval_reward", "learning_rate")
            if name in numbers
        ]
        if first and shown:
            note(f"step {step}: {', '.join(shown)}")

    def save(self, folder: Path, step: int, *, last: bool) -> None:
        """Declare the checkpoint complete and push it; the last one is not pushed, as the model itself follows at once."""
        path = folder / f"checkpoint-{step}"
        (path / "training_args.bin").unlink(missing_ok=True)  # this machine's paths, and nothing that resuming needs
        seal_checkpoint(path, checkpoint_facts(self._plan))
        if self._pusher is not None and (not last or self.stopping):
            self._pusher.push(folder)

    def end(self) -> None:
        """Say how far it came."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None


def checkpoint_facts(plan: TrainPlan) -> dict[str, Any]:
    """Return what an attempt must know of the one that it goes on from."""
    return {
        "script": plan.run["script"],
        "request": plan.run["request"],
        "source": plan.run["source"],
        "dataset_commit": plan.run["dataset_commit"],
        "model_commit": plan.revision,
        "recipe": dict(plan.recipe),
        "run_name": plan.run_name,
    }


def run_training(make: Callable[[TrainPlan, TrainWatcher], Trainer], plan: TrainPlan) -> None:
    """Train by `plan` with the Trainer that `make` returns; the model, its tokenizer and the log are in the work folder then.

    Ends the process with 143 after a SIGTERM, once the checkpoint of the step that it was in is pushed.
    """
    from transformers import PrinterCallback

    first = launched_rank() == 0
    pusher, trackio = (_pusher(plan), _trackio(plan)) if first else (None, None)
    watcher = TrainWatcher(plan, pusher, trackio)
    with redirect_stdout(sys.stderr), _stopped_by_sigterm(watcher), _explained(plan):
        try:
            _hush()
            trainer = make(plan, watcher)
            trainer.remove_callback(PrinterCallback)  # TrainWatcher reports
            _count_on(trainer, plan.checkpoint)
            trainer.train(resume_from_checkpoint=plan.checkpoint)
            if not watcher.stopping:
                _save_model(trainer, plan)
        finally:
            watcher.end()
            if trackio is not None:
                trackio.finish()
            if pusher is not None and (watcher.stopping or sys.exc_info()[0]):
                pusher.close(CHECKPOINT_FLUSH_S)
            elif pusher is not None:
                pusher.cancel()
    if watcher.stopping:
        note("stopped by SIGTERM; the same command goes on from here")
        raise SystemExit(128 + signal.SIGTERM)


def launched_rank() -> int:
    """Return which of several processes this is, from 0."""
    return int(os.environ.get("RANK", "0")) if launched_plan() else 0


def train_in_processes(plan: TrainPlan, words: Sequence[str]) -> None:
    """Train by `plan` in processes of their own; end this one as they ended, where they failed."""
    file = plan.write()
    file.with_name(LAUNCH_CODE).unlink(missing_ok=True)
    code = launch(file, words, processes=plan.processes, on_cpu=plan.on_cpu)
    if code:
        raise SystemExit(code)


def follow_plan(train: Callable[[TrainPlan], None]) -> int:
    """Do in a launched process what the plan says; return the exit code."""
    train(TrainPlan.read(Path(str(launched_plan()))))
    return EXIT_DONE


def keep_examples(plan: TrainPlan, rows: Dataset, held_out: Dataset | None) -> None:
    """Put the rows where the processes that are launched find them."""
    rows.save_to_disk(str(plan.work / "rows"))
    if held_out is not None:
        held_out.save_to_disk(str(plan.work / "held-out"))


def kept_examples(plan: TrainPlan) -> tuple[Dataset, Dataset | None]:
    """Return what `keep_examples` kept."""
    from datasets import Dataset

    held_out = plan.work / "held-out"
    return Dataset.load_from_disk(str(plan.work / "rows")), (
        Dataset.load_from_disk(str(held_out)) if held_out.is_dir() else None
    )


def _pusher(plan: TrainPlan) -> CheckpointPusher | None:
    if plan.repo_id is None:
        return None
    run = Run(script=plan.run["script"], request=plan.run["request"], source=plan.run["source"])
    token = str(find_token())
    limit, every = plan.options["save_total_limit"], plan.options["commit_every"]
    return CheckpointPusher(plan.repo_id, run, token, limit=limit, every=every)


def _trackio(plan: TrainPlan) -> TrackioRun:
    project = plan.options["project"] or str(plan.run["script"]).removesuffix(".py")
    config = {"model": plan.model, "dataset": plan.label, **{name: value for name, (value, _) in plan.recipe.items()}}
    return TrackioRun(project, plan.run_name, space=plan.space, private=plan.private, config=config)


def _trackio_name(name: str) -> str:
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


@contextmanager
def _stopped_by_sigterm(watcher: TrainWatcher) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        watcher.stopping = True

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _explained(plan: TrainPlan) -> Iterator[None]:
    """Turn what the libraries raise when memory or disk runs out into a line that says what to change."""
    try:
        yield
    except (RuntimeError, OSError, MemoryError) as error:
        said = one_line(error).lower()
        kept = _last_kept(plan)
        if isinstance(error, MemoryError) or any(words in said for words in _TRAIN_MEMORY):
            message = f"out of memory{kept}"
            raise Stop(EXIT_ENVIRONMENT, message, fix=memory_advice(plan.settings)) from error
        full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or any(
            words in said for words in _TRAIN_FULL
        )
        if full or shutil.disk_usage(plan.work).free < 1_000_000:
            message = f"the disk of {plan.work} is full{kept}"
            fix = "free some space or name another --output-dir, and run the same command again"
            raise Stop(EXIT_ENVIRONMENT, message, fix=fix) from error
        raise


def _last_kept(plan: TrainPlan) -> str:
    found = newest_here(plan.work / CHECKPOINTS_FOLDER)
    return f"; the checkpoint of step {found.step} stays" if found else ""


def _no_number(name: str, value: float, step: int, recipe: TrainRecipe) -> Stop:
    message = f"the {name.replace('_', ' ')} is {value} at step {step}; checkpoints of earlier steps stay"
    lower = recipe["learning_rate"] / 10
    return Stop(EXIT_INPUT, message, fix=f"look for broken rows, or write --learning-rate {lower:g} --overwrite")


def _any_rank(flag: bool) -> bool:
    """Whether the flag is set in any of the processes; all must ask at the same step."""
    if launched_plan() is None:
        return flag
    import torch
    from accelerate import PartialState

    state = PartialState()
    asked = torch.tensor([float(flag)], device=state.device)
    torch.distributed.all_reduce(asked)
    return bool(asked.item())


def _together(first: bool) -> bool:
    """Wait until all processes are here; return whether this is the first one."""
    if launched_plan() is not None:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
    return first


def _hush() -> None:
    """Leave deprecations to the libraries' own developers, and their bars to terminals."""
    import warnings

    from datasets import disable_progress_bars

    warnings.filterwarnings("ignore", category=FutureWarning)
    disable_progress_bars()


def _count_on(trainer: Trainer, checkpoint: str | None) -> None:
    """Let TRL's count of tokens go on from the checkpoint, in which it does not keep it."""
    if checkpoint is None or not hasattr(trainer, "_total_train_tokens"):
        return
    history = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    counts = [entry["num_tokens"] for entry in history if "num_tokens" in entry]
    trainer._total_train_tokens = counts[-1] if counts else 0


def _save_model(trainer: Trainer, plan: TrainPlan) -> None:
    """Write the model with its tokenizer, and what the training logged, to the work folder."""
    folder = plan.work / "model"
    if launched_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    merge = plan.options["merge"] and not plan.options["full"]
    trainer.save_model(str(folder / "adapter" if merge else folder))
    if launched_rank() == 0:
        if merge:
            _save_merged(trainer, folder, plan)
        for name in ("README.md", "training_args.bin", "adapter/README.md", "adapter/training_args.bin"):
            (folder / name).unlink(missing_ok=True)
        for config in folder.rglob("adapter_config.json"):
            _sort_layers(config)
        lines = (json.dumps(entry, sort_keys=True) + "\n" for entry in _steady_log(trainer.state.log_history))
        (folder / TRAIN_LOG).write_text("".join(lines), encoding="utf-8")


def _sort_layers(config: Path) -> None:
    """Sort the names of the layers: PEFT holds them as a set, and would write the same adapter differently each time."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content |= {name: sorted(content[name]) for name in _LAYER_NAMES if isinstance(content.get(name), list)}
    config.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


def _save_merged(trainer: Trainer, folder: Path, plan: TrainPlan) -> None:
    import torch

    model = trainer.accelerator.unwrap_model(trainer.model)
    merged = model.merge_and_unload()
    if plan.settings["dtype"] == "float32" and not plan.on_cpu:
        merged = merged.to(torch.bfloat16)
    merged.save_pretrained(str(folder))
    if trainer.processing_class is not None:
        trainer.processing_class.save_pretrained(str(folder))


def _steady_log(history: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what was logged, without durations and speeds: the same training logs the same."""
    for entry in history:
        if "train_runtime" not in entry:
            yield {
                name: value for name, value in entry.items() if not name.endswith(("_runtime", "_per_second", "_time"))
            }
