"""The rules find nothing in any script of the shelf. A script's own tests are in tests/catalog/."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobshelf.vet import Profile, collect, load_config, vet_targets

SHELF = Path(__file__).parents[1]


@pytest.mark.parametrize("script", sorted((SHELF / "catalog").glob("*.py")), ids=lambda path: path.name)
def test_the_rules_find_nothing(script: Path) -> None:
    report = vet_targets(collect([str(script)]), load_config(SHELF, profile=Profile.STRICT))
    assert [f"{finding.line}: {finding.code} {finding.message}" for finding in report.findings] == []
