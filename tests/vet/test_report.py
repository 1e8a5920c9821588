"""The report formats, each on the same three findings and one undecided rule."""

from __future__ import annotations

import json

import pytest

from jobshelf.errors import printable
from jobshelf.vet import Config, Profile, Report, vet_scripts
from jobshelf.vet.finding import Undecided, finding_of
from jobshelf.vet.report import FORMATS, render, statistics, summary
from jobshelf.vet.rule import Edit, Hit, Severity
from jobshelf.vet.rules import all_rules

HIT = Hit(
    line=3,
    column=20,
    end_line=3,
    end_column=28,
    message="no bounds",
    found='"polars"',
    expected="a lower and an upper bound",
    advice='write "polars>=2.1,<3"',
    edits=(Edit(start=0, end=1, replacement="x"),),
)
HOSTILE = Hit(
    line=1,
    message="evil \x1b[31m<img src=x onerror=alert(1)> | `code`\n::error::forged",
    advice="50% \u202e off",
    severity=Severity.HINT,
)


def report(profile: Profile = Profile.DEFAULT) -> Report:
    rules = all_rules()
    findings = (
        finding_of(rules["UVS202"], "a,b.py", HIT),
        finding_of(rules["UVS102"], "a,b.py", Hit(line=9, message="below code", advice="move it")),
        finding_of(rules["UVS601"], "c.py", HOSTILE),
    )
    undecided = (Undecided(path="c.py", code="UVS901", name="help-fails", reason="timed out"),)
    return Report(profile=profile, paths=("a,b.py", "c.py", "d.py"), findings=findings, inconclusive=undecided)


def test_text_says_where_what_and_the_fix() -> None:
    lines = render(report(), "text").splitlines()
    assert lines[:3] == [
        "a,b.py:3:20: error: UVS202 no bounds",
        '    found "polars", expected a lower and an upper bound',
        '    fix: write "polars>=2.1,<3" [--fix --unsafe-fixes]',
    ]
    assert lines[-2] == "c.py: UVS901 inconclusive: timed out"
    assert lines[-1] == "3 scripts: 1 error, 1 warning, 1 hint; 1 inconclusive, which is not a pass."
    assert "\x1b" not in render(report(), "text")
    assert "\x1b[31merror: UVS202\x1b[0m" in render(report(), "text", colour=True)


@pytest.mark.parametrize("form", FORMATS)
def test_each_finding_shows_its_severity(form: str) -> None:
    text, one_a_line = render(report(), form), form in {"text", "github", "markdown"}
    words = {"github": "notice", "sarif": "note"}
    for code, severity in (("UVS202", "error"), ("UVS102", "warning"), ("UVS601", words.get(form, "hint"))):
        places = [line for line in text.splitlines() if f"{code} " in line] if one_a_line else [text]
        assert places
        assert all(severity in place for place in places)


def test_each_line_of_the_statistics_shows_its_severity() -> None:
    assert [line.split()[2] for line in statistics(report()).splitlines()] == ["warning", "error", "hint"]


def test_json_has_the_fields_of_version_1_and_nothing_else() -> None:
    document = json.loads(render(report(), "json"))
    assert list(document) == ["version", "findings", "inconclusive"]
    assert document["version"] == 1
    assert document["findings"][0] == {
        "code": "UVS202",
        "name": "dependency-unbounded",
        "severity": "error",
        "path": "a,b.py",
        "line": 3,
        "column": 20,
        "end_line": 3,
        "end_column": 28,
        "message": 'no bounds (found "polars", expected a lower and an upper bound)',
        "fix": 'write "polars>=2.1,<3"',
    }
    assert document["inconclusive"] == [{"code": "UVS901", "name": "help-fails", "path": "c.py", "reason": "timed out"}]


def test_github_annotations_cannot_be_forged_by_a_script() -> None:
    lines = render(report(), "github").splitlines()
    assert lines[0].startswith(
        "::error file=a%2Cb.py,line=3,col=20,endLine=3,endColumn=28,title=UVS202 dependency-unbounded::"
    )
    assert [line.partition(" ")[0] for line in lines[:4]] == ["::error", "::warning", "::notice", "::warning"]
    assert not any(line.startswith("::error::") for line in lines)
    assert "50%25" in lines[2]


def test_sarif_names_the_rules_and_the_regions() -> None:
    document = json.loads(render(report(), "sarif"))
    run = document["runs"][0]
    assert document["version"] == "2.1.0"
    assert [one["id"] for one in run["tool"]["driver"]["rules"]] == ["UVS102", "UVS202", "UVS601", "UVS901"]
    assert [one["level"] for one in run["results"]] == ["error", "warning", "note"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 3, "startColumn": 20, "endLine": 3, "endColumn": 28}
    assert place["artifactLocation"] == {"uri": "a%2Cb.py"}
    assert "timed out" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]


def test_markdown_shows_the_text_of_a_script_and_does_nothing_else_with_it() -> None:
    text = render(report(Profile.STRICT), "markdown")
    assert text.startswith("### jobshelf vet: does not pass\n")
    assert "<img" not in text
    assert "| 3 | UVS202 | error | no bounds" in text
    assert all(line.replace("\\|", "").count("|") in (0, 6) for line in text.splitlines())
    assert "d.py" not in text


def test_statistics_count_by_rule() -> None:
    assert statistics(report()).splitlines()[0].split() == ["1", "UVS102", "warning", "header-not-at-top"]


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[0m\n\u202e\x00é") == "a\\x1b[0m\\n\\u202e\\x00é"


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_found_is_said_in_every_format(form: str) -> None:
    nothing = vet_scripts([], Config())
    assert render(nothing, form)
    assert "No UV scripts found" in summary(nothing)
