"""Every rule has at least two scripts that it must report and two that it must not: tests/vet/rules/<code>/{bad,good}."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobshelf.testing import vet_text
from jobshelf.vet.rule import Tier
from jobshelf.vet.rules import all_rules

RULES = Path(__file__).parent / "rules"
ROOT = Path(__file__).parents[2]
# What needs a package index is in test_resolve.py.
LOCAL = [code for code, made in all_rules().items() if made.tier is not Tier.RESOLVE]


def fixtures(kind: str) -> list[Path]:
    return [path for code in LOCAL for path in sorted((RULES / code / kind).glob("*.py"))]


def shown(path: Path) -> str:
    return f"{path.parts[-3]}-{path.stem}"


@pytest.mark.parametrize("path", fixtures("bad"), ids=shown)
def test_a_bad_script_is_reported(path: Path) -> None:
    code = path.parts[-3]
    report = vet_text(path.read_bytes(), path=str(path), select=[code])
    assert code in {finding.code for finding in report.findings}
    for finding in report.findings:
        assert 1 <= finding.line <= len(path.read_bytes().split(b"\n"))
        assert finding.message
        assert finding.advice


@pytest.mark.parametrize("path", fixtures("good"), ids=shown)
def test_a_good_script_is_not_reported(path: Path) -> None:
    report = vet_text(path.read_bytes(), path=str(path), select=[path.parts[-3]])
    assert report.findings == ()
    assert report.inconclusive == ()


@pytest.mark.parametrize("code", all_rules())
def test_every_rule_has_two_scripts_of_each_kind(code: str) -> None:
    assert len(list((RULES / code / "bad").glob("*.py"))) >= 2
    assert len(list((RULES / code / "good").glob("*.py"))) >= 2


def test_every_folder_of_fixtures_belongs_to_a_rule() -> None:
    assert {path.name for path in RULES.iterdir()} <= set(all_rules())
