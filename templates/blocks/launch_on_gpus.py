"""A training in several processes of one machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def launch_on_gpus(processes: int, folder: Path) -> int:
    """Run this command again in processes that share `folder`; return the first exit code that is not 0, if any.

    accelerate's launcher hides that code, and cannot start what `uv run -` reads.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    shared = {"TRAINING_FOLDER": str(folder), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": threads, **address}
    started = []
    for rank in range(processes):
        variables = os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=variables))
    signal.signal(signal.SIGTERM, lambda *_: [one.terminate() for one in started])
    while None in (codes := [one.poll() for one in started]) and not any(codes):
        time.sleep(0.2)
    for one in started if any(codes) else ():  # they would wait for it
        one.kill()
    return next(filter(None, codes), 0)
