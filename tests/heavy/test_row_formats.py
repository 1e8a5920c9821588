"""dataset_inspector.py against TRL itself: what it says of each row format, and what one training step says."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heavy.conftest import RunScript
from row_formats import CASES, METHODS, inspect_rows

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(900)]

READY, NEEDS_MAPPING, INCOMPATIBLE = "READY", "NEEDS MAPPING", "INCOMPATIBLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whether TRL takes the rows of a format, as they are or after the printed mapping."""

    name: str
    method: str
    status: str
    mapping: str | None

    def to_case(self) -> dict[str, Any]:
        # Where the rules say yes, a template that refuses roles must agree; where they say no, the mildest must.
        strict = self.mapping is not None or self.status == READY
        return {"method": self.method, "rows": CASES[self.name][1], "mapping": self.mapping, "strict": strict}

    def disagrees(self, refusal: str | None) -> bool:
        if self.mapping is not None or self.status == READY:
            return refusal is not None
        return self.status == INCOMPATIBLE and refusal is None


def questions() -> Iterator[Question]:
    for name, (_, rows) in CASES.items():
        for verdict in inspect_rows(rows):
            yield Question(name=name, method=verdict.method, status=verdict.status, mapping=None)
            if verdict.mapping:
                yield Question(name=name, method=verdict.method, status=verdict.status, mapping=verdict.mapping)


def test_trl_agrees(run_script: RunScript, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    asked = list(questions())
    text = json.dumps([question.to_case() for question in asked], default=as_base64)
    (tmp_path / "cases.json").write_text(text)
    # TRL asks one column of several whether the rows are conversations; which one follows from the seed of hashes.
    env = {"PYTHONHASHSEED": "0"}
    assert run_script("trl_accepts.py", tmp_path / "cases.json", tmp_path / "answers.json", env=env)["answers"] == len(
        asked
    )
    answers = json.loads((tmp_path / "answers.json").read_text())
    wrong = [
        f"{question.name}: {question.method} {question.status}{' mapped' * bool(question.mapping)}: {answer or 'accepted'}"
        for question, answer in zip(asked, answers, strict=True)
        if question.disagrees(answer)
    ]
    for line in table(asked, answers):
        record_property("figure", line)
    assert wrong == []


def table(asked: list[Question], answers: list[str | None]) -> Iterator[str]:
    """Yield a line a method: how often TRL took what the rules call READY, mapped, NEEDS MAPPING, INCOMPATIBLE."""
    counts: dict[str, Counter[str]] = {method: Counter() for method in METHODS}
    for question, answer in zip(asked, answers, strict=True):
        what = "mapped" if question.mapping else question.status
        counts[question.method].update([what, "agree" if not question.disagrees(answer) else "disagree"])
        counts[question.method].update([f"{what} accepted"] if answer is None else [])
    whats = (READY, "mapped", NEEDS_MAPPING, INCOMPATIBLE)
    for method, count in counts.items():
        shown = ", ".join(f"{what} {count[f'{what} accepted']}/{count[what]}" for what in whats)
        yield f"formats and TRL, {method}: accepted of {shown}"
    agreed = sum(count["agree"] for count in counts.values())
    yield f"formats and TRL: {len(CASES)} formats, {len(asked)} trainings, {agreed} agreements"


def as_base64(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}
