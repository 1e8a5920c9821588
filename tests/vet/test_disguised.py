"""A defect is noticed under another name, in a variable, in a dict, or in a helper; the sound script has none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobshelf.testing import vet_text
from vet.disguised import DISGUISES, Disguise

ROOT = Path(__file__).parents[2]
SOUND = ROOT / "docs" / "examples" / "training.py"


def test_there_are_many_classes_and_each_has_a_name() -> None:
    assert len({disguise.name for disguise in DISGUISES}) == len(DISGUISES) >= 50


@pytest.mark.parametrize("code", sorted({disguise.code for disguise in DISGUISES}))
def test_the_sound_script_has_no_such_finding(code: str) -> None:
    assert vet_text(SOUND.read_bytes(), path="training.py", select=[code]).findings == ()


@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda disguise: disguise.name.replace(" ", "-"))
def test_a_disguised_defect_is_noticed(disguise: Disguise) -> None:
    text = SOUND.read_text(encoding="utf-8")
    changed = disguise.change(text)
    assert changed is not None
    findings = vet_text(changed, path="training.py", select=[disguise.code]).findings
    first = next(
        number
        for number, (old, new) in enumerate(zip(text.split("\n"), changed.split("\n"), strict=False), 1)
        if old != new
    )
    lines = {finding.line - first for finding in findings}
    assert lines, "nothing was reported"
    assert lines <= set(range(len(disguise.lines.splitlines()) + 1)), "something else was reported"
