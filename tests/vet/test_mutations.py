"""Every documented way to break a catalogue script is noticed by the rule that is meant to; the unbroken script is clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobshelf.testing import vet_text
from jobshelf.vet import Profile
from jobshelf.vet.rules import all_rules
from vet.mutations import MUTATIONS, Mutation

LEAST = 0.95
SCRIPTS = sorted((Path(__file__).parents[2] / "catalog").glob("*.py"))


def noticed(mutation: Mutation, changed: str, path: Path) -> bool:
    findings = vet_text(changed, path=str(path), select=[mutation.code]).findings
    return any(finding.code == mutation.code for finding in findings)


def test_the_set_is_large_documented_and_names_real_rules() -> None:
    assert len(MUTATIONS) >= 40
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    assert all(mutation.description.endswith(".") for mutation in MUTATIONS)
    assert {mutation.code for mutation in MUTATIONS} <= set(all_rules())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_itself_is_clean(path: Path) -> None:
    report = vet_text(path.read_bytes(), path=str(path), profile=Profile.STRICT)
    assert [f"{finding.line}: {finding.code} {finding.message}" for finding in report.findings] == []
    assert list(report.inconclusive) == []


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_broken_script_is_noticed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tried = [mutation for mutation in MUTATIONS if not mutation.slow or path == SCRIPTS[0]]
    broken = {mutation: changed for mutation in tried if (changed := mutation.change(text)) is not None}
    assert all(changed != text for changed in broken.values())
    missed = [mutation.name for mutation, changed in broken.items() if not noticed(mutation, changed, path)]
    assert len(broken) >= 40
    assert 1 - len(missed) / len(broken) >= LEAST, missed
