"""Scripts that train run here with the header of their users: TRL and PEFT, alone and in a rehearsal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from heavy.conftest import SCRIPTS, UNPLUGGED, RunScript, assert_cpu_builds
from jobshelf.testing import rehearse

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(900)]


def test_one_step_of_fine_tuning(run_script: RunScript, model: Path, tmp_path: Path) -> None:
    for number, env in enumerate(({}, UNPLUGGED)):
        folder = tmp_path / str(number)
        shown = run_script("train.py", model, folder, env=env)
        assert_cpu_builds(shown["packages"])
        assert (shown["steps"], shown["trained"]) == (1, 28)
        # of the two factors of an adapter the second begins at zero, so that the first has no gradient yet
        assert shown["changed"] == 14
        assert 4 < shown["loss"] < 9
        assert (folder / "adapter_model.safetensors").stat().st_size > 10_000


def test_a_rehearsal_gets_the_same_builds(
    cpu_builds: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    for name, value in cpu_builds.items():
        monkeypatch.setenv(name, value)
    said = []
    shown = rehearse(
        SCRIPTS / "train.py",
        arguments=["{model}", "trained"],
        steps=["run"],
        check=lambda result, _: said.append(json.loads(result.stdout.splitlines()[-1])),
    )
    record_property("figure", f"heavy: rehearsal of train.py: {shown.verdict('run').seconds:.1f} s")
    assert_cpu_builds(shown.versions.packages)
    found = {canonicalize_name(name): version for name, version in said[0]["packages"].items()}
    assert found == dict(shown.versions.packages)
    assert (said[0]["steps"], said[0]["changed"]) == (1, 14)
