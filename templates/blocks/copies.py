# block: copies 1
"""The script once for each group of GPUs, each copy on its share of the work.

Promises: every copy sees its own GPUs and does its own shard; the worst exit code of all is the script's; what stops the
script stops the copies, which then commit what is finished.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .exits import EXIT_DONE, EXIT_UNEXPECTED, EXIT_USAGE, Stop, note
from .shard import Shard


def run_copies(words: Sequence[str], shard: Shard, *, gpus_each: int, copies: int) -> int:
    """Run this script with the arguments `words` for each of `copies` groups of GPUs; return the worst exit code.

    The last `--shard` on a command line counts: each copy gets its share of `shard` appended.
    """
    script = globals().get("__file__")
    if script is None or not Path(script).is_file():
        message = "a script on stdin cannot start the copies that several GPUs need"
        raise Stop(EXIT_USAGE, message, fix="run it from its URL or from a file, or add --data-parallel-size 1")
    note(f"{copies} copies of the model, {gpus_each} GPU{'s' if gpus_each > 1 else ''} each")
    running: list[subprocess.Popen[bytes]] = []
    try:
        for copy in range(copies):
            gpus = ",".join(_gpu_names(gpus_each * copies)[copy * gpus_each : (copy + 1) * gpus_each])
            share = f"{(shard.index - 1) * copies + copy + 1}/{shard.count * copies}"
            argv = [sys.executable, script, *words, "--shard", share]
            running.append(subprocess.Popen(argv, env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus}, stdout=sys.stderr))
        codes = [process.wait() for process in running]
    except BaseException:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        raise
    return max((code if code >= 0 else EXIT_UNEXPECTED for code in codes), default=EXIT_DONE)


def _gpu_names(count: int) -> list[str]:
    """Return the names of `count` GPUs: of those that this process may use, where somebody has said which."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible or [str(gpu) for gpu in range(count)]
