"""A report as text: for people, for programs, for GitHub, for code scanning, for a pull request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from jobshelf.errors import printable
from jobshelf.vet.finding import Finding, Report, Undecided
from jobshelf.vet.rule import FixKind, Severity
from jobshelf.vet.rules import all_rules

JSON_VERSION = 1
_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.HINT: "36"}
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "notice"}
_SARIF = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "note"}
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_FIXES = {FixKind.SAFE: " [--fix]", FixKind.UNSAFE: " [--fix --unsafe-fixes]", FixKind.NONE: ""}


def render(report: Report, form: str, *, colour: bool = False) -> str:
    """Return the report in one of FORMATS, with a newline at the end; `colour` is for text on a terminal."""
    return _text(report, colour=colour) if form == "text" else _RENDERERS[form](report)


def statistics(report: Report) -> str:
    """Return one line a rule that found something: count, code, severity, name; the most frequent first."""
    counted = Counter((one.code, one.severity, one.name) for one in report.findings)
    rows = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{count:6d}  {code}  {severity:7s}  {name}\n" for (code, severity, name), count in rows)


def summary(report: Report) -> str:
    """Return the last line: what was found in how many scripts."""
    counts = ", ".join(_many(count, severity.value) for severity, count in report.counts().items() if count)
    scripts = _many(len(report.paths), "script")
    undecided = f"; {len(report.inconclusive)} inconclusive, which is not a pass" if report.inconclusive else ""
    if not report.paths:
        return "No UV scripts found: name a file, or a folder with scripts that have a '# /// script' header."
    return f"{scripts}: {counts or 'nothing found'}{undecided}."


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _text(report: Report, *, colour: bool) -> str:
    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    def block(one: Finding) -> Iterator[str]:
        place = paint("1", f"{printable(one.path)}:{one.line}:{one.column}:")
        yield f"{place} {paint(_COLOURS[one.severity], f'{one.severity.value}: {one.code}')} {one.message}\n"
        if one.found or one.expected:
            yield f"    {_sides(one)}\n"
        yield f"    fix: {one.advice}{_FIXES[one.fix]}\n"

    findings = "".join(line for one in report.findings for line in block(one))
    undecided = "".join(
        f"{printable(one.path)}: {one.code} inconclusive: {one.reason}\n" for one in report.inconclusive
    )
    return f"{findings}{undecided}{summary(report)}\n"


def _sides(one: Finding) -> str:
    parts = [f"found {one.found}" if one.found else "", f"expected {one.expected}" if one.expected else ""]
    return ", ".join(part for part in parts if part)


def _sentence(one: Finding) -> str:
    sides = _sides(one)
    return f"{one.message} ({sides})" if sides else one.message


def _json(report: Report) -> str:
    document = {
        "version": JSON_VERSION,
        "findings": [_json_finding(one) for one in report.findings],
        "inconclusive": [_json_undecided(one) for one in report.inconclusive],
    }
    return json.dumps(document, indent=2) + "\n"


def _json_finding(one: Finding) -> dict[str, Any]:
    return {
        "code": one.code,
        "name": one.name,
        "severity": one.severity.value,
        "path": one.path,
        "line": one.line,
        "column": one.column,
        "end_line": one.end_line,
        "end_column": one.end_column,
        "message": _sentence(one),
        "fix": one.advice,
    }


def _json_undecided(one: Undecided) -> dict[str, Any]:
    return {"code": one.code, "name": one.name, "path": one.path, "reason": one.reason}


def _github(report: Report) -> str:
    lines = [
        f"::{_GITHUB[one.severity]} file={_property(one.path)},line={one.line},col={one.column},"
        f"endLine={one.end_line},endColumn={one.end_column},title={one.code} {one.name}"
        f"::{_data(f'{_sentence(one)}. Fix: {one.advice}')}"
        for one in report.findings
    ]
    lines += [
        f"::warning file={_property(one.path)},title={one.code} inconclusive::{_data(one.reason)}"
        for one in report.inconclusive
    ]
    return "".join(f"{line}\n" for line in (*lines, summary(report)))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")


def _sarif(report: Report) -> str:
    rules = all_rules()
    used = sorted({one.code for one in (*report.findings, *report.inconclusive)})
    run = {
        "tool": {"driver": {"name": "jobshelf", "rules": [_sarif_rule(code) for code in used if code in rules]}},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(one) for one in report.findings],
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {
                        "level": "warning",
                        "message": {"text": f"{one.code} inconclusive: {one.reason}"},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": quote(one.path, safe="/:", errors="surrogateescape")}
                                }
                            }
                        ],
                    }
                    for one in report.inconclusive
                ],
            }
        ],
    }
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _sarif_rule(code: str) -> dict[str, Any]:
    made = all_rules()[code]
    return {
        "id": code,
        "name": made.name,
        "shortDescription": {"text": made.summary},
        "help": {"text": made.documentation, "markdown": made.documentation},
        "defaultConfiguration": {"level": _SARIF[made.severity]},
    }


def _sarif_result(one: Finding) -> dict[str, Any]:
    region = {
        "startLine": one.line,
        "startColumn": one.column,
        "endLine": one.end_line,
        "endColumn": one.end_column,
    }
    return {
        "ruleId": one.code,
        "level": _SARIF[one.severity],
        "message": {"text": f"{_sentence(one)}. Fix: {one.advice}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(one.path, safe="/:", errors="surrogateescape")},
                    "region": region,
                }
            }
        ],
    }


def _markdown(report: Report) -> str:
    verdict = "passes" if report.passed else "does not pass"
    head = f"### jobshelf vet: {verdict}\n\n{_escaped(summary(report))}\n"
    return head + "".join(_markdown_script(path, report) for path in report.paths)


def _markdown_script(path: str, report: Report) -> str:
    findings = [one for one in report.findings if one.path == path]
    undecided = [one for one in report.inconclusive if one.path == path]
    if not findings and not undecided:
        return ""
    rows = [
        f"| {one.line} | {one.code} | {one.severity.value} | {_escaped(_sentence(one))} | {_escaped(one.advice)} |\n"
        for one in findings
    ]
    rows += [f"| | {one.code} | inconclusive | {_escaped(one.reason)} | |\n" for one in undecided]
    head = f"\n<details><summary>{_escaped(path)}: {len(findings)}</summary>\n\n"
    return (
        head + "| line | rule | severity | finding | fix |\n|---|---|---|---|---|\n" + "".join(rows) + "\n</details>\n"
    )


def _escaped(text: str) -> str:
    """Return text of a script so that Markdown and HTML show it and do nothing else with it."""
    from html import escape

    return "".join(f"\\{c}" if c in "\\`*_[]|~@#" else c for c in escape(printable(text), quote=False))


_RENDERERS: dict[str, Callable[[Report], str]] = {
    "json": _json,
    "github": _github,
    "sarif": _sarif,
    "markdown": _markdown,
}
FORMATS = ("text", *_RENDERERS)
