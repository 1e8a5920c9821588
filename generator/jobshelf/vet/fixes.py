"""Mend scripts: apply the edits of findings until nothing more can be mended."""

from __future__ import annotations

import ast
import difflib
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobshelf.errors import EnvironmentFault, UsageError
from jobshelf.script import Script, parse_header, parse_script, syntax_tree
from jobshelf.scripts.files import MOST_BYTES, is_url
from jobshelf.vet.config import Config
from jobshelf.vet.engine import vet_scripts, vet_targets
from jobshelf.vet.finding import Finding, Report
from jobshelf.vet.progress import Tell, tell_nobody
from jobshelf.vet.rule import Edit, FixKind
from jobshelf.vet.targets import Target, load

# A fix can uncover the next (a renamed key, then its value); more rounds than this would mean that two fixes disagree.
_MOST_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A mended script: its text before and after, and the findings whose edits were applied."""

    path: str
    before: str
    after: str
    applied: tuple[Finding, ...]

    def diff(self) -> str:
        """Return the change as a unified diff."""
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        lines = difflib.unified_diff(before, after, f"a/{self.path}", f"b/{self.path}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """The scripts that changed, and the report on all of them after the change."""

    changes: tuple[Change, ...]
    report: Report


def mend(targets: Sequence[Target], config: Config, *, unsafe: bool = False, tell: Tell = tell_nobody) -> Mended:
    """Work out the safe fixes (and the unsafe ones) of every target. Writes nothing; see `write`. `tell` hears how far it is.

    Raises UsageError for a URL, and what `vet_targets` raises.
    """
    if remote := next((target.path for target in targets if is_url(target.path)), None):
        raise UsageError(f"{remote} cannot be fixed in place", fix="download it, then fix the file")
    first = vet_targets(targets, config, tell=tell)
    fixable = {finding.path for finding in first.findings if _is_wanted(finding, unsafe=unsafe)}
    changed: list[Change] = []
    for target in (target for target in targets if target.path in fixable):
        changed.append(mend_script(load(target), config, unsafe=unsafe))
        tell("scripts fixed", len(changed), len(fixable))
    changes = tuple(change for change in changed if change.before != change.after)
    mended = [parse_script(change.after.encode(), change.path) for change in changes]
    after = vet_scripts(mended, config) if mended else None
    return Mended(changes=changes, report=_merged(first, after))


def why_no_diff(mended: Mended) -> str:
    """Return, in one line, why there is nothing to show of fixes that changed nothing."""
    findings = mended.report.findings
    if not findings:
        return "no fixes: nothing was found"
    fixes = {kind: ", ".join(sorted({one.code for one in findings if one.fix is kind})) for kind in FixKind}
    if refused := fixes[FixKind.SAFE]:
        return f"no fixes: that of {refused} would change the code, and has to be made by hand"
    if unsafe := fixes[FixKind.UNSAFE]:
        return f"no safe fixes; --unsafe-fixes would also apply those of {unsafe}"
    return "no fixes: what was found has to be corrected by hand"


def mend_script(script: Script, config: Config, *, unsafe: bool = False) -> Change:
    """Return the script with its fixes applied, as often as a fix uncovers another."""
    current, applied = script, []
    for _ in range(_MOST_ROUNDS):
        if len(current.data) > MOST_BYTES:
            break
        findings = [one for one in vet_scripts([current], config).findings if _is_wanted(one, unsafe=unsafe)]
        text, used = _apply(current.text, findings)
        if text == current.text:
            break
        applied += used
        current = parse_script(text.encode(), script.path)
    return Change(path=script.path, before=script.text, after=current.text, applied=tuple(applied))


def write(changes: Iterable[Change]) -> None:
    """Write the mended scripts over the old ones, each at once and with its permissions kept."""
    for change in changes:
        path = Path(change.path).resolve()
        try:
            _replace(path, change.after.encode())
        except OSError as error:
            raise EnvironmentFault(
                f"{change.path} cannot be written: {error.strerror}", fix="check its folder"
            ) from error


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(path.stat().st_mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _is_wanted(finding: Finding, *, unsafe: bool) -> bool:
    return bool(finding.edits) and (finding.fix is FixKind.SAFE or unsafe)


def _apply(text: str, findings: Sequence[Finding]) -> tuple[str, list[Finding]]:
    """Apply the edits of the findings that do not overlap; a safe one only when the code stays what it was.

    Each edit leaves a header that can be read, but two may not: one renames a key, the other adds it. The next round looks again.
    """
    code, reads = _code(text), _has_header(text)
    kept: list[Finding] = []
    for finding in findings:
        if _overlaps(finding.edits, [edit for other in kept for edit in other.edits]):
            continue
        if finding.fix is FixKind.SAFE and _code(_edited(text, [finding])) != code:
            continue
        reads_after = _has_header(_edited(text, [*kept, finding]))
        if reads and not reads_after:
            continue
        reads = reads_after
        kept.append(finding)
    return _edited(text, kept), kept


def _edited(text: str, findings: Iterable[Finding]) -> str:
    edits = sorted((edit for finding in findings for edit in finding.edits), key=lambda edit: (edit.start, edit.end))
    for edit in reversed(edits):
        text = text[: edit.start] + edit.replacement + text[edit.end :]
    return text


def _overlaps(edits: Iterable[Edit], taken: Iterable[Edit]) -> bool:
    others = list(taken)
    return any(
        (edit.start < other.end and other.start < edit.end) or edit.start == other.start
        for edit in edits
        for other in others
    )


def _has_header(text: str) -> bool:
    return parse_header(text)[0] is not None


def _code(text: str) -> str | None:
    """Return the syntax tree as text, comments and positions aside; None when it does not parse."""
    try:
        return ast.dump(syntax_tree(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _merged(first: Report, after: Report | None) -> Report:
    if after is None:
        return first
    findings = [one for one in first.findings if one.path not in after.paths] + list(after.findings)
    undecided = [one for one in first.inconclusive if one.path not in after.paths] + list(after.inconclusive)
    return Report(
        profile=first.profile,
        paths=first.paths,
        findings=tuple(sorted(findings, key=lambda one: (one.path, one.line, one.column, one.code))),
        inconclusive=tuple(sorted(undecided)),
    )
