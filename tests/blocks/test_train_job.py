"""Block `train_job`: the plan that processes share, and whose a folder is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from blocks.trainings import small_plan
from jobshelf import blocks

job, exits, persist_file = (blocks.load(name) for name in ("train_job", "exits", "persist_file"))


def test_the_plan_survives_a_file(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    assert job.TrainPlan.read(plan.write()) == plan


@pytest.mark.parametrize("held", [{}, {"thesis.tex": "mine"}])
def test_a_folder_is_its_own_or_nobodys(held: dict[str, str], tmp_path: Path) -> None:
    ours = persist_file.Run(script="train_sft.py", request={"n": 1}, source="a" * 40)
    for name, text in held.items():
        (tmp_path / name).write_text(text)
    if held:
        with pytest.raises(exits.Stop) as stop:
            job._open_folder(tmp_path, ours, overwrite=False)
        assert stop.value.code == 4
        assert "thesis.tex" in str(stop.value)
    assert job._open_folder(tmp_path, ours, overwrite=True) is False
    manifest = {"script": "train_sft.py", "request": {"n": 1}, "source": "a" * 40}
    (tmp_path / "jobshelf.json").write_text(json.dumps(manifest))
    assert job._open_folder(tmp_path, ours, overwrite=False) is True
    with pytest.raises(exits.Stop):
        job._open_folder(tmp_path, replace(ours, request={"n": 2}), overwrite=False)
