# block: launch 1
"""The script again under `accelerate`, one process for each GPU, or as many as were asked for on a CPU.

Promises: works from a URL, a file and stdin; the first process checks and persists, the launched ones only train; what
stops the script stops them, and the exit code and the message of the one that failed are the script's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from .exits import EXIT_DONE, EXIT_UNEXPECTED, EXIT_USAGE, Stop, note

LAUNCH_PLAN = "JOBSHELF_PLAN"
LAUNCH_CODE = "exit-code"


def launched_plan() -> Path | None:
    """Return the plan that this process is to follow, None in the process that the user started."""
    given = os.environ.get(LAUNCH_PLAN)
    return Path(given) if given else None


def launch(plan: Path, words: Sequence[str], *, processes: int, on_cpu: bool) -> int:
    """Run this script with the arguments `words` in `processes` processes that follow `plan`; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="launch-") as folder:
        script = _own_source(Path(folder))
        argv = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
        argv += ["--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
        argv += ["--main_process_port", "0", str(script), *words]
        threads = max(1, (os.cpu_count() or 1) // processes)
        variables = {LAUNCH_PLAN: str(plan), "ACCELERATE_USE_CPU": str(on_cpu).lower()}
        variables |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
        note(f"training in {processes} processes under accelerate")
        code = _run_relayed(argv, os.environ | variables)
    told = plan.with_name(LAUNCH_CODE)
    return int(told.read_text(encoding="ascii")) if code and told.is_file() else code


def leave_launched(code: int) -> None:
    """End a launched process with `code`, and tell it to the one that launched it; the first word counts.

    At once: what torch leaves running aborts now and then when the interpreter goes while other processes still work.
    """
    plan = launched_plan()
    if plan is None:
        return
    if code != EXIT_DONE and not plan.with_name(LAUNCH_CODE).exists():
        plan.with_name(LAUNCH_CODE).write_text(str(code), encoding="ascii")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _own_source(folder: Path) -> Path:
    """Return a file with this script: its own, or for one that came on stdin (uv hands it to `python -c`) a copy."""
    file = globals().get("__file__")
    if file is not None and Path(file).is_file():
        return Path(file).absolute()
    if "-c" not in sys.orig_argv:
        raise Stop(EXIT_USAGE, "this script has no file to start again", fix="run it from its URL or from a file")
    copy = folder / "script.py"
    copy.write_text(sys.orig_argv[sys.orig_argv.index("-c") + 1], encoding="utf-8")
    return copy


def _run_relayed(argv: Sequence[str], variables: dict[str, str]) -> int:
    """Run to the end, handing a SIGTERM on; return the exit code."""
    process = subprocess.Popen(argv, env=variables, stdout=sys.stderr)
    stopped = False

    def hand_on(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        process.send_signal(number)

    previous = signal.signal(signal.SIGTERM, hand_on)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    if stopped:
        raise SystemExit(128 + signal.SIGTERM)
    return code if code >= 0 else EXIT_UNEXPECTED
