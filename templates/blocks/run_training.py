"""A training from its rehearsal to its publication, the same for all methods."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from .guard_monitors import guard_monitors
from .keep_checkpoints import keep_checkpoints
from .last_checkpoint import last_checkpoint
from .launch_on_gpus import count_processes, launch_on_gpus
from .model_output import ModelOutput
from .publish_training import publish_training
from .retrying import retrying
from .smoke_step import smoke_step


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
