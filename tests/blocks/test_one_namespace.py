"""All blocks fit into one script: no two define the same name, and none is hidden by an import of another."""

from __future__ import annotations

import ast
import builtins
import sys
from collections import Counter
from types import ModuleType

import pytest

from jobshelf import blocks

KNOWN = blocks.list_blocks()


def defined(block: blocks.Block) -> list[str]:
    names: list[str] = []
    for node in ast.parse(block.body).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.extend(name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
    return names


def imported(block: blocks.Block) -> set[str]:
    nodes = [node for line in block.imports for node in ast.walk(ast.parse(line))]
    aliases = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    return {(alias.asname or alias.name).partition(".")[0] for alias in aliases}


def test_no_name_is_defined_twice() -> None:
    names = Counter(name for block in KNOWN.values() for name in set(defined(block)))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_name_is_also_imported_or_built_in() -> None:
    taken = set().union(*(imported(block) for block in KNOWN.values())) | set(dir(builtins))
    assert [name for block in KNOWN.values() for name in defined(block) if name in taken] == []


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_block_needs_is_a_block_that_defines_it(name: str) -> None:
    tree = ast.parse((blocks.block_folder() / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            assert {alias.name for alias in node.names} <= set(defined(KNOWN[str(node.module)])), node.module


def test_all_blocks_together_are_one_script(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n\n".join([*dict.fromkeys(line for block in KNOWN.values() for line in block.imports)])
    script = text + "\n\n\n" + "\n".join(str(block) for block in KNOWN.values())
    assert blocks.compare(script, KNOWN) == ()
    assert blocks.missing_needs(script, KNOWN) == ()
    together = ModuleType("together")
    monkeypatch.setitem(sys.modules, "together", together)  # dataclasses look their module up
    exec(compile(script, "together", "exec", dont_inherit=True), together.__dict__)
    assert together.parse_shard("1/2").holds(0)
