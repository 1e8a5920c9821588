"""Run a script of `scripts/` as its users do, with CPU builds. They stay where they are: uv keeps an environment a path."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jobshelf.rehearse.tiny_model import tiny_model
from support import BIN

SCRIPTS = Path(__file__).parent / "scripts"
# Nothing listens there, and no host is left out: neither the index nor anything else can be reached.
UNPLUGGED = {"UV_OFFLINE": "1", "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
_BUILT = re.compile(r"^Installed \d+ packages", re.MULTILINE)

RunScript = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, as files."""
    folder = tmp_path_factory.mktemp("model")
    for name, data in tiny_model().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def user(environment: dict[str, str], cpu_builds: Mapping[str, str]) -> dict[str, str]:
    """A user who gets CPU builds, and nothing from the real Hub."""
    return {**environment, **cpu_builds, "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def run_script(user: dict[str, str], record_property: Callable[[str, object], None]) -> RunScript:
    """`run_script("train.py", model, ...)`: what it printed as JSON; how long it took is printed after the tests."""

    def run(name: str, *words: str | Path, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        began = time.monotonic()
        argv = [BIN / "uv", "run", SCRIPTS / name, *words]
        done = subprocess.run(argv, env={**user, **(env or {})}, capture_output=True, text=True, timeout=800)
        assert done.returncode == 0, done.stderr[-4000:]
        how = (
            "unplugged"
            if "UV_OFFLINE" in (env or {})
            else "environment built"
            if _BUILT.search(done.stderr)
            else "environment found"
        )
        record_property("figure", f"heavy: {name}: {time.monotonic() - began:.1f} s, {how}")
        return json.loads(done.stdout.splitlines()[-1])

    return run


def exported(script: Path, env: Mapping[str, str]) -> list[str]:
    """Return what uv resolves the script to, a pinned requirement each."""
    argv = [BIN / "uv", "export", "--script", script, "--no-hashes", "--no-annotate", "--no-header"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def assert_cpu_builds(packages: Mapping[str, str]) -> None:
    """Assert that torch is the CPU build and nothing for a GPU came with it."""
    assert packages["torch"].endswith("+cpu")
    gpu = [name for name in packages if name.lower().startswith(("nvidia", "cuda", "pytorch-triton"))]
    assert gpu == []
    assert packages.get("triton", "+none").endswith("+none")
