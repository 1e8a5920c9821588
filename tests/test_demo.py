"""`jobshelf demo` as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import ROOT


def processes_of(scratch: Path) -> list[str]:
    """Return the command lines of the live processes that have this folder in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = os.fsencode(scratch) in (process / "environ").read_bytes()
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if ours and line:
            found.append(line)
    return found


def test_the_demo_publishes_runs_both_ways_and_reads_the_result_back(jobshelf, tmp_path):
    done = jobshelf("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    assert re.search(r"published \d+ files to", text)
    assert "NEEDS MAPPING" in text and "MAPPING CODE" in text
    assert re.search(
        r"\$ hf jobs uv run --secrets HF_TOKEN http://127.0.0.1:\d+/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py",
        text,
    )
    assert "README.md" in text.partition("Read back")[2]
    assert "| " in text.partition("Read back")[2]
    assert "Done in" in text


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=[pytest.mark.heavy, pytest.mark.jobs])]
)
def test_an_interrupt_leaves_no_process_and_no_file(environment, tmp_path, how):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = environment | {"TMPDIR": str(scratch)}
    demo = subprocess.Popen(
        [sys.executable, "-m", "jobshelf", "demo"],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in demo.stdout:
        if line.startswith("[6/6]"):
            break
    deadline = time.monotonic() + 60
    while not any("uv run /" in line and "finepdfs-stats.py" in line for line in processes_of(scratch)):
        assert demo.poll() is None, demo.stderr.read()
        assert time.monotonic() < deadline, "the Job never started"
        time.sleep(0.02)
    demo.send_signal(how)
    _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert errors == "jobshelf: interrupted\n"
    assert processes_of(scratch) == []
    assert [path.name for path in scratch.iterdir() if path.name.startswith("jobshelf")] == []
