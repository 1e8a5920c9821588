"""The skill: what an agent must be told is there, it follows from the index, and it is whole when its folder is copied."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest
import yaml

from docs.snippets import commands, is_shell, shell_lines, trouble
from jobshelf.emit import emit
from jobshelf.errors import EXIT_CODES
from jobshelf.guides import GUIDES
from jobshelf.index import Entry, Index, load_index
from jobshelf.shelf import find_shelf
from jobshelf.skill import ASK_FROM_HOURS, ASK_FROM_USD, skill_files, skill_folder
from support import ROOT

FOLDER = skill_folder(find_shelf(ROOT))


@pytest.fixture(scope="module")
def index() -> Index:
    return load_index(find_shelf(ROOT))


def test_the_front_matter_is_that_of_a_skill():
    """The rules of agentskills.io: the folder's name, 64 characters of a-z, 0-9 and dashes; 1024 of description."""
    text = (FOLDER / "SKILL.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["name"] == FOLDER.name and re.fullmatch(r"[a-z0-9-]{1,64}", head["name"])
    assert 100 < len(head["description"]) <= 1024
    assert len(text.splitlines()) < 500


def test_it_says_what_an_agent_must_know(index):
    text = (FOLDER / "SKILL.md").read_text(encoding="utf-8")
    for entry in index.entries:
        assert f"`{entry.id}`" in text and entry.summary in text
    for words in ("**id**", "**address**", "**expected time**", "**expected cost**", "**Trackio**", "Do not poll"):
        assert words in text
    assert f"over {ASK_FROM_HOURS} hour or {ASK_FROM_USD} dollars" in text and (ASK_FROM_HOURS, ASK_FROM_USD) == (1, 5)
    for form in ("hf jobs uv run", "hf_jobs", "run_uv_job"):
        assert form in text
    for code, (meaning, _) in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in text
    for check in ("READY", "timeout", "user/name", "as a secret", "--dry-run", "jobshelf vet URL"):
        assert check in text


def test_it_grows_with_the_shelf(index):
    data = index.entries[0].data
    new = Entry(data={**data, "id": "train-something", "summary": "Train something new"})
    files = skill_files(replace(index, entries=(*index.entries, new)))
    assert "| Train something new | `train-something` |" in files["jobshelf/SKILL.md"].decode()
    assert "## train-something\n" in files["jobshelf/references/scripts.md"].decode()
    gone = Entry(data={**data, "status": "disabled", "replaced_by": None})
    files = skill_files(replace(index, entries=(gone, *index.entries[1:])))
    assert f"`{gone.id}`" not in files["jobshelf/SKILL.md"].decode()


def test_every_script_has_its_commands_and_arguments(index):
    text = (FOLDER / "references" / "scripts.md").read_text(encoding="utf-8")
    for entry in index.entries:
        assert all(entry.commands[form]["text"] in text for form in ("jobs", "local", "mcp"))
        assert all(flag in text for one in entry.interface["arguments"] for flag in one.get("flags", ()))


def test_every_command_in_it_can_be_typed():
    for path in (FOLDER / "SKILL.md", FOLDER / "references" / "scripts.md"):
        for line, text in shell_lines(path):
            assert is_shell(text)
            assert [(line, text, why) for command in commands(text) if (why := trouble(command))] == []


def test_the_folder_is_whole_wherever_it_is_copied_to(tmp_path):
    """No link leads out of it, no mark of a table is left."""
    copy = shutil.copytree(FOLDER, tmp_path / "skills" / "jobshelf")
    for path in copy.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert "<!-- table" not in text and "<!-- end of table" not in text
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if not target.startswith(("https://", "#")):
                assert (path.parent / target.partition("#")[0]).is_file(), (path.name, target)


def test_it_is_published_with_the_shelf(index):
    files = emit(index)
    for path in FOLDER.rglob("*.md"):
        assert files[f"skills/jobshelf/{path.relative_to(FOLDER).as_posix()}"] == path.read_bytes()
    assert {f"skills/jobshelf/references/{name}.md" for name in GUIDES} < files.keys()
    assert "skills/jobshelf/SKILL.md" in files["llms.txt"].decode()
