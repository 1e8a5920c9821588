# block: train_run 1
"""A training from its plan to its model: where it goes on, what it reports, how it is stopped, what the card says.

Promises: the same plan gives the same model, interrupted or not; a SIGTERM ends it after the step it is in, with a
checkpoint; a loss that is no number, too little memory and a full disk each end it with a line that says what to
change, and the last good checkpoint stays; only the first of several processes speaks to the Hub.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from .card import ScriptStamp, md, md_table, provenance, render_card
from .checkpoints import (
    CHECKPOINT_FLUSH_S,
    CHECKPOINT_PAUSE_S,
    CHECKPOINTS_FOLDER,
    Checkpoint,
    CheckpointPusher,
    fetch_checkpoint,
    newest_here,
    newest_on_hub,
    seal_checkpoint,
)
from .exits import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_USAGE, Stop, note, one_line
from .fit import Model
from .launch import LAUNCH_CODE, launch, launched_plan
from .model import find_model
from .persist_file import Run
from .persist_model import MODEL_MANIFEST, ModelHeld, _model_wanted, look_at_model, open_model, persist_model
from .preflight import require_disk
from .progress import Progress
from .retry import retry
from .source import Source, resolve_source
from .token import find_token, require_write, who_am_i
from .trackio import TrackioRun, new_run_name, trackio_space
from .train_data import hold_out, prepare_examples, read_examples
from .train_options import TrainTarget, train_target
from .train_recipe import TrainMachine, TrainRecipe, disk_needed, memory_advice, require_4bit, this_machine

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback

TRAIN_LOG, TRAIN_PLOT = "training_log.jsonl", "training.png"
# What changes the model: a run with others of these is another run.
TRAIN_REQUEST = (
    *(
        "model",
        "model_revision",
        "config",
        "split",
        "map",
        "as_chat",
        "skip_bad_rows",
        "max_samples",
        "eval_split",
        "eval_strategy",
        "max_length",
    ),
    *("chat_template_path", "eos_token", "full", "load_in_4bit", "adapter", "lora_r", "lora_alpha", "lora_dropout"),
    *("lora_target_modules", "merge", "dtype", "learning_rate", "num_train_epochs", "max_steps", "lr_scheduler_type"),
    *("warmup_steps", "weight_decay", "optim", "per_device_train_batch_size", "gradient_accumulation_steps", "seed"),
)
_TRAIN_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
_TRAIN_FULL = ("no space left on device", "file write failed", "disk quota exceeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainBase:
    """The model to begin with: `name` is a Hub id or a folder, `commit` its commit, `licence` what its card states."""

    name: str
    commit: str | None
    model: Model
    config: Mapping[str, Any]
    licence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """A training that was checked: input, model and output exist and fit together.

    `done` says that the output holds its result already; `resume` is the checkpoint to go on from.
    """

    target: TrainTarget
    source: Source
    base: TrainBase
    machine: TrainMachine
    run: Run
    resume: Checkpoint | None
    done: bool
    token: str | None
    private: bool
    run_name: str
    space: str | None

    @property
    def recipe(self) -> TrainRecipe | None:
        """The settings of the attempt that this one goes on from."""
        return TrainRecipe.from_json(self.resume.facts["recipe"]) if self.resume else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """All that the training itself needs, as plain values: each of several processes reads it from a file."""

    method: str
    model: str
    revision: str | None
    label: str
    folder: str
    checkpoint: str | None
    repo_id: str | None
    run: Mapping[str, Any]
    recipe: Mapping[str, Any]
    options: Mapping[str, Any]
    run_name: str
    space: str | None
    private: bool
    processes: int
    on_cpu: bool

    @property
    def settings(self) -> TrainRecipe:
        """The recipe."""
        return TrainRecipe.from_json(self.recipe)

    @property
    def work(self) -> Path:
        """The folder with checkpoints, model and log."""
        return Path(self.folder)

    def write(self) -> Path:
        """Write it to its folder and return the file."""
        file = self.work / "plan.json"
        file.write_text(json.dumps(asdict(self), default=str), encoding="utf-8")
        return file

    @classmethod
    def read(cls, file: Path) -> TrainPlan:
        """Return what `write` wrote."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


# --- before: what is checked, and where it goes on ---


def open_training(args: argparse.Namespace, script: str, *, extra: Sequence[str] = (), version: int) -> TrainJob:
    """Check token, output, input and model, and find the checkpoint to go on from; nothing is written, trained or downloaded yet.

    `extra` names the script's own options that change the model, `version` is its RESULT_VERSION.
    """
    target = train_target(args)
    token = require_write(target.repo_id) if target.repo_id else find_token()
    if args.load_in_4bit:
        require_4bit()
    machine = this_machine(args.num_processes)
    held = look_at_model(target.repo_id, token) if target.repo_id else None
    request = {name: getattr(args, name) for name in (*TRAIN_REQUEST, *extra)} | {"result_version": version}
    resume = None if args.overwrite else _find_checkpoint(target, held, token)
    source = resolve_source(
        args.dataset, config=args.config, split=args.split, revision=_pinned(args, resume), token=token
    )
    request |= {"dataset": source.repo_id or source.given}
    run = Run(script=script, request=json.loads(json.dumps(request)), source=source.identity)
    private = args.private or (source.private and not args.public)
    done = _open_target(target, run, args, held=held, token=token, private=private)
    base = read_base(args.model, resume.facts["model_commit"] if resume else args.model_revision, token)
    user = who_am_i(token).get("name") if token and target.repo_id else None
    return TrainJob(
        target=target,
        source=source,
        base=base,
        machine=machine,
        run=run,
        resume=resume,
        done=done,
        token=token,
        private=private,
        run_name=args.run_name or (resume.facts["run_name"] if resume else new_run_name(f"{base.name}-{args.dataset}")),
        space=trackio_space(args.trackio_space, user),
    )


def read_base(name: str, revision: str | None, token: str | None) -> TrainBase:
    """Return the model to begin with; stop with 4 for what cannot be trained here (adapters, vision-language models)."""
    folder = Path(name).expanduser()
    facts = find_model(str(folder) if folder.is_dir() else name, token)
    commit = None if folder.is_dir() else (_commit_of(name, revision, token) if revision else facts.commit)
    config = _read_json(_small_file(name, "config.json", commit, token))
    kinds = config.get("architectures") or []
    if "vision_config" in config or any(
        kind.endswith(("ForConditionalGeneration", "ForImageTextToText")) for kind in kinds
    ):
        message = f"{name} is a vision-language model ({', '.join(kinds) or config.get('model_type')}): this script trains text models"
        fix = "name its text-only sibling, or use TRL's own sft_vlm.py example for images"
        raise Stop(EXIT_INPUT, message, fix=fix)
    return TrainBase(name=name, commit=commit, model=facts.model, config=config, licence=_licence(name, commit, token))


def _pinned(args: argparse.Namespace, resume: Checkpoint | None) -> str | None:
    """Return the revision of the dataset: the commit that the first attempt took, where there was one."""
    if resume is None or args.revision or "@" in args.dataset:
        return args.revision
    return resume.facts["dataset_commit"]


def _find_checkpoint(target: TrainTarget, held: ModelHeld | None, token: str | None) -> Checkpoint | None:
    """Return the newest complete checkpoint, here or on the Hub; the one here when they are equally new."""
    here = newest_here(target.folder / CHECKPOINTS_FOLDER) if target.folder else None
    there = newest_on_hub(target.repo_id, held, token) if target.repo_id and held else None
    return max((one for one in (here, there) if one), key=lambda one: one.step, default=None)


def _open_target(
    target: TrainTarget, run: Run, args: argparse.Namespace, *, held: ModelHeld | None, token: str | None, private: bool
) -> bool:
    """Check that the output is this run's or nobody's; return whether it holds the finished model already."""
    if target.repo_id is None:
        return _open_folder(target.folder, run, overwrite=args.overwrite)
    open_model(target.repo_id, run, token=str(token), private=private, overwrite=args.overwrite, dry_run=True)
    if held is None or args.overwrite or held.manifest.get("source") != run.source:
        return False
    return any(name.endswith((".safetensors", ".bin")) and "/" not in name for name in held.files)


def _open_folder(folder: Path | None, run: Run, *, overwrite: bool) -> bool:
    if folder is None or not folder.exists():
        return False
    if not folder.is_dir():
        raise Stop(EXIT_USAGE, f"{folder} is a file", fix="name a folder")
    manifest = folder / MODEL_MANIFEST
    held = _read_json(manifest) if manifest.is_file() else {}
    begun = newest_here(folder / CHECKPOINTS_FOLDER)
    theirs = held or (begun.facts if begun else {})
    ours = theirs.get("script") == run.script and theirs.get("request") == run.request
    foreign = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if foreign and not ours and not overwrite:
        if set(foreign) <= {CHECKPOINTS_FOLDER, "plan.json"} and not theirs:
            return False  # left by an attempt that was killed before its first checkpoint
        message = f"{folder} holds what is not of this run ({', '.join(sorted(foreign)[:3])})"
        raise Stop(EXIT_INPUT, message, fix="name another folder, or add --overwrite")
    if overwrite:
        shutil.rmtree(folder / CHECKPOINTS_FOLDER, ignore_errors=True)
    return bool(held) and ours and not overwrite and held.get("source") == run.source


def _commit_of(name: str, revision: str | None, token: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(token=token or False)
    try:
        return str(retry(lambda: api.model_info(name, revision=revision), what=f"reading {name}").sha)
    except RevisionNotFoundError as error:
        fix = "name a branch, tag or commit of it"
        raise Stop(EXIT_INPUT, f"{name} has no revision {revision!r}", fix=fix) from error
    except RepositoryNotFoundError as error:
        raise Stop(EXIT_INPUT, f"there is no model {name}", fix="check --model") from error


def _small_file(name: str, file: str, commit: str | None, token: str | None) -> Path | None:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder / file if (folder / file).is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        found = retry(
            lambda: hf_hub_download(name, file, revision=commit, token=token or False), what=f"reading {file} of {name}"
        )
    except EntryNotFoundError:
        return None
    return Path(found)


def _read_json(file: Path | None) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _licence(name: str, commit: str | None, token: str | None) -> str | None:
    """Return the licence that the card of the base model states."""
    from huggingface_hub import metadata_load

    card = _small_file(name, "README.md", commit, token)
    stated = (metadata_load(card) or {}).get("license") if card else None
    return stated if isinstance(stated, str) else None


def load_tokenizer(name: str, commit: str | None, options: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the model, with the chat template and the end token that `options` ask for."""
    from transformers import AutoTokenizer

    template, end = options["chat_template_path"], options["eos_token"]
    is_file = bool(template) and template.endswith((".jinja", ".j2"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=commit or "main")
        if is_file:
            tokenizer.chat_template = Path(template).read_text(encoding="utf-8")
        elif template:
            tokenizer.chat_template = AutoTokenizer.from_pretrained(template).chat_template
    except (OSError, ValueError) as error:
        message = f"the tokenizer or the chat template of {name} cannot be loaded: {one_line(error)[:300]}"
        raise Stop(EXIT_INPUT, message, fix="name a model that has one, and check --chat-template-path") from error
    if end:
        if end not in tokenizer.get_vocab():
            fix = "name one of its tokens with --eos-token"
            raise Stop(EXIT_INPUT, f"the tokenizer of {name} has no token {end!r}", fix=fix)
        tokenizer.eos_token = end
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def read_rows(job: TrainJob, args: argparse.Namespace, method: str) -> tuple[Dataset, Dataset | None]:
    """Return the rows to train on and those to evaluate on, as TRL takes them for `method`."""
    rows = read_examples(job.source, job.token, args.max_samples)
    changes = {"as_chat": args.as_chat, "skip_bad": args.skip_bad_rows}
    rows = prepare_examples(rows, method, args.map, job.source.label, **changes)
    rows, held_out, why = hold_out(
        rows,
        job.source,
        job.token,
        asked=args.eval_split,
        strategy=args.eval_strategy,
        smoke=args.max_steps > 0,
        seed=args.seed,
    )
    note(why)
    if held_out is not None and args.eval_split:
        label = f"the split {args.eval_split}"
        held_out = prepare_examples(held_out, method, args.map, label, **changes)
    return rows, held_out


def check_adapter(job: TrainJob, adapter: str | None) -> None:
    """Stop with 4 when the adapter to go on from is none, or belongs to another model."""
    if adapter is None:
        return
    config = _read_json(_small_file(adapter, "adapter_config.json", None, job.token))
    if not config:
        raise Stop(EXIT_INPUT, f"{adapter} holds no adapter_config.json", fix="name an adapter with --adapter")
    base = config.get("base_model_name_or_path")
    if base != job.base.name:
        message = f"{adapter} is an adapter for {base}, not for {job.base.name}"
        raise Stop(EXIT_INPUT, message, fix=f"write --model {base}, or leave --adapter out")


def make_plan(job: TrainJob, args: argparse.Namespace, recipe: TrainRecipe, method: str) -> TrainPlan:
    """Return the plan; the repository is there then, and so is the checkpoint to go on from."""
    if job.target.repo_id:
        settled = {"token": str(job.token), "private": job.private, "overwrite": args.overwrite, "dry_run": False}
        open_model(job.target.repo_id, job.run, **settled)
    folder = job.target.folder or Path(tempfile.mkdtemp(prefix="training-"))
    require_disk(disk_needed(recipe, job.base.model, args.save_total_limit), folder)
    checkpoints = folder / CHECKPOINTS_FOLDER
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = job.resume.path if job.resume else None
    if job.resume and path is None:
        path = fetch_checkpoint(str(job.target.repo_id), job.resume, checkpoints, job.token)
    if job.resume:
        note(f"going on after step {job.resume.step}")
    return TrainPlan(
        method=method,
        model=job.base.name,
        revision=job.base.commit,
        label=job.source.label,
        folder=str(folder),
        checkpoint=str(path) if path else None,
        repo_id=job.target.repo_id,
        run=asdict(job.run) | {"dataset_commit": job.source.commit},
        recipe=recipe.to_json(),
        options=vars(args),
        run_name=job.run_name,
        space=job.space,
        private=job.private,
        processes=job.machine.processes,
        on_cpu=job.machine.on_cpu,
    )


# --- the training itself ---


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
    history = _read_json(Path(checkpoint) / "trainer_state.json").get("log_history", ())
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
        lines = (json.dumps(entry, sort_keys=True) + "\n" for entry in _steady_log(trainer.state.log_history))
        (folder / TRAIN_LOG).write_text("".join(lines), encoding="utf-8")


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


# --- after: the model to its place, with a card ---


def finish_training(
    job: TrainJob,
    plan: TrainPlan,
    args: argparse.Namespace,
    *,
    stamp: ScriptStamp,
    title: str,
    rows: int,
    kind: str,
    told: Sequence[str] = (),
) -> dict[str, Any]:
    """Persist the model with its log, plot and card; return the facts.

    `kind` is transformers' class that loads it, `told` what the card says after the figures, a section each.
    """
    folder = plan.work / "model"
    log = training_log(plan)
    (folder / TRAIN_PLOT).write_bytes(plot_training(log))

    def make_card(existing: str | None) -> str:
        return training_card(existing, job, plan, log, args, stamp=stamp, title=title, rows=rows, kind=kind, told=told)

    facts = {"steps": plan.settings["steps"], "rows": rows, **_last_figures(log)}
    if job.target.repo_id is None:
        _move_to_folder(job, folder, make_card)
        return facts | {"output": str(job.target)}
    _make_whole(folder, job.run, make_card)
    _await_hub(job.target.repo_id, job.token)
    commit = persist_model(job.target.repo_id, folder, job.run, token=str(job.token), make_card=make_card)
    shutil.rmtree(plan.work / CHECKPOINTS_FOLDER, ignore_errors=True)
    if job.target.folder is None:
        shutil.rmtree(plan.work, ignore_errors=True)
    else:
        _move_to_folder(job, folder, make_card)
    return facts | {"output": job.target.repo_id, "commit": commit}


def _make_whole(folder: Path, run: Run, make_card: Callable[[str | None], str]) -> None:
    """Put card and manifest into the folder: where the Hub refuses the model, somebody uploads it as it lies there."""
    (folder / "README.md").write_text(make_card(None), encoding="utf-8")
    nothing = ModelHeld(head="", private=False, files={}, manifest={}, card=None)
    manifest = _model_wanted(folder, run, nothing, None, "", keep=())[MODEL_MANIFEST]
    (folder / MODEL_MANIFEST).write_bytes(bytes(manifest))  # type: ignore[arg-type]


def _await_hub(repo_id: str, token: str | None) -> None:
    """Wait until the Hub answers, or for CHECKPOINT_FLUSH_S seconds: the model is made, and this disk may go with the Job."""
    deadline = time.monotonic() + CHECKPOINT_FLUSH_S
    while True:
        try:
            look_at_model(repo_id, token)
        except Stop as stop:
            if stop.code != EXIT_ENVIRONMENT or time.monotonic() > deadline:
                return  # persist_model says what can be done
            note(f"the model waits for the Hub ({stop.message})")
            time.sleep(CHECKPOINT_PAUSE_S)
        else:
            return


def training_card(
    existing: str | None,
    job: TrainJob,
    plan: TrainPlan,
    log: Sequence[Mapping[str, Any]],
    args: argparse.Namespace,
    *,
    stamp: ScriptStamp,
    title: str,
    rows: int,
    kind: str,
    told: Sequence[str] = (),
) -> str:
    """Return the model card: base, data and their commits, settings with reasons, figures, plot, versions, how to load it."""
    adapter = not args.full and not args.merge
    base, source = job.base, job.source
    tuning = {"lora": "LoRA", "qlora": "QLoRA", "full": "all weights"}[plan.settings["tuning"]]
    name = source.repo_id or source.given
    recipe = [{"setting": key, "value": one.value, "why": one.reason} for key, one in plan.settings.settings.items()]
    licence = base.licence or "not stated in its card"
    sections = [
        f"# {md(title)}",
        f"{md(base.name)}, trained with {md(plan.method)} ({tuning}) on {rows:,} rows of {md(name)} (split {md(source.split)}).",
        f"Base model: {md(base.name)}"
        + (f" at `{md(base.commit)}`" if base.commit else "")
        + f"; licence: {md(licence)}.",
        "## Load it\n\n" + _loading(job, kind, adapter=adapter),
        "## Figures\n\n" + md_table([{key: f"{value:.6g}" for key, value in _last_figures(log).items()}]),
        f"![{'Reward' if any('reward' in entry for entry in log) else 'Loss'} by step]({TRAIN_PLOT})",
        f"All figures by step are in `{TRAIN_LOG}`" + (f"; also in Trackio, {md(plan.space)}." if plan.space else "."),
        *told,
        "## Settings\n\n" + md_table(recipe),
        provenance(
            stamp,
            source=name,
            identity=source.identity,
            arguments=args.words,
            packages=("trl", "transformers", "peft", "datasets", "torch"),
        ),
    ]
    front: dict[str, Any] = {"library_name": "peft" if adapter else "transformers"}
    front |= {"base_model": base.name} if base.commit else {}  # a folder here is nothing that the Hub could link
    front |= {"license": base.licence} if base.licence else {}
    front |= {"datasets": [source.repo_id]} if source.repo_id else {}
    front["tags"] = ["trl", plan.method.lower(), *([] if args.full else ["lora"])]
    return render_card(existing, front_matter=front, body="\n\n".join(sections))


def training_log(plan: TrainPlan) -> list[dict[str, Any]]:
    """Return what a finished training logged, an entry for each step that was logged."""
    lines = (plan.work / "model" / TRAIN_LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def plot_training(log: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the plot of the losses by step, or of the rewards, as PNG; the same log gives the same bytes."""
    import io
    import logging

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    rewarded = any("reward" in entry for entry in log)  # the loss of such a training says nothing
    for name in ("reward", "eval_reward") if rewarded else ("loss", "eval_loss"):
        points = [(entry["step"], entry[name]) for entry in log if entry.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "", label=name.replace("_", " "))
    axes.set_xlabel("step")
    if axes.lines:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def show_training(facts: Mapping[str, Any], *, as_json: bool) -> int:
    """Print what was done, as JSON or in lines; return the exit code."""
    if as_json:
        print(json.dumps(facts))
    else:
        print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return EXIT_DONE


def _last_figures(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the first and the last loss and reward, and the last of every other figure that says how good the model is."""
    figures: dict[str, float] = {}
    for name in ("loss", "reward"):
        values = [entry[name] for entry in log if entry.get(name) is not None]
        figures |= {f"first_{name}": values[0], f"last_{name}": values[-1]} if values else {}
    for name in (
        "eval_loss",
        "mean_token_accuracy",
        "rewards/accuracies",
        "rewards/margins",
        "accuracy",
        "margin",
        "eval_reward",
    ):
        values = [entry[name] for entry in log if entry.get(name) is not None]
        figures |= {name: values[-1]} if values else {}
    return figures


def _loading(job: TrainJob, kind: str, *, adapter: bool) -> str:
    model, place = job.base.name, job.target
    if adapter:
        lines = [f"from transformers import {kind}", "from peft import PeftModel", ""]
        lines += [f"model = PeftModel.from_pretrained({kind}.from_pretrained({model!r}), {str(place)!r})"]
    else:
        lines = [f"from transformers import {kind}", "", f"model = {kind}.from_pretrained({str(place)!r})"]
    return "```python\n" + "\n".join(lines) + "\n```"


def _move_to_folder(job: TrainJob, folder: Path, make_card: Callable[[str | None], str]) -> None:
    """Move the model to the folder that was asked for; the manifest comes last, and says that it is whole."""
    target = job.target.folder or folder
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    readme = target / "README.md"
    readme.write_text(make_card(readme.read_text("utf-8") if readme.is_file() else None), encoding="utf-8")
    manifest = {"script": job.run.script, "request": job.run.request, "source": job.run.source}
    (target / MODEL_MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in (CHECKPOINTS_FOLDER, "model", "rows", "held-out"):
        shutil.rmtree(target / name, ignore_errors=True)
    (target / "plan.json").unlink(missing_ok=True)
