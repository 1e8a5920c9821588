"""Scripts hold the shared functions word for word: a function or class with a block's name has the block's text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from copier import run_copy

from blocks.shared import BLOCKS
from jobshelf.blocks import list_blocks, refresh
from support import ROOT

CATALOG = sorted((ROOT / "catalog").glob("*.py"))


def functions(text: str) -> dict[str, str]:
    """The text of each function and class at the top level, by name."""
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return {node.name: ast.get_source_segment(text, node) or "" for node in nodes}


SHARED = {name: text for path in sorted(BLOCKS.glob("*.py")) for name, text in functions(path.read_text()).items()}


def differing(text: str) -> list[str]:
    return [name for name, own in functions(text).items() if SHARED.get(name, own) != own]


def test_no_two_blocks_share_a_name() -> None:
    names = [name for path in BLOCKS.glob("*.py") for name in functions(path.read_text())]
    assert sorted(names) == sorted(SHARED)


def test_a_changed_copy_is_found() -> None:
    assert differing(SHARED["stop"]) == []
    assert differing(SHARED["stop"].replace("500", "400")) == ["stop"]
    assert differing("def own():\n    return 1\n") == []


def test_refreshing_changes_the_copy_and_nothing_else() -> None:
    blocks = list_blocks(BLOCKS)
    text = f"import sys\n\n\n{SHARED['stop']}\n\n\ndef own():\n    return 1\n"
    assert {name: block.text for name, block in blocks.items()} == SHARED
    assert refresh(text.replace("500", "400"), blocks) == text
    assert refresh(text, blocks) == text


def test_the_catalogue() -> None:
    assert {path.name: differing(path.read_text()) for path in CATALOG} == {path.name: [] for path in CATALOG}


@pytest.mark.parametrize(
    "answers",
    [
        {"kind": "dataset", "persistence": "hub-dataset", "token": "write"},
        {"kind": "dataset", "persistence": "http", "token": "none"},
        {"kind": "inference", "persistence": "bucket", "token": "write", "trigger": "webhook"},
        {"kind": "training", "persistence": "hub-model", "token": "write"},
        {"kind": "artifact", "persistence": "s3", "token": "none"},
        {"kind": "utility", "persistence": "none", "token": "read"},
    ],
    ids=lambda answers: answers["kind"],
)
def test_what_the_templates_render(answers: dict[str, str], tmp_path: Path) -> None:
    run_copy(str(ROOT), tmp_path, data=answers, defaults=True, quiet=True, vcs_ref="HEAD")
    (script,) = tmp_path.glob("*.py")
    text = script.read_text()
    assert functions(text).keys() & SHARED.keys()
    assert differing(text) == []
