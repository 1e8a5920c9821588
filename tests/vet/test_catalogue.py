"""The rules about shelves: what they say of scripts that are on this one, on another, or on none."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobshelf.script import parse_script
from jobshelf.shelf import find_shelf
from jobshelf.vet import Config, Profile, Report, vet_scripts


def vet(source: bytes, path: Path, root: Path, profile: Profile = Profile.DEFAULT, **options: object) -> Report:
    config = Config(profile=profile, stub=False, **options)
    return vet_scripts([parse_script(source, str(path))], config, shelf=find_shelf(root))


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Another shelf."""
    names = 'name = "mine"\ngithub = "me/mine"\ndataset = "me/scripts"\nspace = "me/page"\n'
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\nversion = "1.0.0"\ndescription = "Mine"\n[tool.jobshelf.shelf]\n{names}'
    )
    (tmp_path / "catalog").mkdir()
    return tmp_path


LEFT = b'''# /// script
# requires-python = ">=3.11"
# dependencies = []
#
# [tool.jobshelf]
# title = "My script"
# ///
"""My script.

Reads rows.
"""

import json


def process(row):
    # TODO(jobshelf): what happens to a row
    return {"characters": len(str(row))}
'''


def left_in(source: bytes, profile: Profile, name: str = "my-script.py") -> tuple[bool, list[tuple[str, str]]]:
    report = vet(source, Path(name), find_shelf().root, profile, select=("UVS603",))
    return report.passed, [(finding.severity.value, finding.found) for finding in report.findings]


@pytest.mark.parametrize("profile", list(Profile))
def test_all_that_is_left_of_the_template_is_one_finding(profile: Profile) -> None:
    found = (
        "the file name my-script.py (line 1), the title 'My script' (line 6), the docstring 'My script' (line 8), "
        "the function process as the template wrote it (line 16), TODO(jobshelf) (line 17)"
    )
    assert left_in(LEFT, profile) == (False, [("error", found)])


@pytest.mark.parametrize(
    ("profile", "passed"), [(Profile.DEFAULT, True), (Profile.STRICT, False), (Profile.NEW, False)]
)
def test_deleting_the_mark_alone_fails_where_warnings_do(profile: Profile, *, passed: bool) -> None:
    source = LEFT.replace(b"    # TODO(jobshelf): what happens to a row\n", b"").replace(b"My script", b"Rows as text")
    found = "the function process as the template wrote it (line 16)"
    assert left_in(source, profile, "rows.py") == (passed, [("warning", found)])


def test_a_suppression_keeps_one_of_several() -> None:
    source = LEFT.replace(b"def process(row):", b"def process(row):  # vet: ignore[UVS603] -- that is the work")
    (found,) = left_in(source, Profile.STRICT)[1]
    assert "process" not in found[1]
    assert "line 17" in found[1]
    report = vet(source, Path("my-script.py"), find_shelf().root, select=("UVS603", "UVS604"))
    assert [finding.code for finding in report.findings] == ["UVS603"]
