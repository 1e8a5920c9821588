"""The rehearsal of a training: the trainer itself, with all rows, on a tiny model."""

import copy
import tempfile
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from .shrink_model import shrink_model
from .stop import stop

QUIET = {"use_cpu": True, "max_steps": 1, "save_strategy": "no", "eval_strategy": "no", "push_to_hub": False}
QUIET |= {"gradient_accumulation_steps": 1, "load_best_model_at_end": False, "max_length": None}
UNUSED = {"fp16": False, "bf16": False, "tf32": None, "attn_implementation": None, "torch_compile": False}
UNUSED |= {"load_in_4bit": False, "load_in_8bit": False, "use_liger_kernel": False, "use_vllm": False}
UNUSED |= {"packing": False, "padding_free": False, "deepspeed": None, "fsdp": None, "optim": "adamw_torch"}
UNUSED |= {"report_to": []}
PACKAGES = {"8bit": "bitsandbytes", "bnb": "bitsandbytes", "4bit": "bitsandbytes", "liger": "liger_kernel"}
PACKAGES |= {"deepspeed": "deepspeed", "vllm": "vllm", "flash_attention_2": "flash_attn"}
PACKAGES |= {name: name for name in ("clearml", "comet_ml", "mlflow", "swanlab", "tensorboard", "wandb")}


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
