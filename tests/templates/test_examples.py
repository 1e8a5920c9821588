"""docs/examples holds what the templates render, byte for byte."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support import ROOT
from templates.combinations import KINDS

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    subprocess.run([sys.executable, EXAMPLES / "make.py", folder], check=True, timeout=200)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_is_what_the_template_renders(made, kind):
    fix = "regenerate it: uv run python docs/examples/make.py"
    assert (EXAMPLES / f"{kind}.py").read_bytes() == (made / f"{kind}.py").read_bytes(), fix


def test_there_is_an_example_of_each_kind_and_no_other():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*KINDS, "make"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"docs/examples/{kind}.py" in readme for kind in KINDS)
