"""The shared functions: their sources in `templates/blocks/`, and their copies in scripts, word for word."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import UsageError
from jobshelf.shelf import Shelf, installed_shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One shared function or class: its name, its text, and what it promises in one sentence."""

    name: str
    text: str
    promise: str


def block_folder(shelf: Shelf | None = None) -> Path:
    """Return the folder with the sources of the shelf's shared functions (default: those that come with the tool)."""
    return (shelf or installed_shelf()).root / "templates" / "blocks"


def list_blocks(folder: Path) -> dict[str, Block]:
    """Return the shared functions in `folder` by name; none where there is no such folder."""
    paths = sorted(folder.glob("*.py"))
    return {block.name: block for path in paths for block in _definitions(path.read_text(encoding="utf-8"))}


def refresh(text: str, blocks: Mapping[str, Block]) -> str:
    """Return a script's text with each function that has the name of a block replaced by the block."""
    lines = text.splitlines(keepends=True)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in blocks:
            lines[node.lineno - 1 : node.end_lineno] = [f"{blocks[node.name].text}\n"]
    return "".join(lines)


def refresh_catalog(shelf: Shelf) -> tuple[str, ...]:
    """Put the shelf's shared functions into its scripts; return the names of the files that changed.

    Raises UsageError on a shelf without sources of its own: there a function of the same name is the script's.
    """
    blocks = list_blocks(block_folder(shelf))
    if not blocks:
        raise UsageError(f"{shelf.root} has no templates/blocks to copy from", fix="jobshelf blocks")
    changed = []
    for path in sorted(shelf.catalog.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if (fresh := refresh(text, blocks)) != text:
            path.write_text(fresh, encoding="utf-8")
            changed.append(path.name)
    return tuple(changed)


def _definitions(source: str) -> Iterator[Block]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            promise = (ast.get_docstring(node) or "").partition("\n\n")[0]
            text = ast.get_source_segment(source, node) or ""
            yield Block(name=node.name, text=text, promise=" ".join(promise.split()))
