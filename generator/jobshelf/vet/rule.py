"""What a vetting rule is: a named, documented generator that looks at one subject and yields what it found.

A rule is registered by decorating its function; everything that can be wrong with a rule (code, name, docstring, fix
kind) is refused at registration, not at use::

    @rule("UVS202", "dependency-unbounded", severity=Severity.ERROR, tier=Tier.STATIC, fix=FixKind.UNSAFE,
          requires=("UVS103",), since="0.1.0")
    def dependency_unbounded(subject: Subject) -> Iterator[Hit]:
        ...
        yield Hit(line=4, column=6, message="...", found="polars", expected="polars>=2.1,<3", advice="...")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobshelf.vet.subject import Subject

SECTIONS = ("What it does", "Why is this bad?", "Example", "Use instead", "How to fix or suppress")
_CODE = re.compile(r"UVS[1-9]\d\d")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```python(?: name=(?P<name>\S+))?\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)


class Severity(StrEnum):
    """How much a finding matters: an error always blocks, a warning blocks new entries, a hint never does."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


class Tier(StrEnum):
    """What a rule needs: the text (ms), a run with stubbed imports (about 0.1 s), or the network."""

    STATIC = "static"
    STUB = "stub"
    RESOLVE = "resolve"


class Audience(StrEnum):
    """For whom a rule is, decided by what the script is: defects concern everybody, whatever the script does.

    Rules for `hub` concern scripts that use the Hub or have `[tool.hf-jobs]`, those for `command` scripts that parse
    arguments, those for `shelf` scripts on a shelf; `--strict`, `--new` and `--select` apply them to every script.
    """

    DEFECTS = "defects"
    HUB = "hub"
    COMMAND = "command"
    SHELF = "shelf"


class FixKind(StrEnum):
    """Whether the tool can mend a finding: not at all, without changing what the script means, or with a change of it."""

    NONE = "none"
    SAFE = "safe"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replace `text[start:end]` of the script's text (offsets in characters) by `replacement`."""

    start: int
    end: int
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing that a rule found. Lines and columns count from 1; columns count characters; the end is exclusive.

    `message` says what is wrong and stands by itself; `found` and `expected` are the two sides of it; `advice` is what
    to type or change. `edits` mend it (safe or not as the rule's `fix` says, unless `fix` here says otherwise).
    `severity` replaces that of the rule for this hit.
    """

    line: int
    message: str
    advice: str
    column: int = 1
    end_line: int | None = None
    end_column: int | None = None
    found: str = ""
    expected: str = ""
    edits: tuple[Edit, ...] = ()
    fix: FixKind | None = None
    severity: Severity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconclusive:
    """A rule could not decide, and why. It is reported as such and is not a pass."""

    reason: str


Check = Callable[["Subject"], Iterator[Hit | Inconclusive]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A fenced script of a rule's documentation; `name` is the file name it must have to show the point."""

    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A registered rule.

    `audience` says which scripts it is applied to. `requires` are the codes that must have found no error in this script before this rule is asked. `ruff` are the
    ruff codes that the rule reads from `Subject.ruff`. A `security` rule cannot be suppressed inside a script. A
    `catalogue` rule looks only at scripts that are on a shelf or want to be (`Subject.candidate`).
    """

    code: str
    name: str
    severity: Severity
    tier: Tier
    audience: Audience
    fix: FixKind
    requires: tuple[str, ...]
    ruff: tuple[str, ...]
    since: str
    security: bool
    catalogue: bool
    summary: str
    documentation: str
    check: Check

    @property
    def family(self) -> str:
        """The code's first digit with zeros, for example `UVS200`."""
        return f"{self.code[:4]}00"

    def section(self, title: str) -> str:
        """Return the text of the documentation under the heading `title`."""
        return _sections(self.documentation)[title]

    def examples(self, title: str) -> tuple[Example, ...]:
        """Return the fenced scripts under `title` (`Example` or `Use instead`)."""
        return tuple(
            Example(name=match["name"] or "script.py", source=match["source"])
            for match in _FENCE.finditer(self.section(title))
        )


_REGISTRY: dict[str, Rule] = {}


def rule(
    code: str,
    name: str,
    *,
    severity: Severity,
    tier: Tier,
    since: str,
    audience: Audience = Audience.DEFECTS,
    fix: FixKind = FixKind.NONE,
    requires: tuple[str, ...] = (),
    ruff: tuple[str, ...] = (),
    security: bool = False,
    catalogue: bool = False,
) -> Callable[[Check], Check]:
    """Register the decorated generator as the rule `code`; raise ValueError when the rule is not well formed."""

    def register(check: Check) -> Check:
        summary, _, documentation = _cleaned(check.__doc__).partition("\n\n")
        made = Rule(
            code=code,
            name=name,
            severity=severity,
            tier=tier,
            audience=audience,
            fix=fix,
            requires=requires,
            ruff=ruff,
            since=since,
            security=security,
            catalogue=catalogue,
            summary=summary.strip(),
            documentation=documentation,
            check=check,
        )
        _validate(made)
        _REGISTRY[code] = made
        return check

    return register


def registered() -> dict[str, Rule]:
    """Return the rules registered so far, by code, in the order of their codes."""
    return dict(sorted(_REGISTRY.items()))


def _cleaned(docstring: str | None) -> str:
    first, _, rest = (docstring or "").partition("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest.splitlines() if line.strip()), default=0)
    body = "\n".join(line[margin:].rstrip() for line in rest.splitlines())
    return f"{first.strip()}\n{body}".strip() + "\n"


def _sections(documentation: str) -> dict[str, str]:
    parts = _HEADING.split(documentation)
    return {title: text.strip("\n") + "\n" for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def _validate(made: Rule) -> None:
    if not _CODE.fullmatch(made.code):
        raise ValueError(f"rule code {made.code!r}: expected UVS and three digits")
    if not _NAME.fullmatch(made.name):
        raise ValueError(f"{made.code}: name {made.name!r}: expected words joined by '-'")
    if made.code in _REGISTRY or any(made.name == other.name for other in _REGISTRY.values()):
        raise ValueError(f"{made.code} ({made.name}) is registered already")
    if not _VERSION.fullmatch(made.since):
        raise ValueError(f"{made.code}: since={made.since!r}: expected a version such as 0.1.0")
    if not made.summary.endswith("."):
        raise ValueError(f"{made.code}: the docstring's first line must be one sentence, then a blank line")
    titles = tuple(_sections(made.documentation))
    if titles != SECTIONS:
        raise ValueError(f"{made.code}: docstring sections {titles}: expected {SECTIONS}")
    for title in ("Example", "Use instead"):
        if not made.examples(title):
            raise ValueError(f"{made.code}: the section '{title}' has no ```python block")
