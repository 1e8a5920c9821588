"""Render the example of each kind of script: `uv run python docs/examples/make.py`. A test compares them byte for byte."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from copier import run_copy

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KINDS = ("dataset", "inference", "training", "artifact", "utility")


def render(folder: Path) -> None:
    """Write `<kind>.py` for each kind to `folder`, from the templates in the working tree and with their default answers."""
    with tempfile.TemporaryDirectory() as temporary:
        template, made = Path(temporary, "template"), Path(temporary, "made")
        shutil.copytree(ROOT / "templates", template / "templates", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "copier.yml", template)
        for kind in KINDS:
            answers = {"name": kind, "kind": kind, "title": f"Example {kind} script", "extras": []}
            run_copy(str(template), made, data=answers, defaults=True, quiet=True)
            shutil.copy(made / f"{kind}.py", folder)


if __name__ == "__main__":
    render(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
