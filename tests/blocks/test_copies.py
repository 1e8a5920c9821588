"""Block `copies`: real processes, each with its own GPUs and its share; codes and signals come through."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobshelf import blocks

SCRIPT = """
from __future__ import annotations

import json, os, re, signal, subprocess, sys, threading, time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

{blocks}

def copy(words):
    Path("copy-" + words[-1].replace("/", "-")).write_text(json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], words]))
    print("a copy's result")
    if words[0] == "wait":
        signal.signal(signal.SIGTERM, lambda *_: (Path(f"stopped-{os.getpid()}").touch(), sys.exit(143)))
        print("waiting", file=sys.stderr, flush=True)
        time.sleep(60)
    return int(words[0]) if words[-1].startswith("2/") else 0

if __name__ == "__main__":
    words = sys.argv[1:]
    if "--shard" in words:
        sys.exit(copy(words))
    index, count = map(int, words[1].split("/"))
    given, each, copies = Shard(index=index, count=count), int(words[2]), int(words[3])
    sys.exit(run_to_exit(lambda: run_copies(words, given, gpus_each=each, copies=copies)))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`start("0", "1/1", "1", "2", gpus="4,5")`: the script; code of the second copy, shard, GPUs a copy, copies."""
    known = blocks.list_blocks()
    bodies = "\n".join(known[name].body for name in ("exits", "shard", "copies"))
    (tmp_path / "answer.py").write_text(SCRIPT.replace("{blocks}", bodies))
    (tmp_path / "work").mkdir()

    def run(*words: str, gpus: str | None = None, how: tuple[str, ...] = ("../answer.py",)) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        env |= {} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}
        argv = [sys.executable, *how, *words]
        return subprocess.Popen(
            argv, env=env, cwd=tmp_path / "work", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return run


def told(folder: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("copy-*"))}


@pytest.mark.parametrize(
    ("gpus", "each", "seen"),
    [(None, "1", ["0", "1"]), (None, "2", ["0,1", "2,3"]), ("4, 6", "1", ["4", "6"]), ("GPU-a,GPU-b,7,8", "2", ["GPU-a,GPU-b", "7,8"])],
    ids=str,
)  # fmt: skip
def test_each_copy_has_its_own_gpus_and_its_share(
    start: Start, tmp_path: Path, gpus: str | None, each: str, seen: list[str]
) -> None:
    process = start("0", "1/1", each, "2", gpus=gpus)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, ""), stderr
    assert f"2 copies of the model, {each} GPU{'s' if each == '2' else ''} each" in stderr
    assert stderr.count("a copy's result") == 2
    words = ["0", "1/1", each, "2", "--shard"]
    assert told(tmp_path / "work") == {
        "copy-1-2": [seen[0], [*words, "1/2"]],
        "copy-2-2": [seen[1], [*words, "2/2"]],
    }


def test_a_shard_is_shared_on(start: Start, tmp_path: Path) -> None:
    process = start("0", "2/3", "1", "4")
    assert process.wait(60) == 0
    assert list(told(tmp_path / "work")) == ["copy-5-12", "copy-6-12", "copy-7-12", "copy-8-12"]


@pytest.mark.parametrize("code", [1, 4, 75])
def test_the_worst_code_is_the_scripts(start: Start, tmp_path: Path, code: int) -> None:
    process = start(str(code), "1/1", "1", "2")
    assert process.wait(60) == code
    assert len(told(tmp_path / "work")) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_stops_the_script_stops_the_copies(start: Start, tmp_path: Path, number: int, code: int) -> None:
    process = start("wait", "1/1", "1", "3")
    waiting = 0
    while waiting < 3:
        line = process.stderr.readline()
        assert line, "the script ended before its copies waited"
        waiting += line.count("waiting")  # several processes may write into one line
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert len(list((tmp_path / "work").glob("stopped-*"))) == 3


def test_on_stdin_there_is_nothing_to_copy(start: Start, tmp_path: Path) -> None:
    source = (tmp_path / "answer.py").read_text()
    process = start("0", "1/1", "1", "2", how=("-c", source))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "a script on stdin cannot start the copies" in stderr
    assert "--data-parallel-size 1" in stderr
