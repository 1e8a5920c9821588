"""What a rule looks at: one parsed script, and whatever else was measured about it, each computed at most once."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from jobshelf.blocks import END, Fence, find_fences
from jobshelf.errors import ScriptError
from jobshelf.script import Script
from jobshelf.vet.rule import Edit

if TYPE_CHECKING:
    from jobshelf.interface import Probe
    from jobshelf.shelf import Shelf
    from jobshelf.vet.resolve import Resolution
    from jobshelf.vet.suppression import Suppression

Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One line of ruff's answer. `code` is ruff's (`BLE001`), or `invalid-syntax`."""

    code: str
    message: str
    line: int
    column: int
    end_line: int
    end_column: int


def probe_script(script: Script) -> Probe:
    """Run the script with its imports stubbed (see `jobshelf.interface`)."""
    from jobshelf.interface import probe

    return probe(script)


def resolve_script(script: Script) -> Resolution:
    """Return what can be asked of uv about the script's header (see `jobshelf.vet.resolve`)."""
    from jobshelf.vet.resolve import Resolution

    return Resolution(script=script)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One script under vetting.

    `ruff` holds what ruff says under the header's own minimum Python, of the codes that some rule asked for. `candidate`
    is true when the script is on a shelf or wants to be. `unused` are the suppressions that no other rule needed.
    """

    script: Script
    shelf: Shelf | None = None
    candidate: bool = False
    ruff: tuple[Diagnostic, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    unused: tuple[Suppression, ...] = ()
    probe_with: Callable[[Script], Probe] = field(default=probe_script)
    resolve_with: Callable[[Script], Resolution] = field(default=resolve_script)

    @cached_property
    def probe(self) -> Probe:
        """What the script did in a bare process with stubbed imports; only rules of tier STUB may ask."""
        return self.probe_with(self.script)

    @cached_property
    def resolution(self) -> Resolution:
        """What uv makes of the header; only rules of tier RESOLVE may ask."""
        return self.resolve_with(self.script)

    @cached_property
    def lines(self) -> list[str]:
        """The script's lines as Python and uv count them, without their line ends."""
        return [line.removesuffix("\r") for line in self.script.text.split("\n")]

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        for line in self.script.text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        return starts

    @property
    def newline(self) -> str:
        r"""The line end that the script uses, `\n` or `\r\n`."""
        return "\r\n" if "\r\n" in self.script.text else "\n"

    @cached_property
    def blocks(self) -> tuple[Fence, ...]:
        """The fenced blocks, in order; none when the fences do not pair."""
        try:
            return find_fences(self.script.text) if END in self.script.text else ()
        except ScriptError:
            return ()

    def in_block(self, line: int) -> bool:
        """Tell whether the 1-based `line` lies in a fenced block."""
        return any(block.first_line <= line <= block.last_line for block in self.blocks)

    def nodes(self, *kinds: type[Node]) -> Iterator[Node]:
        """Yield the tree's nodes of exactly these classes, each class in source order; none when there is no tree."""
        for kind in kinds:
            yield from self._nodes.get(kind, ())

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return the node that holds `node`; None for the module."""
        return self._parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around `node`, the innermost first."""
        while (node := self._parents.get(node)) is not None:
            yield node

    def offset(self, line: int, column: int = 1) -> int:
        """Return the character offset of a 1-based position; a position past the end is the end."""
        if line > len(self.lines):
            return len(self.script.text)
        return self._line_starts[line - 1] + column - 1

    def column(self, node: ast.AST) -> int:
        """Return the 1-based character column at which `node` starts (the tree itself counts UTF-8 bytes)."""
        return self._characters(node.lineno, node.col_offset)

    def span(self, node: ast.AST) -> dict[str, int]:
        """Return `line`, `column`, `end_line` and `end_column` of `node`, ready for `Hit(**subject.span(node), ...)`."""
        return {
            "line": node.lineno,
            "column": self.column(node),
            "end_line": node.end_lineno,
            "end_column": self._characters(node.end_lineno, node.end_col_offset),
        }

    def edit_node(self, node: ast.AST, replacement: str) -> Edit:
        """Return the edit that puts `replacement` in the place of `node`."""
        span = self.span(node)
        start, end = (span["line"], span["column"]), (span["end_line"], span["end_column"])
        return Edit(start=self.offset(*start), end=self.offset(*end), replacement=replacement)

    def edit_lines(self, first: int, last: int, *replacement: str) -> Edit:
        """Return the edit that puts the lines `replacement` in the place of the 1-based lines `first` to `last`.

        With `last == first - 1` nothing is replaced and the lines are inserted before `first`.
        """
        text = "".join(f"{line}{self.newline}" for line in replacement)
        return Edit(start=self.offset(first), end=self.offset(last + 1), replacement=text)

    def _characters(self, line: int, byte_offset: int) -> int:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return byte_offset + 1 if text.isascii() else len(text.encode()[:byte_offset].decode(errors="replace")) + 1

    @cached_property
    def _nodes(self) -> dict[type[Any], list[Any]]:
        return _by_class(self.script.tree) if self.script.tree else {}

    @cached_property
    def _parents(self) -> dict[ast.AST, ast.AST]:
        parents: dict[ast.AST, ast.AST] = {}
        for nodes in self._nodes.values():
            for node in nodes:
                for value in node.__dict__.values():
                    if value.__class__ is list:
                        parents.update(dict.fromkeys([item for item in value if item.__class__ not in _LEAVES], node))
                    elif value.__class__ not in _LEAVES:
                        parents[value] = node
        return parents


# Constants, contexts and operators hold nothing and are never what a rule looks for.
_LEAVES = frozenset(
    {int, str, float, complex, bytes, bool, type(None), type(...)}
    | {
        kind
        for kind in vars(ast).values()
        if isinstance(kind, type)
        and issubclass(kind, (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop))
    }
)


@cache
def _fields_backwards(kind: type[ast.AST]) -> tuple[str, ...]:
    return tuple(reversed(kind._fields))


def _by_class(tree: ast.Module) -> dict[type[Any], list[Any]]:
    """Sort the nodes by class. Written for speed: after parsing, this is what a static run spends its time on."""
    found: defaultdict[type[Any], list[Any]] = defaultdict(list)
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        found[node.__class__].append(node)
        values = node.__dict__
        for name in _fields_backwards(node.__class__):
            value = values[name]
            if value.__class__ is list:
                stack.extend([item for item in reversed(value) if item.__class__ not in _LEAVES])
            elif value.__class__ not in _LEAVES:
                stack.append(value)
    return found
