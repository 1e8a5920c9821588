"""What decides the result of a training, and what does not."""

import argparse
import dataclasses

from .run_identity import run_identity

# What changes speed, memory, place or messages, and not what is learned. A name covers those that begin with it.
IGNORED = ("output_dir",)


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
