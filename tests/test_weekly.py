"""The weekly workflow: its lanes, its rights, and the issue that it writes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import ROOT

Report = Callable[..., tuple[list[str], str]]
GH = """\
#!/bin/sh
echo "$*" >> gh.log
if [ "$2" = list ]; then printf '%s' "$OPEN_ISSUE"; fi
"""


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    return workflow["jobs"]["lanes"]


@pytest.fixture
def report(job: dict[str, Any], tmp_path: Path) -> Report:
    """`report(open_issue="7", **logs)`: what the step tells gh, and the text that it gives it."""
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin" / "gh"
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)

    def run(open_issue: str = "", **logs: str) -> tuple[list[str], str]:
        for name, text in logs.items():
            (tmp_path / f"{name}.log").write_text(text, encoding="utf-8")
        env = {
            "PATH": f"{gh.parent}{os.pathsep}{os.defpath}",
            "RUN_URL": "https://run.example",
            "OPEN_ISSUE": open_issue,
        }
        step = next(step for step in job["steps"] if step.get("name") == "report")
        assert step["if"] == "failure()"
        subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, check=True, capture_output=True)
        return (tmp_path / "gh.log").read_text().splitlines(), (tmp_path / "report.md").read_text()

    return run


def test_every_lane_runs(job: dict[str, Any]) -> None:
    lines = [line.strip() for step in job["steps"] for line in step.get("run", "").splitlines()]
    assert ".ci/run 2>&1 | tee heavy.log" in lines
    assert "uv run pytest -m sweep 2>&1 | tee sweep.log" in lines
    assert job["permissions"] == {"contents": "read", "issues": "write"}


def test_a_failure_opens_an_issue_that_names_the_tests(report: Report) -> None:
    told, text = report(heavy="fine\nFAILED tests/a.py::test_a - gone\n", sweep="ERROR tests/b.py - also\nnoise\n")
    assert told[-1] == "issue create --title The weekly run fails --body-file report.md"
    assert text == "https://run.example\n\n```\nFAILED tests/a.py::test_a - gone\nERROR tests/b.py - also\n```\n"


def test_an_open_issue_gets_a_comment(report: Report) -> None:
    told, _ = report(open_issue="7", heavy="FAILED tests/a.py::test_a\n", sweep="")
    assert told[-1] == "issue comment 7 --body-file report.md"
    assert not [line for line in told if "create" in line]


def test_a_failure_without_tests_shows_the_end_of_the_log(report: Report) -> None:
    _, text = report(heavy="".join(f"line {number}\n" for number in range(40)))
    assert text.startswith("https://run.example\n\n```\nline 10\n") and "line 39\n```\n" in text
