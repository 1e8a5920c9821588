"""A training from its rehearsal to its publication, the same for all methods."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from .describe_training import describe_training
from .guard_monitors import guard_monitors
from .keep_checkpoints import keep_checkpoints
from .launch_on_gpus import launch_on_gpus
from .retrying import retrying
from .smoke_step import smoke_step
from .training_output import TrainingOutput


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
