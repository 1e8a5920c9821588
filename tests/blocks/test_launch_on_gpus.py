"""`launch_on_gpus`: the same command in several processes, and the exit code of the one that fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.shared import BLOCKS
from support import until

START = f"""
import os, runpy, sys, time
from pathlib import Path
launch = runpy.run_path({str(BLOCKS / "launch_on_gpus.py")!r})["launch_on_gpus"]
if "RANK" not in os.environ:
    raise SystemExit(launch(3, Path(sys.argv[1])))
folder, rank = Path(os.environ["TRAINING_FOLDER"]), os.environ["RANK"]
"""


def command(folder: Path, text: str, *, inline: bool) -> list[str | Path]:
    script = folder / "script.py"
    script.write_text(START + text)
    return [sys.executable, *(["-c", START + text] if inline else [script]), folder]


@pytest.mark.parametrize("inline", [False, True])
def test_each_process_knows_the_others(tmp_path: Path, inline: bool) -> None:
    names = "RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR OMP_NUM_THREADS"
    text = f"(folder / f'is {{rank}}').write_text(' '.join(os.environ[name] for name in {names.split()}))"
    done = subprocess.run(command(tmp_path, text, inline=inline), timeout=60, check=False)
    assert done.returncode == 0
    found = [(tmp_path / f"is {rank}").read_text().split() for rank in range(3)]
    assert [one[:4] for one in found] == [[str(rank), str(rank), "3", "127.0.0.1"] for rank in range(3)]
    assert all(int(one[4]) >= 1 for one in found)


def test_one_that_fails_ends_those_that_wait_for_it(tmp_path: Path) -> None:
    text = "raise SystemExit(4) if rank == '1' else time.sleep(600)"
    began = time.monotonic()
    done = subprocess.run(command(tmp_path, text, inline=False), timeout=60, check=False)
    assert done.returncode == 4
    assert time.monotonic() - began < 50


def test_sigterm_reaches_all_and_the_first_may_take_longer(tmp_path: Path) -> None:
    text = """
import signal
def stop(*_):
    (folder / f"stopped {rank}").touch()
    time.sleep(1 if rank == "0" else 0)
    os._exit(143 if rank == "0" else 0)
signal.signal(signal.SIGTERM, stop)
(folder / f"ready {rank}").touch()
time.sleep(600)
"""
    with subprocess.Popen(command(tmp_path, text, inline=False)) as process:
        until(lambda: len(list(tmp_path.glob("ready *"))) == 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert len(list(tmp_path.glob("stopped *"))) == 3
