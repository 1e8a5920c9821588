"""Suppressions inside a script: `# vet: ignore[UVS202] -- reason`.

At the end of a line it covers the findings that start or end on that line; on a line of its own, the whole script.
"""

from __future__ import annotations

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
    return tuple(found for number, line in _comments(script.text) for found in _suppressions(number, line))


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of every line that has a comment."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text.removeprefix("\ufeff")).readline))
    except (tokenize.TokenError, SyntaxError):
        yield from enumerate(text.splitlines(), start=1)
        return
    for token in tokens:
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.line.splitlines()[0]


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
