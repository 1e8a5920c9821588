"""Suppressions inside a script: `# vet: ignore[UVS202] -- reason`.

At the end of a line it covers the findings that start or end on that line; on a line of its own, the whole script.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from jobshelf.script import Script

MARK = "vet: ignore"
_COMMENT = re.compile(r"#\s*vet:\s*ignore\b\s*(?:\[(?P<codes>[^\]]*)\])?\s*(?:--\s*(?P<reason>.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One code of one suppression comment.

    `column` and `end_column` are those of the whole comment (1-based, end exclusive); `others` are the codes that it
    names beside this one. A comment without codes is one suppression of the empty code.
    """

    line: int
    column: int
    end_column: int
    code: str
    others: tuple[str, ...]
    reason: str
    whole_script: bool

    def covers(self, code: str, line: int, end_line: int) -> bool:
        """Tell whether a finding of `code` on these lines is meant."""
        return code == self.code and (self.whole_script or self.line in (line, end_line))


def read_suppressions(script: Script) -> tuple[Suppression, ...]:
    """Return the suppressions of `script`, in order; text inside strings is none."""
    if MARK not in script.text:
        return ()
    lines = io.StringIO(script.text.removeprefix("\ufeff"), newline=None).readlines()
    likely = [number for number, line in enumerate(lines, start=1) if _COMMENT.search(line)]
    commented = _commented(lines, script.tree, likely)
    return tuple(
        found for number in likely if number in commented for found in _suppressions(number, lines[number - 1])
    )


def _commented(lines: list[str], tree: ast.Module | None, likely: list[int]) -> set[int]:
    """Return the numbers of lines that have a comment, all of `likely` among them that do.

    Only the statements around those are cut into tokens: cutting a long script takes as long as all that its rules do.
    """
    if tree is None:
        return _with_comment(lines, 1)
    found: set[int] = set()
    for number in likely:
        around = next((span for node in tree.body if number in (span := _span(node))), None)
        found |= _with_comment(lines[around.start - 1 : around.stop - 1], around.start) if around else {number}
    return found


def _span(node: ast.stmt) -> range:
    """The numbers of a statement's lines, those of its decorators among them."""
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
    return range(first, (node.end_lineno or node.lineno) + 1)


def _with_comment(lines: list[str], first: int) -> set[int]:
    """Return the numbers of the lines that have a comment, all where they are no Python; `first` is that of the first line."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO("".join(lines)).readline))
    except (tokenize.TokenError, SyntaxError):
        return set(range(first, first + len(lines)))
    return {first + token.start[0] - 1 for token in tokens if token.type == tokenize.COMMENT}


def _suppressions(number: int, line: str) -> Iterator[Suppression]:
    match = _COMMENT.search(line)
    if match is None:
        return
    codes = [code.strip() for code in (match["codes"] or "").split(",")]
    for code in codes:
        yield Suppression(
            line=number,
            column=match.start() + 1,
            end_column=len(line.rstrip()) + 1,
            code=code,
            others=tuple(other for other in codes if other != code),
            reason=(match["reason"] or "").strip(),
            whole_script=not line[: match.start()].strip(" \t#"),
        )
