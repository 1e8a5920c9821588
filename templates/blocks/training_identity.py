"""What decides the result of a training."""

import argparse
import dataclasses
from typing import Any

from .launch_on_gpus import count_processes
from .run_identity import run_identity

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
