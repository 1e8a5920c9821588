"""The documentation: its examples fail and pass as it says, and what is on disk is what the docstrings say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobshelf.errors import UsageError
from jobshelf.testing import vet_text
from jobshelf.vet import docs
from jobshelf.vet.rule import Rule, Tier
from jobshelf.vet.rules import all_rules

ROOT = Path(__file__).parents[2]
RULES = [made for made in all_rules().values() if made.tier is not Tier.RESOLVE]


@pytest.mark.parametrize("made", RULES, ids=lambda made: made.code)
def test_the_example_is_reported_and_what_to_use_instead_is_not(made: Rule) -> None:
    for example in made.examples("Example"):
        report = vet_text(example.source, path=example.name, select=[made.code])
        assert made.code in {finding.code for finding in report.findings}
    for example in made.examples("Use instead"):
        report = vet_text(example.source, path=example.name, select=[made.code])
        assert report.findings == ()
        assert report.inconclusive == ()


def test_the_pages_on_disk_are_those_of_the_docstrings() -> None:
    assert list(docs.stale_pages(ROOT / "docs" / "rules")) == [], "python -m jobshelf.vet.docs"


def test_writing_adds_renews_and_prunes(tmp_path: Path) -> None:
    docs.write_pages(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"README", *all_rules()}
    (tmp_path / "UVS101.md").write_text("old")
    (tmp_path / "UVS000.md").write_text("a rule that is gone")
    (tmp_path / "UVS102.md").unlink()
    assert list(docs.stale_pages(tmp_path)) == ["UVS000.md", "UVS101.md", "UVS102.md"]
    assert docs.write_pages(tmp_path) == ("UVS000.md", "UVS101.md", "UVS102.md")
    assert list(docs.stale_pages(tmp_path)) == []
    assert not (tmp_path / "UVS000.md").exists()


def test_explain_takes_a_code_or_a_name_and_refuses_the_rest() -> None:
    assert docs.explain("uvs202") == docs.explain("dependency-unbounded") == docs.page(all_rules()["UVS202"])
    assert docs.explain("UVS202").startswith("# UVS202 dependency-unbounded\n\nA dependency has no upper bound.\n")
    with pytest.raises(UsageError, match="there is no rule 'UVS000'"):
        docs.explain("UVS000")


def test_rules_as_json_hold_every_rule_once_in_order() -> None:
    document = json.loads(docs.rules_json())
    assert [one["code"] for one in document] == list(all_rules())
    assert {one["severity"] for one in document} <= {"error", "warning", "hint"}
    assert all(one["documentation"].startswith("## What it does\n") for one in document)
    assert docs.rules_text().count("\n") == len(document)
