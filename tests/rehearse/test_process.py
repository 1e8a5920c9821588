"""A run and its surroundings: killed with all it started, measured, alone with what it needs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobshelf.rehearse.canary import CANARY, READER, has_token, search
from jobshelf.rehearse.environment import synced, user_variables
from jobshelf.rehearse.process import Process
from jobshelf.rehearse.world import wait_until
from jobshelf.script import read_script
from rehearse.conftest import GOOD

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def run(code: str, **options: bool) -> Process:
        argv = [sys.executable, "-c", code]
        return Process(argv, env=dict(os.environ), cwd=tmp_path, folder=tmp_path, watched=options.get("watched", False))

    return run


def ends(pid: str) -> bool:
    """Whether a process is gone, or is about to be: a signal takes a moment to do its work."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_output_and_exit_code(start: Start) -> None:
    ended = start("import sys; print('out'); print('so it is', file=sys.stderr); sys.exit(4)").wait(60)
    assert (ended.code, ended.stdout, ended.stderr) == (4, "out\n", "so it is\n")
    assert ended.outcome == "exit code 4 (so it is)"


def test_a_kill_takes_the_children_along(start: Start, tmp_path: Path) -> None:
    child = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    process = start(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    pid = tmp_path / "pid"
    assert wait_until(lambda: pid.exists() and bool(pid.read_text()), process, 60)
    process.kill()
    assert process.wait(60).code == -9
    assert ends(pid.read_text())


def test_what_is_left_running_is_ended(start: Start, tmp_path: Path) -> None:
    start("import subprocess; p = subprocess.Popen(['sleep', '600']); open('pid', 'w').write(str(p.pid))").wait(60)
    assert ends((tmp_path / "pid").read_text())


def test_time_is_limited(start: Start) -> None:
    ended = start("import time; time.sleep(600)").wait(0.2)
    assert ended.code is None
    assert ended.outcome.startswith("did not end in time")
    assert ended.seconds < 30


def test_the_peak_is_that_of_the_run_and_not_of_this_process(start: Start) -> None:
    mine = bytearray(400 << 20)
    small = start("import time; time.sleep(1)", watched=True).wait(60)
    large = start("import time; x = b'x' * (200 << 20); time.sleep(1)", watched=True).wait(60)
    assert small.peak_bytes < 100 << 20 < 200 << 20 < large.peak_bytes < len(mine)
    assert any("time.sleep(1)" in argv for argv in small.argvs)


def test_waiting_ends_with_the_process(start: Start) -> None:
    assert wait_until(lambda: False, start("pass"), 60) is False


def test_a_user_brings_nothing_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_HOME", "AWS_SECRET_ACCESS_KEY", "UV_INDEX_MINE_PASSWORD", "PYTHONPATH"):
        monkeypatch.setenv(name, "of the host")
    environment = synced(GOOD, read_script(GOOD).require())
    variables = user_variables(environment, tmp_path / "home", tmp_path / "tmp")
    assert "of the host" not in variables.values()
    assert variables["HOME"] == str(tmp_path / "home")
    code = (
        "import json, urllib.request\n"
        "try:\n    urllib.request.urlopen('https://huggingface.co', timeout=9)\n"
        "except OSError as error:\n    print(json.dumps(str(error)))\n"
    )
    done = Process(
        [str(environment.python), "-c", code], env=variables, cwd=tmp_path, folder=tmp_path, watched=False
    ).wait(60)
    assert "refused" in json.loads(done.stdout)


def test_one_environment_a_header(tmp_path: Path) -> None:
    text = GOOD.read_text(encoding="utf-8")
    paths = [tmp_path / name for name in ("a.py", "b.py", "c.py")]
    paths[0].write_text(text, encoding="utf-8")
    paths[1].write_text(text.replace("Count the words", "Count all words"), encoding="utf-8")
    paths[2].write_text(text.replace('">=3.11"', '">=3.10"'), encoding="utf-8")
    first, second, third = (synced(path, read_script(path).require()).folder for path in paths)
    assert first == second != third


def test_a_prefix_of_the_token_is_a_leak(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.txt").write_text(f"token {READER[:8]}...", encoding="utf-8")
    (tmp_path / "run" / f"b-{CANARY}").touch()
    (tmp_path / "run" / "c.txt").write_text("hf_", encoding="utf-8")
    found = search(tmp_path / "run")
    assert (found.files, set(found.leaks)) == (3, {"run/a.txt", f"run/b-{CANARY}"})
    assert has_token(CANARY.encode()) and not has_token(b"hf_something_else")


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    code = "import resource, time\nwhile resource.getrlimit(resource.RLIMIT_CORE) != (0, 0): time.sleep(0.01)"
    process = Process([sys.executable, "-c", code], env={}, cwd=tmp_path, folder=tmp_path, watched=False)
    assert process.wait(20).code == 0
