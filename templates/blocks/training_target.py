"""Where a trained model goes, as TRL's options say it."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from .require_write import require_write
from .retrying import retrying


def training_target(config: Any) -> str:
    """Return the Hub model that --push_to_hub names, else the place that --output_dir does. Stops with 3."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if not config.push_to_hub:
        is_like_a_repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", config.output_dir)
        return f"./{config.output_dir}" if is_like_a_repo else config.output_dir
    name = config.hub_model_id or Path(config.output_dir).name
    if "/" not in name:
        owner = "USER"
        with suppress(HfHubHTTPError):  # a token that is refused is for require_write
            owner = retrying(HfApi().whoami)["name"] if get_token() else owner
        name = f"{owner}/{name}"
    require_write(name, "model")
    return name
