"""What a vetting run returns: findings, what stayed undecided, and whether the run passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from jobshelf.errors import printable
from jobshelf.vet.config import Profile
from jobshelf.vet.rule import Edit, FixKind, Hit, Rule, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A hit of a rule in a script. Positions count from 1, in lines and characters; the end is exclusive."""

    path: str
    line: int
    column: int
    code: str
    name: str
    severity: Severity
    end_line: int
    end_column: int
    message: str
    found: str
    expected: str
    advice: str
    fix: FixKind
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Undecided:
    """A rule that could not decide about a script. Not a pass."""

    path: str
    code: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of vetting `paths` under `profile`."""

    profile: Profile
    paths: tuple[str, ...]
    findings: tuple[Finding, ...]
    inconclusive: tuple[Undecided, ...]

    def blocking(self) -> Iterator[Finding]:
        """Yield the findings that make the run fail."""
        return (finding for finding in self.findings if finding.severity in self.profile.blocking)

    @property
    def passed(self) -> bool:
        """True when nothing blocks; under `new` and `strict`, something undecided blocks too."""
        undecided = self.inconclusive and self.profile is not Profile.DEFAULT
        return not undecided and next(self.blocking(), None) is None

    @property
    def exit_code(self) -> int:
        """0 when the run passed, 1 when not."""
        return 0 if self.passed else 1

    def counts(self) -> dict[Severity, int]:
        """Return the number of findings of each severity."""
        counted = Counter(finding.severity for finding in self.findings)
        return {severity: counted[severity] for severity in Severity}


def finding_of(rule: Rule, path: str, hit: Hit) -> Finding:
    """Return the finding that `hit` of `rule` is in the script at `path`; text of the script is made printable."""
    return Finding(
        path=path,
        line=hit.line,
        column=hit.column,
        code=rule.code,
        name=rule.name,
        severity=hit.severity or rule.severity,
        end_line=hit.end_line or hit.line,
        end_column=hit.end_column or hit.column,
        message=printable(hit.message),
        found=printable(hit.found),
        expected=printable(hit.expected),
        advice=printable(hit.advice),
        fix=(hit.fix or rule.fix) if hit.edits else FixKind.NONE,
        edits=hit.edits,
    )
