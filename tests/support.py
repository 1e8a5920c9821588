"""What tests and fixtures both name."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A canary: it is valid on the embedded Hub of one test only, and must turn up in nothing that a test reads.
TOKEN = "hf_canary" + "x7Qz" * 7
READ_TOKEN = "hf_reader" + "x7Qz" * 7
BIN = Path(sys.executable).parent


def until(happened: Callable[[], bool]) -> None:
    """Wait until it has happened, at most a minute."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def children(process: int) -> list[int]:
    """Return the processes that it started, and theirs."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    parents = dict(zip(map(int, listed[::2]), map(int, listed[1::2]), strict=True))
    own = [child for child, parent in parents.items() if parent == process]
    return own + [child for one in own for child in children(one)]


def alive(process: int) -> bool:
    """Tell whether the process runs; one that has ended and that nobody has asked for its exit code does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def install_wheel(folder: Path) -> Path:
    """Build the wheel and install it, without development dependencies; return the folder of its programs."""
    uv = BIN / "uv"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    subprocess.run([uv, "venv", "--quiet", "--python", BIN / "python", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    wheel = next(folder.glob("*.whl"))
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wheel], check=True, cwd=ROOT)
    return folder / "venv" / "bin"


def written(text: str) -> str:
    """Return a script from a template after its author wrote what the template left open."""
    from jobshelf.vet.placeholders import PLACEHOLDERS, body_of

    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and body_of(node) in PLACEHOLDERS.get(node.name, ()):
            name = node.args.args[0].arg
            lines[node.body[-1].lineno - 1] = f"    {name} = type({name})({name})\n{lines[node.body[-1].lineno - 1]}"
    return "".join(line for line in lines if "TODO(jobshelf)" not in line)
