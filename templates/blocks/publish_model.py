"""The persistence block for models: checkpoints during a training, the model at its end."""

from typing import Any

from .retrying import retrying


def publish_model(output: Any) -> None:
    """Send the checkpoint or the model that waits in `output.folder`, in place of the checkpoint before it."""
    old = {name for name in output.finished if name.startswith("checkpoint-")}
    new = {path.relative_to(output.folder).as_posix() for path in output.folder.rglob("*") if path.is_file()}
    output.stale = old - new if output.repo else set()
    output.send()
    output.finished = output.finished - old | new
    for name in () if output.repo else old - new:
        retrying(output.fs.rm_file, name)
