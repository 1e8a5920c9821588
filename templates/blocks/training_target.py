"""Where a training puts its model."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from .require_write import require_write
from .retrying import retrying
from .stop import stop


def training_target(args: argparse.Namespace, config: Any) -> str:
    """Return OUTPUT, or what TRL's options name: --push_to_hub a Hub model, --output_dir a folder."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    said = any(word.startswith(("--push-to-hub", "--no-push-to-hub")) for word in args.words)
    if said and not config.push_to_hub and args.output and not args.output.startswith((".", "/")):
        stop(2, f"--push_to_hub false, but {args.output} is on the Hub", f"write ./{Path(args.output).name}")
    if not config.push_to_hub:
        return args.output or str(Path(config.output_dir).absolute())
    name = config.hub_model_id or args.output or Path(config.output_dir).name
    if "/" not in name or name.startswith((".", "/")):
        owner = "USER"
        with suppress(HfHubHTTPError):  # a token that is refused is for require_write
            owner = retrying(HfApi().whoami)["name"] if get_token() else owner
        name = f"{owner}/{Path(name).name}"
    require_write(name, "model")
    return name
