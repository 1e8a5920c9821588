# block: train_job 1
"""A training before it begins: what is checked, where it goes on, and the plan that each of its processes follows.

Promises: token, output, data and model are looked at before anything is loaded, written or paid for; an output of another
run is refused; the newest complete checkpoint is found, here or on the Hub; base model and data stay at the commits that
the first attempt took.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import CHECKPOINTS_FOLDER, Checkpoint, fetch_checkpoint, newest_here, newest_on_hub
from .exits import EXIT_INPUT, EXIT_USAGE, Stop, note, one_line
from .fit import Model
from .model import find_model
from .persist_file import Run
from .persist_model import MODEL_MANIFEST, ModelHeld, look_at_model, open_model
from .preflight import require_disk
from .retry import retry
from .source import Source, resolve_source
from .token import find_token, require_write, who_am_i
from .trackio import new_run_name, trackio_space
from .train_data import hold_out, prepare_examples, read_examples
from .train_options import TrainTarget, train_target
from .train_recipe import TrainMachine, TrainRecipe, disk_needed, require_4bit, this_machine

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# What changes the model: a run with others of these is another run.
TRAIN_REQUEST = (
    *("model", "model_revision", "config", "split", "map", "as_chat", "skip_bad_rows", "max_samples", "eval_split"),
    *("eval_strategy", "max_length", "chat_template_path", "eos_token", "full", "load_in_4bit", "adapter", "lora_r"),
    *("lora_alpha", "lora_dropout", "lora_target_modules", "merge", "dtype", "learning_rate", "num_train_epochs"),
    *("max_steps", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "seed"),
)


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
    source = _find_source(args, args.revision, token)
    request = {name: getattr(args, name) for name in (*TRAIN_REQUEST, *extra)} | {"result_version": version}
    request |= {"dataset": source.repo_id or source.given}
    run = Run(script=script, request=json.loads(json.dumps(request)), source=source.identity)
    resume = _find_checkpoint(target, run, held, token)
    if resume and source.commit is None and resume.facts["source"] != source.identity:
        if not args.overwrite:
            message = f"{args.dataset} is not what {target} was begun with"
            raise Stop(EXIT_INPUT, message, fix="bring the old rows back, or add --overwrite to begin anew")
        resume = None
    if resume and not (args.revision or "@" in args.dataset):
        source = _find_source(args, resume.facts["dataset_commit"], token)
        run = replace(run, source=source.identity)
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


def _find_source(args: argparse.Namespace, revision: str | None, token: str | None) -> Source:
    return resolve_source(args.dataset, config=args.config, split=args.split, revision=revision, token=token)


def _find_checkpoint(target: TrainTarget, run: Run, held: ModelHeld | None, token: str | None) -> Checkpoint | None:
    """Return the newest complete checkpoint of this run, here or on the Hub; the one here when they are equally new.

    A run that came to its end has left none: what there is, is of an attempt that was interrupted, also with --overwrite.
    """
    here = newest_here(target.folder / CHECKPOINTS_FOLDER) if target.folder else None
    there = newest_on_hub(target.repo_id, held, token) if target.repo_id and held else None
    found = (one for one in (here, there) if one and one.facts["script"] == run.script)
    own = (one for one in found if one.facts["request"] == run.request)
    return max(own, key=lambda one: one.step, default=None)


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
    if job.resume is None:
        shutil.rmtree(checkpoints, ignore_errors=True)
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
