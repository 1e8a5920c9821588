"""Using all GPUs of a machine: the script starts itself once for each."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path


def count_processes(args: argparse.Namespace) -> int:
    """Return how many processes train: those that run, those asked for, or one for each GPU."""
    import torch

    return int(os.environ.get("WORLD_SIZE", "0")) or args.num_processes or max(1, torch.cuda.device_count())


def launch_on_gpus(args: argparse.Namespace, folder: Path, processes: int) -> int:
    """Run this command again in `processes` processes under accelerate, with `folder` to share; return the exit code.

    SIGTERM makes a file `stop` in the folder, which the callback that keeps checkpoints looks for.
    """
    import torch

    script = Path(__file__) if "__file__" in globals() else folder / "script.py"
    if "__file__" not in globals():  # with `uv run -` the script follows -c
        script.write_text(sys.orig_argv[sys.orig_argv.index("-c") + 1], encoding="utf-8")
    settings = ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    settings = ["--config_file", args.accelerate_config] if args.accelerate_config else settings
    settings += ["--num_processes", str(processes), "--main_process_port", "0"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *settings, str(script), *sys.argv[1:]]
    shared = {"TRAINING_FOLDER": str(folder), "ACCELERATE_USE_CPU": str(not torch.cuda.is_available()).lower()}
    shared["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
    done = subprocess.run(command, env=os.environ | shared, check=False)
    code = folder / "code"
    return int(code.read_text(encoding="utf-8")) if code.exists() else done.returncode
