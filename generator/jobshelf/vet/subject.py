"""What a rule looks at: one parsed script, and whatever else was measured about it, each computed at most once."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from jobshelf.script import Script
from jobshelf.vet.rule import Audience, Edit

if TYPE_CHECKING:
    from jobshelf.interface import Probe, Watched
    from jobshelf.shelf import Shelf
    from jobshelf.vet.resolve import Resolution
    from jobshelf.vet.suppression import Suppression
    from jobshelf.vet.values import Values

Node = TypeVar("Node", bound=ast.AST)

# What a script that uses the Hub says somewhere; libraries that only download from it say none of it.
# A script without any of these words has no token, and writes nothing for which it would need one.
_NEEDS_TOKEN = re.compile(r"environ|token(?!i[sz])|huggingface_hub|push_to_hub|hf://", re.IGNORECASE)
_HUB = re.compile(r"huggingface_hub|push_to_hub|HF_TOKEN|HUGGING_?FACE_HUB_TOKEN|hf://")
# What a script imports to parse its command line: modules, and the parsers that libraries bring.
_PARSERS = frozenset(
    {"absl", "argparse", "click", "cyclopts", "docopt", "fire", "getopt", "jsonargparse", "optparse", "plac"}
    | {"simple_parsing", "tap", "typer", "tyro", "HfArgumentParser", "TrlParser"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One line of ruff's answer. `code` is ruff's (`BLE001`), or `invalid-syntax`."""

    code: str
    message: str
    line: int
    column: int
    end_line: int
    end_column: int


def probe_script(script: Script, *, unfenced: bool = False) -> Probe:
    """Run the script with its imports stubbed (see `jobshelf.interface`)."""
    from jobshelf.interface import probe

    return probe(script, unfenced=unfenced)


def watch_script(script: Script, probe: Probe, *, unfenced: bool = False) -> Watched | None:
    """Run the script again, with a token made up for the run (see `jobshelf.interface`)."""
    from jobshelf.interface import watch

    return watch(script, probe, unfenced=unfenced)


def resolve_script(script: Script, *, builds: bool = False) -> Resolution:
    """Return what can be asked of uv about the script's header (see `jobshelf.vet.resolve`)."""
    from jobshelf.vet.resolve import Resolution

    return Resolution(script=script, builds=builds)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One script under vetting.

    `ruff` holds what ruff says under the header's own minimum Python, of the codes that some rule asked for. `candidate`
    is true when the script is on a shelf or wants to be. `audiences` are those that the findings are for. `unused` are the suppressions that no other rule needed. `unfenced` lets a
    script from a URL run where the kernel has no fence for it. `stub` says whether the script may be run at all.
    """

    script: Script
    shelf: Shelf | None = None
    candidate: bool = False
    audiences: frozenset[Audience] = frozenset(Audience)
    ruff: tuple[Diagnostic, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    unused: tuple[Suppression, ...] = ()
    unfenced: bool = False
    stub: bool = True
    probe_with: Callable[[Script], Probe] = field(default=probe_script)
    resolve_with: Callable[[Script], Resolution] = field(default=resolve_script)

    @cached_property
    def uses_hub(self) -> bool:
        """Whether the script talks to the Hub by itself, or says how it is run as a Job."""
        header = self.script.header
        return bool(header and header.tool("hf-jobs")) or _HUB.search(self.script.text) is not None

    @cached_property
    def parses_arguments(self) -> bool:
        """Whether the script hands its command line to a parser."""
        modules = {alias.name.partition(".")[0] for node in self.nodes(ast.Import) for alias in node.names}
        for node in self.nodes(ast.ImportFrom):
            modules |= {(node.module or "").partition(".")[0], *(alias.name for alias in node.names)}
        return not _PARSERS.isdisjoint(modules)

    @cached_property
    def probe(self) -> Probe:
        """What the script did in a bare process with stubbed imports; only rules of tier STUB may ask, and `watched`."""
        return self.probe_with(self.script)

    @cached_property
    def watched(self) -> Watched | None:
        """What the script did with a token made up for the run.

        None without the stub tier, for a script that uses no token, and for one that had to be stopped without one.
        """
        if not self.stub or self.script.tree is None or not _NEEDS_TOKEN.search(self.script.text):
            return None
        return watch_script(self.script, self.probe, unfenced=self.unfenced)

    @cached_property
    def resolution(self) -> Resolution:
        """What uv makes of the header; only rules of tier RESOLVE may ask."""
        return self.resolve_with(self.script)

    @cached_property
    def values(self) -> Values:
        """The names of the script and what is assigned to them; only for a script that parses."""
        from jobshelf.vet.values import Values

        return Values(self, self.script.tree)

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

    def nodes(self, *kinds: type[Node]) -> Iterator[Node]:
        """Yield the tree's nodes of exactly these classes, each class in source order; none when there is no tree."""
        for kind in kinds:
            yield from self._sorted.by_class.get(kind, ())

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return the node that holds `node`; None for the module."""
        return self._sorted.parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around `node`, the innermost first."""
        while (node := self._sorted.parents.get(node)) is not None:
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
    def _sorted(self) -> Nodes:
        return sort_nodes(self.script.tree) if self.script.tree else Nodes({}, {})


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


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a tree: in source order by class, and the one that holds each."""

    by_class: Mapping[type[Any], list[Any]]
    parents: Mapping[ast.AST, ast.AST]


@lru_cache(maxsize=2)  # a script's subject is replaced when its audiences are known
def sort_nodes(tree: ast.Module) -> Nodes:
    """Sort the nodes of a tree, each once. Written for speed: after parsing, a static run spends most of its time here."""
    by_class: defaultdict[type[Any], list[Any]] = defaultdict(list)
    parents: dict[Any, Any] = {}
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        by_class[node.__class__].append(node)
        values = node.__dict__
        for name in _fields_backwards(node.__class__):
            value = values[name]
            if value.__class__ is list:
                items = [item for item in reversed(value) if item.__class__ not in _LEAVES]
                parents.update(dict.fromkeys(items, node))
                stack += items
            elif value.__class__ not in _LEAVES:
                parents[value] = node
                stack.append(value)
    return Nodes(by_class, parents)
