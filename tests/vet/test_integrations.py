"""The GitHub Action and the pre-commit hook: they say what they should, and the Action's own shell text really runs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from jobshelf.cli import build_parser
from jobshelf.vet.resolve import uv_binary

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEP = ACTION["runs"]["steps"][-1]
BARE = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["polars"]\n# ///\nimport polars\n'


def run_action(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the step's shell text as GitHub does: bash with -e, inputs as variables."""
    values = {name: str(one["default"]) for name, one in ACTION["inputs"].items()} | inputs
    expressions = {f"${{{{ inputs.{name} }}}}": value for name, value in values.items()}
    expressions["${{ github.action_path }}"] = str(ROOT)
    variables = {name: expressions[text] for name, text in STEP["env"].items()}
    path = f"{Path(uv_binary()).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEP["run"]]
    return subprocess.run(
        command, cwd=folder, env=os.environ | variables | {"PATH": path}, capture_output=True, text=True
    )


def test_no_input_is_pasted_into_the_shell_text() -> None:
    assert "${{" not in STEP["run"]
    assert set(re.findall(r"inputs\.([\w-]+)", str(STEP["env"]))) == set(ACTION["inputs"])


def test_the_action_annotates_what_it_finds_and_fails(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(BARE)
    done = run_action(tmp_path, select="UVS202", stub="false")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("::error file=script.py,line=3,")


def test_the_action_passes_odd_paths_as_they_are(tmp_path: Path) -> None:
    name = "-a $(touch stolen) `touch stolen` ; b.py"
    (tmp_path / name).write_text(BARE)
    done = run_action(tmp_path, paths=f"{name}\n\n", **{"select": "UVS203", "stub": "false", "output-format": "json"})
    assert done.returncode == 1, done.stderr
    assert f"./{name}" in done.stdout or name in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_hook_starts_a_command_that_exists() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    words = [*hook["entry"].split(), *hook.get("args", [])]
    assert words[0] == "jobshelf"
    assert build_parser().parse_args(words[1:]).verb == "vet"
    assert hook["pass_filenames"] is False


@pytest.mark.parametrize("name", ["profile", "base"])
def test_the_other_inputs_reach_the_command(name: str, tmp_path: Path) -> None:
    value = {"profile": "nonsense", "base": "no-such-revision"}[name]
    (tmp_path / "script.py").write_text(BARE)
    done = run_action(tmp_path, **{name: value, "stub": "false"})
    assert done.returncode == 2, done.stderr
    assert value in done.stderr
