"""UVS904 reads the rehearsal record that lies beside a script of a shelf."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from jobshelf.script import parse_script
from jobshelf.shelf import find_shelf
from jobshelf.vet.rule import Severity
from jobshelf.vet.rules import all_rules
from jobshelf.vet.subject import Subject

SCRIPT = """# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# rehearse = ["{input}"]
# ///
"""
SHELF = """
[project]
version = "1.0.0"
description = "a shelf"

[tool.jobshelf.shelf]
name = "mine"
github = "me/mine"
dataset = "me/mine"
space = "me/mine"
"""


def findings(folder: Path, record: dict[str, object]) -> list[tuple[str | None, str]]:
    (folder / "catalog" / "records").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(SHELF)
    (folder / "catalog" / "records" / "count.json").write_text(json.dumps(record))
    script = parse_script(SCRIPT.encode(), "catalog/count.py")
    subject = Subject(script=script, shelf=find_shelf(folder), candidate=True)
    return [(hit.severity, hit.message) for hit in all_rules()["UVS904"].check(subject)]


def test_a_failed_step_is_an_error(tmp_path: Path) -> None:
    steps = [{"name": "help", "verdict": "passed"}, {"name": "persists", "verdict": "failed"}]
    record = {"sha256": hashlib.sha256(SCRIPT.encode()).hexdigest(), "steps": steps}
    assert findings(tmp_path, record) == [(None, "the last rehearsal failed: persists")]


def test_a_record_of_other_bytes_is_a_hint(tmp_path: Path) -> None:
    record = {"sha256": "0" * 64, "steps": [{"name": "help", "verdict": "passed"}]}
    assert findings(tmp_path, record) == [(Severity.HINT, "the last rehearsal was of other bytes")]


def test_a_record_of_these_bytes_that_passed_is_nothing(tmp_path: Path) -> None:
    steps = [{"name": "help", "verdict": "passed"}]
    record = {"sha256": hashlib.sha256(SCRIPT.encode()).hexdigest(), "steps": steps}
    assert findings(tmp_path, record) == []
