"""Finding where a training stopped."""

import re
from pathlib import Path
from typing import Any

from .retrying import retrying


def last_checkpoint(output: Any, folder: Path) -> str | None:
    """Download the last complete checkpoint into `folder`; None when there is none."""
    complete = re.compile(r"checkpoint-(\d+)/trainer_state\.json")
    steps = [int(match[1]) for match in map(complete.fullmatch, output.finished) if match]
    if not steps:
        return None
    name = f"checkpoint-{max(steps)}"
    retrying(output.fs.get, name, f"{folder}/", recursive=True)
    return str(folder / name)
