"""The options of TRL: its own parser, its YAML, and our defaults in front of TRL's."""

import argparse
import difflib
import os
from pathlib import Path
from typing import Any

from .stop import stop


def parse_trl(args: argparse.Namespace, kinds: list[Any], defaults: dict[str, Any], lora: dict[str, Any]) -> list[Any]:
    """Return an instance of each of TRL's `kinds`, from `args.words`, else the YAML file, else our defaults.

    Each default is a value and its reason, and is printed; those of `lora` are for adapters. Stops with 2. How many
    processes train is in `args.processes`: those that run, those asked for, or one for each GPU.
    """
    import torch
    import yaml
    from trl import TrlParser

    args.processes = int(os.environ.get("WORLD_SIZE", "0")) or args.num_processes or max(1, torch.cuda.device_count())
    if args.dataset:
        defaults = defaults | {"use_peft": (True, "an adapter fits on a small GPU; --full trains all weights")}
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
    for name, (value, reason) in table.items():
        if any(getattr(one, name, None) == value for one in parsed):
            print(f"{name} {value}: {reason}")
    return parsed
