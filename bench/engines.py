"""What the benches of the inference scripts share: a script as a module, in the environment that its header asks for.

No time of a bench counts the start of an engine. Without a GPU the environment is made of CPU builds (`tests/index`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
TOKEN = "hf_bench" + "x7Qz" * 7
INSIDE = "--inside"


def load(name: str) -> ModuleType:
    """Return a script of the catalogue as a module."""
    path = ROOT / "catalog" / name
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def in_environment(bench: str, script: str, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Run `bench` in the environment of `script` once for each job, beside an embedded Hub; return what they printed."""
    from jobshelf.hub import Account, serve
    from jobshelf.rehearse.environment import synced
    from jobshelf.script import read_script

    path = ROOT / "catalog" / script
    with _builds(), tempfile.TemporaryDirectory() as folder:
        python = synced(path, read_script(path).require()).python
        with serve(Path(folder) / "hub", accounts=(Account(name="alice", token=TOKEN),)) as hub:
            env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": f"{folder}/home"}
            found = {}
            for name, job in jobs.items():
                argv = [python, bench, INSIDE, json.dumps({"job": name, "folder": folder, **job})]
                done = subprocess.run(argv, env=env, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
                if done.returncode != 0:
                    raise SystemExit(f"{name}: exit code {done.returncode}")
                found[name] = json.loads(done.stdout.splitlines()[-1])
            return found


@contextmanager
def _builds() -> Iterator[None]:
    """Have CPU builds where there is no GPU."""
    if shutil.which("nvidia-smi"):
        yield
        return
    sys.path.insert(0, str(ROOT / "tests"))
    from index import cpu_index

    with cpu_index() as variables:
        os.environ |= variables
        yield


def model_files(folder: Path, files: Mapping[str, bytes]) -> str:
    """Write a model's files into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return str(folder)
