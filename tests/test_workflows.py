"""The workflows of this repository: every command in them exists, and none has more rights than it needs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobshelf.cli import build_parser
from jobshelf.scaffold import init
from jobshelf.shelf import find_shelf
from support import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
# What a job of a workflow may be given, and nothing else.
RIGHTS = {
    "ci.yml": [{"contents": "read"}],
    "publish.yml": [{"contents": "read"}, {"contents": "read", "id-token": "write"}],
    "weekly.yml": [{"contents": "read"}, {"contents": "read", "issues": "write"}, {"issues": "write"}],
}


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return load(path)["jobs"]


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


def commands(path: Path) -> list[list[str]]:
    """Every `jobshelf` command line in a workflow, as words."""
    lines = [line.strip() for step in steps(path) for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    found = [re.search(r"(?:^|[\s(])jobshelf\s+([a-z].*)$", line) for line in lines if not line.startswith("#")]
    return [shlex.split(re.split(r"[|>;&)]", match[1])[0]) for match in found if match]


def test_the_three_that_the_project_needs_are_there():
    assert {"ci.yml", "publish.yml"} <= {path.name for path in WORKFLOWS}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
class TestEvery:
    def test_its_commands_parse(self, path: Path):
        for command in commands(path):
            words = [re.sub(r"\$\{?\w+\}?", "word", word) for word in command]
            ours = words[: words.index("--")] if "--" in words else words
            assert build_parser().parse_args(ours).verb == words[0]

    def test_files_that_it_runs_are_there(self, path: Path):
        for step in steps(path):
            for file in re.findall(r"(?:bash|python) ([\w./-]+)", step.get("run", "")):
                assert (ROOT / file).is_file(), file

    def test_it_has_no_more_rights_than_it_needs(self, path: Path):
        whole = load(path)["permissions"]
        assert whole in ({}, {"contents": "read"})
        for job in jobs(path).values():
            assert job.get("permissions", whole) in RIGHTS[path.name]
            assert job["timeout-minutes"] <= 360

    def test_it_keeps_no_secret_and_leaves_no_credentials_for_what_it_runs(self, path: Path):
        text = path.read_text()
        assert "secrets." not in text and "HF_TOKEN" not in text
        checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
        assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)

    def test_no_text_of_an_event_becomes_part_of_a_program(self, path: Path):
        for step in steps(path):
            assert "${{" not in step.get("run", "")

    def test_actions_are_named_with_their_version(self, path: Path):
        for step in steps(path):
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+|\./", step.get("uses", "./"))


def test_ci_runs_what_everybody_runs():
    assert [step["run"] for step in steps(FOLDER / "ci.yml") if "run" in step] == ["bash .ci/run"]


def test_publish_checks_before_it_may_identify_itself():
    path = FOLDER / "publish.yml"
    assert load(path)[True] == {"push": {"tags": ["v*"]}}
    check, publish = jobs(path)["check"], jobs(path)["publish"]
    assert publish["needs"] == "check" and "id-token" not in check["permissions"]
    assert [words[:2] for words in commands(path)] == [
        ["vet", "--strict"],
        ["index", "--check"],
        ["publish", "--release"],
        ["verify"],
    ]
    keyless = [step["env"]["HF_OIDC_RESOURCE"] for step in publish["steps"] if "env" in step]
    assert keyless == [f"datasets/{find_shelf(ROOT).dataset}"]


@pytest.fixture(scope="module")
def of_a_shelf(tmp_path_factory) -> dict[str, Path]:
    """The workflows of a shelf of one's own, by name."""
    shelf = init(tmp_path_factory.mktemp("shelf"), {"name": "mine", "repo": "me/scripts", "space": "me/page"}).shelf
    return {path.name: path for path in (shelf.root / ".github" / "workflows").glob("*.yml")}


class TestOfAShelf:
    def test_their_commands_parse(self, of_a_shelf):
        for path in of_a_shelf.values():
            lines = [step["run"] for step in steps(path) if "jobshelf@" in step.get("run", "")]
            for line in lines:
                words = shlex.split(line)
                assert words[0] == "uvx" and words[1] == f"jobshelf@{find_shelf(ROOT).version}"
                assert build_parser().parse_args(words[2:]).verb == words[2]
            assert len(lines) >= 2

    def test_they_keep_no_secret_and_have_no_more_rights_than_they_need(self, of_a_shelf):
        assert set(of_a_shelf) == {"vet.yml", "publish.yml"}
        assert load(of_a_shelf["vet.yml"])["permissions"] == {"contents": "read"}
        assert load(of_a_shelf["vet.yml"])[True] == {"push": {"branches": ["main"]}, "pull_request": None}
        for path in of_a_shelf.values():
            assert "secrets." not in path.read_text() and "HF_TOKEN" not in path.read_text()
            checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
            assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)
            assert not [step for step in steps(path) if "${{" in step.get("run", "")]

    def test_a_tag_publishes_without_a_token(self, of_a_shelf):
        path = of_a_shelf["publish.yml"]
        assert load(path)[True] == {"push": {"tags": ["v*"]}} and load(path)["permissions"] == {}
        check, publish = jobs(path)["check"], jobs(path)["publish"]
        assert publish["needs"] == "check" and check["permissions"] == {"contents": "read"}
        assert publish["permissions"] == {"contents": "read", "id-token": "write"}
        (keyless,) = [step for step in publish["steps"] if "env" in step]
        assert keyless["run"].endswith("publish --release --space")
        assert keyless["env"] == {"HF_OIDC_RESOURCE": "datasets/me/scripts"}

    def test_they_are_those_of_this_repository(self, of_a_shelf):
        """The same steps, with the release of the tool where this repository has its source."""

        def plain(path: Path) -> list[str]:
            runs = [step["run"] for step in steps(path) if "run" in step]
            return [re.sub(r"^(uvx jobshelf@\S+|uv run jobshelf) ", "jobshelf ", line) for line in runs]

        assert plain(of_a_shelf["publish.yml"]) == plain(FOLDER / "publish.yml")
