"""The blocks: pieces of plain Python that scripts embed between fences, because a single file cannot import us.

The source of a block is `templates/blocks/<name>.py`: a first line `# block: <name> <version>`, a docstring that says
what it promises, imports, and the body. A script holds the body, verbatim, after its own code::

    # --- block: token 1 (jobshelf) ---
    ...
    # --- end block ---

The body of a block uses standard-library names that the script imports at its top (ruff's F821 finds a missing one)
and other blocks by name; third-party packages are imported inside functions.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

from jobshelf.errors import InputError, ScriptError
from jobshelf.shelf import find_shelf

END = "# --- end block ---"
_PACKAGE = "jobshelf_blocks"
_DECLARATION = re.compile(r"\A# block: (?P<name>[a-z][a-z0-9_]*) (?P<version>[1-9]\d*)\n")
_FENCE = re.compile(r"# --- block: (?P<name>[a-z][a-z0-9_]*) (?P<version>[1-9]\d*) \(jobshelf\) ---")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block as its source declares it. `imports` are its top-level import statements, `needs` other blocks."""

    name: str
    version: int
    promise: str
    imports: tuple[str, ...]
    needs: tuple[str, ...]
    body: str

    def __str__(self) -> str:
        # Two empty lines before the end: where a formatter puts them after a function.
        return f"# --- block: {self.name} {self.version} (jobshelf) ---\n{self.body}\n\n{END}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One embedded block in a script: 1-based lines of its two fences, and the text between them."""

    name: str
    version: int
    first_line: int
    last_line: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Why the embedded block `fence` is not the block of the shelf; `reason` is "unknown", "older" or "changed"."""

    fence: Fence
    reason: str
    expected: Block | None


def block_folder() -> Path:
    """Return the folder of the block sources: the checkout's, else the installed ones."""
    return find_shelf().root / "templates" / "blocks"


def list_blocks(folder: Path | None = None) -> dict[str, Block]:
    """Return every block by name, in the order of names. Raises ScriptError for a source that breaks the form."""
    sources = sorted((folder or block_folder()).glob("[a-z]*.py"))
    return {path.stem: parse_block(path.read_text(encoding="utf-8"), str(path)) for path in sources}


def parse_block(text: str, path: str) -> Block:
    """Parse the source of a block. Raises ScriptError where it breaks the form described above."""
    declaration = _DECLARATION.match(text)
    if declaration is None or declaration["name"] != Path(path).stem:
        line = text.partition("\n")[0]
        expected = f"'# block: {Path(path).stem} <version>'"
        raise ScriptError(path, 1, found=repr(line), expected=expected, fix="declare the block on its first line")
    tree = ast.parse(text, path)
    preamble = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) or _type_checking(node)]
    promise = ast.get_docstring(tree)
    if promise is None or not preamble:
        raise ScriptError(
            path, 2, found="no docstring or no import", expected="both", fix="say what the block promises"
        )
    last = max(node.end_lineno or node.lineno for node in preamble)
    siblings = [node.module for node in preamble if isinstance(node, ast.ImportFrom) and node.level and node.module]
    return Block(
        name=declaration["name"],
        version=int(declaration["version"]),
        promise=promise,
        imports=tuple(ast.unparse(node) for node in preamble if not _is_sibling(node)),
        needs=tuple(dict.fromkeys(siblings)),
        body=_trimmed(text.splitlines(keepends=True)[last:]),
    )


def find_fences(text: str, path: str = "<script>") -> tuple[Fence, ...]:
    """Return the embedded blocks of a script, in file order.

    Raises ScriptError for a fence that is not closed, closes nothing, or opens the same block twice.
    """
    fences: list[Fence] = []
    opened: tuple[int, re.Match[str]] | None = None
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        opening = _FENCE.fullmatch(line.rstrip())
        closing = line.rstrip() == END
        if opening and not opened:
            opened = (number, opening)
        elif closing and opened:
            fences.append(_fence(opened[1], opened[0], number, lines))
            opened = None
        elif opening or closing:
            raise _unpaired(path, number, closing=closing)
    if opened:
        raise _unpaired(path, opened[0], closing=False)
    names = [fence.name for fence in fences]
    twice = next((fence for fence in fences if names.count(fence.name) > 1), None)
    if twice:
        raise ScriptError(
            path, twice.first_line, found=f"the block {twice.name} twice", expected="once", fix="remove one of them"
        )
    return tuple(fences)


def compare(text: str, blocks: Mapping[str, Block], path: str = "<script>") -> tuple[Drift, ...]:
    """Return the embedded blocks that differ from `blocks`, in file order."""
    found = ((fence, blocks.get(fence.name)) for fence in find_fences(text, path))
    reasons = ((fence, block, _drift(fence, block)) for fence, block in found)
    return tuple(Drift(fence=fence, reason=reason, expected=block) for fence, block, reason in reasons if reason)


def missing_needs(text: str, blocks: Mapping[str, Block], path: str = "<script>") -> tuple[str, ...]:
    """Return the blocks that embedded ones need and the script does not embed."""
    names = [fence.name for fence in find_fences(text, path)]
    needed = (need for name in names if name in blocks for need in blocks[name].needs)
    return tuple(sorted(set(needed) - set(names)))


def missing_imports(
    text: str, blocks: Mapping[str, Block], path: str = "<script>", tree: ast.Module | None = None
) -> tuple[str, ...]:
    """Return the import statements that embedded blocks rely on and the top of the script does not make.

    `tree` is the script parsed, for who has it already.
    """
    present = {line for node in (tree or ast.parse(text)).body for line in _single_imports(node)}
    embedded = [blocks[fence.name] for fence in find_fences(text, path) if fence.name in blocks]
    return tuple(sorted({line for block in embedded for code in block.imports for line in _lines_of(code)} - present))


def refresh(text: str, blocks: Mapping[str, Block] | None = None) -> str:
    """Return the script with every embedded block that the shelf knows replaced by the shelf's; others stay."""
    known = list_blocks() if blocks is None else blocks
    lines = text.splitlines(keepends=True)
    for fence in reversed(find_fences(text)):
        if fence.name in known:
            lines[fence.first_line - 1 : fence.last_line] = [str(known[fence.name])]
    return "".join(lines)


def load(name: str, folder: Path | None = None) -> ModuleType:
    """Import a block's source as a module, so that the tool runs the very code that scripts embed.

    Raises InputError for a name that is no block.
    """
    home = folder or block_folder()
    if folder is None and not home.is_dir():
        home = find_shelf(Path(__file__).parent).root / "templates" / "blocks"  # a shelf need not have its own
    if not (home / f"{name}.py").is_file():
        known = ", ".join(sorted(path.stem for path in home.glob("[a-z]*.py")))
        raise InputError(f"there is no block {name!r}", fix=f"name one of: {known}")
    package = _package(home)
    # A shelf's folder holds what its people put there, and nothing of Python's own.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(f"{package}.{name}")
    finally:
        sys.dont_write_bytecode = before


def _package(folder: Path) -> str:
    """Register `folder` as a package of its own, so that a block's `from .exits import Stop` finds its sibling."""
    name = f"{_PACKAGE}_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = module_from_spec(spec)
    return name


def _drift(fence: Fence, block: Block | None) -> str | None:
    if block is None:
        return "unknown"
    if fence.version < block.version:
        return "older"
    return None if (fence.version, fence.body) == (block.version, block.body) else "changed"


def _fence(opening: re.Match[str], first: int, last: int, lines: list[str]) -> Fence:
    body = _trimmed(lines[first : last - 1])
    return Fence(name=opening["name"], version=int(opening["version"]), first_line=first, last_line=last, body=body)


def _trimmed(lines: Iterable[str]) -> str:
    """Return the lines as text without empty lines around it."""
    return "".join(lines).strip("\n") + "\n"


def _unpaired(path: str, line: int, *, closing: bool) -> ScriptError:
    found = "the end of a block that was not opened" if closing else "a block that is not closed"
    fix = "put '# --- block: NAME VERSION (jobshelf) ---' before it" if closing else f"put '{END}' after it"
    return ScriptError(path, line, found=found, expected="one opening and one closing fence", fix=fix)


def _is_sibling(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.level > 0


def _type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def _lines_of(code: str) -> tuple[str, ...]:
    """The statements of one import statement of a block, one a name."""
    return tuple(_single_imports(ast.parse(code).body[0]))


def _single_imports(node: ast.stmt) -> Iterable[str]:
    """Yield one statement a name, so that `from x import a, b` covers `from x import a`."""
    if isinstance(node, ast.Import):
        yield from (ast.unparse(ast.Import(names=[alias])) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (
            ast.unparse(ast.ImportFrom(module=node.module, names=[alias], level=node.level)) for alias in node.names
        )
    elif isinstance(node, ast.If) and _type_checking(node):
        yield from (f"if TYPE_CHECKING: {line}" for inner in node.body for line in _single_imports(inner))
