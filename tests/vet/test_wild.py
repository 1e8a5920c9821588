"""Scripts such as one meets in public, written for this test: the good ones have no finding, the bad ones those that they name.

A comment `# expect: UVS402` names a finding on its own line, `# expect: UVS901 on line 1` one where no comment can stand.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobshelf.testing import vet_text

WILD = Path(__file__).parent / "wild"
GOOD, BAD = sorted((WILD / "good").glob("*.py")), sorted((WILD / "bad").glob("*.py"))
EXPECTED = re.compile(r"# expect: (?P<codes>UVS\d{3}(?:, UVS\d{3})*)(?: on line (?P<line>\d+))?$")


def expected(text: str) -> list[tuple[int, str]]:
    """Return line and code of each finding that the comments name."""
    found = [(number, EXPECTED.search(line)) for number, line in enumerate(text.splitlines(), start=1)]
    return sorted(
        (int(match["line"] or number), code) for number, match in found if match for code in match["codes"].split(", ")
    )


def test_there_are_scripts_of_both_kinds() -> None:
    assert len(GOOD) >= 40
    assert len(BAD) >= 25


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_script_has_no_finding(path: Path) -> None:
    report = vet_text(path.read_bytes(), path=str(path))
    assert [(finding.line, finding.code, finding.message) for finding in report.findings] == []
    assert report.inconclusive == ()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_script_has_the_findings_that_it_names(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    report = vet_text(text, path=str(path))
    assert sorted((finding.line, finding.code) for finding in report.findings) == expected(text)
    assert expected(text)
    assert report.inconclusive == ()
