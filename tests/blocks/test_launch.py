"""Block `launch`: the script again under a launcher, from a file and from stdin; codes and signals come through."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobshelf import blocks

# A launcher that starts each process as accelerate does; the heavy lane has the real one.
LAUNCHER = """
import os, subprocess, sys
words = sys.argv[1:]
count = int(words[words.index("--num_processes") + 1])
script = next(place for place, word in enumerate(words) if word.endswith(".py"))
ranks = [subprocess.Popen([sys.executable, *words[script:]], env=os.environ | {"RANK": str(rank)}) for rank in range(count)]
import signal
signal.signal(signal.SIGTERM, lambda *_: [rank.terminate() for rank in ranks])
sys.exit(1 if any([rank.wait() for rank in ranks]) else 0)
"""
SCRIPT = """
import atexit, json, os, signal, subprocess, sys, time, tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

{blocks}

def rank():
    plan = launched_plan()
    with open(plan.with_name("said-" + os.environ["RANK"]), "w") as stream:
        json.dump([sys.argv[1:], plan.read_text(), os.environ["ACCELERATE_USE_CPU"]], stream)
    if "wait" in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: (plan.with_name("terminated-" + os.environ["RANK"]).touch(), sys.exit(143)))
        print("waiting", file=sys.stderr, flush=True)
        time.sleep(60)
    if "abort" in sys.argv:
        atexit.register(os.abort)
    code = int(sys.argv[2]) if os.environ["RANK"] == "1" else 0
    leave_launched(code)
    return code

if __name__ == "__main__":
    if launched_plan():
        sys.exit(rank())
    plan = Path(sys.argv[1]) / "plan.json"
    plan.write_text("the plan")
    sys.exit(run_to_exit(lambda: launch(plan, sys.argv[1:], processes=2, on_cpu=True)))
"""

Start = Callable[..., subprocess.Popen[str]]


def source() -> str:
    known = blocks.list_blocks()
    imports = "import re, threading\nfrom collections.abc import Callable\n"
    return SCRIPT.replace("{blocks}", f"{imports}\n{known['exits'].body}\n{known['launch'].body}")


@pytest.fixture(params=["file", "stdin"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """`start("0")`: the script with the exit code that its second process is to end with."""
    package = tmp_path / "packages" / "accelerate" / "commands"
    package.mkdir(parents=True)
    (package / "launch.py").write_text(LAUNCHER)
    (tmp_path / "train.py").write_text("from __future__ import annotations\n" + source())
    # uv hands a script on stdin over as `python -c`
    code = ["-c", "from __future__ import annotations\n" + source()]
    how = [str(tmp_path / "train.py")] if request.param == "file" else code
    (tmp_path / "work").mkdir()

    def run(*words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, *how, str(tmp_path / "work"), *words]
        env = os.environ | {"PYTHONPATH": str(tmp_path / "packages")}
        return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


@pytest.mark.parametrize("code", [0, 4])
def test_what_a_library_does_to_an_interpreter_at_its_end_changes_no_code(
    start: Start, tmp_path: Path, code: int
) -> None:
    process = start(str(code), "abort")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert {path.name for path in (tmp_path / "work").glob("said-*")} == {"said-0", "said-1"}


@pytest.mark.parametrize("code", [0, 4])
def test_each_process_follows_the_plan_and_its_code_is_the_scripts(start: Start, tmp_path: Path, code: int) -> None:
    process = start(str(code))
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (code, ""), stderr
    said = [json.loads((tmp_path / "work" / f"said-{rank}").read_text()) for rank in (0, 1)]
    assert said == [[[str(tmp_path / "work"), str(code)], "the plan", "true"]] * 2


def test_a_sigterm_reaches_them_and_ends_the_script_with_143(start: Start, tmp_path: Path) -> None:
    process = start("0", "wait")
    waiting = 0
    for line in process.stderr:
        waiting += line.count("waiting")  # two processes may write into one line
        if waiting >= 2:
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert sorted(path.name for path in (tmp_path / "work").glob("terminated-*")) == ["terminated-0", "terminated-1"]
