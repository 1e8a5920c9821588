"""Work spread over processes: all of it, in order, and no process left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobshelf import workers
from support import alive, children, until

WAITS = "import argparse, threading; threading.Event().wait()\n"
SPREAD = (
    "from jobshelf import workers; workers.cores = lambda: 3; import time; list(workers.spread(time.sleep, [300] * 9))"
)


@pytest.mark.parametrize("cores", [1, 3])
def test_every_piece_is_done_in_order(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "cores", lambda: cores)
    assert list(workers.spread(abs, list(range(-50, 50)))) == [abs(number) for number in range(-50, 50)]


def test_workers_end_with_the_process_that_started_them() -> None:
    started = subprocess.Popen([sys.executable, "-c", SPREAD])
    until(lambda: len(children(started.pid)) == 3)
    workers_of_it = children(started.pid)
    started.kill()
    started.wait()
    until(lambda: not any(alive(worker) for worker in workers_of_it))


def test_a_killed_vet_leaves_no_process(tmp_path: Path) -> None:
    """Two workers, the warmed process of each, and the run that each waits for: all of them go."""
    for number in range(4):
        (tmp_path / f"waits{number}.py").write_text(WAITS, encoding="utf-8")
    argv = [
        sys.executable,
        "-m",
        "jobshelf",
        "vet",
        "--select",
        "UVS304",
        *sorted(path.name for path in tmp_path.iterdir()),
    ]
    started = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL)
    expected = 3 * min(2, workers.cores()) - (workers.cores() < 2)
    until(lambda: len(children(started.pid)) >= expected)
    descendants = children(started.pid)
    started.kill()
    started.wait()
    until(lambda: not any(alive(process) for process in descendants))
