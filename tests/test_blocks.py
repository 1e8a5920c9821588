"""Blocks: their form, fences in scripts, drift and refresh."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from jobshelf import blocks
from jobshelf.errors import InputError, ScriptError

SOURCE = '''\
# block: pair 2
"""Pairs things."""

from __future__ import annotations

import math
from os import path, sep

from .single import one


def two() -> int:
    return one() + math.floor(1.5)
'''
SINGLE = '# block: single 1\n"""One."""\n\nimport math\n\n\ndef one() -> int:\n    return math.floor(1.5)\n'
KNOWN = {"pair": blocks.parse_block(SOURCE, "pair.py"), "single": blocks.parse_block(SINGLE, "single.py")}


def script(*embedded: str) -> str:
    return "import math\n\n\n" + "\n".join(embedded) + '\nif __name__ == "__main__":\n    pass\n'


def test_parse() -> None:
    pair = KNOWN["pair"]
    assert (pair.name, pair.version, pair.promise, pair.needs) == ("pair", 2, "Pairs things.", ("single",))
    assert pair.imports == ("from __future__ import annotations", "import math", "from os import path, sep")
    assert pair.body == "def two() -> int:\n    return one() + math.floor(1.5)\n"


@pytest.mark.parametrize(
    "text",
    ["", "# block: other 1\n", SOURCE.replace("# block: pair 2", "# block: pair"), "# block: pair 2\nimport os\n"],
)
def test_sources_that_break_the_form(text: str) -> None:
    with pytest.raises(ScriptError):
        blocks.parse_block(text, "pair.py")


def test_fresh_script_has_no_drift() -> None:
    text = script(str(KNOWN["single"]), str(KNOWN["pair"]))
    assert [(fence.name, fence.version) for fence in blocks.find_fences(text)] == [("single", 1), ("pair", 2)]
    assert blocks.compare(text, KNOWN) == ()
    assert blocks.refresh(text, KNOWN) == text
    assert blocks.missing_needs(text, KNOWN) == ()
    assert blocks.missing_imports(text, KNOWN) == (
        "from __future__ import annotations",
        "from os import path",
        "from os import sep",
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("math.floor(1.5)\n", "2\n", "changed"),
        ("block: pair 2", "block: pair 1", "older"),
        ("block: pair 2", "block: pair 3", "changed"),
        ("block: pair 2", "block: trio 1", "unknown"),
    ],
)
def test_drift_and_refresh(old: str, new: str, reason: str) -> None:
    fresh = script(str(KNOWN["pair"]))
    drifted = fresh.replace(old, new)
    assert [drift.reason for drift in blocks.compare(drifted, KNOWN)] == [reason]
    assert blocks.refresh(drifted, KNOWN) == (drifted if reason == "unknown" else fresh)


def test_needs_of_blocks() -> None:
    assert blocks.missing_needs(script(str(KNOWN["pair"])), KNOWN) == ("single",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# --- block: a 1 (jobshelf) ---\n", 1),
        ("x = 1\n# --- end block ---\n", 2),
        ("# --- block: a 1 (jobshelf) ---\n# --- block: b 1 (jobshelf) ---\n# --- end block ---\n", 2),
        (2 * "# --- block: a 1 (jobshelf) ---\n# --- end block ---\n", 1),
    ],
)
def test_fences_come_in_pairs_once(text: str, line: int) -> None:
    with pytest.raises(ScriptError) as error:
        blocks.find_fences(text, "x.py")
    assert str(error.value).startswith(f"x.py:{line}:")


def test_load_shares_siblings(tmp_path: Path) -> None:
    (tmp_path / "pair.py").write_text(SOURCE)
    (tmp_path / "single.py").write_text(SINGLE)
    pair = blocks.load("pair", tmp_path)
    assert pair.two() == 2
    assert pair.one is blocks.load("single", tmp_path).one
    with pytest.raises(InputError, match="no block 'trio'"):
        blocks.load("trio", tmp_path)


def test_every_block_of_the_shelf_keeps_the_form() -> None:
    known = blocks.list_blocks()
    assert {"card", "exits", "formats", "persist_file", "retry", "rows", "source", "token"} <= known.keys()
    for block in known.values():
        assert set(block.needs) <= known.keys()
        blocks.load(block.name)


def test_no_two_blocks_define_the_same_name() -> None:
    trees = [ast.parse(block.body) for block in blocks.list_blocks().values()]
    names = Counter(name for tree in trees for node in tree.body for name in defined(node))
    assert [name for name, count in names.items() if count > 1] == []


def defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
