"""What holds for the templates themselves: their form, their questions, and that they agree with the rest of the house."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import jinja2
import pytest
import yaml
from copier import run_copy

from jobshelf.scaffold import QUESTIONS, SHELF_QUESTIONS
from jobshelf.script import parse_script
from jobshelf.vet.rules import catalogue
from support import BIN, ROOT
from templates.combinations import KINDS
from templates.conftest import files_in

TEMPLATES = ROOT / "templates"
ASKED = ["kind", "name", "title", "persistence", "token", "flavor", "timeout", "trigger", "extras"]
OF_A_SHELF = ["repo", "github", "space", "description"]


def settings() -> dict:
    return next(yaml.safe_load_all(text_of("copier.yml").replace("!include ", "")))


def questions() -> dict[str, dict]:
    """Every question in the order of copier.yml."""
    included = re.findall(r"^!include (\S+)$", text_of("copier.yml"), re.MULTILINE)
    return {name: question for file in included for name, question in yaml.safe_load(text_of(file)).items()}


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def pattern_of(question: str) -> str:
    """The regular expression in the validator, as Jinja hands it over."""
    found = re.search(r"regex_search\('\\\\A(.*?)\\\\Z'\)", questions()[question]["validator"])
    return found[1].replace("\\\\", "\\")


def test_nothing_needs_trust():
    given = settings()
    assert not {"_tasks", "_migrations", "_jinja_extensions", "_secret_questions"} & given.keys()
    assert given["_min_copier_version"] == "9.19.0"
    assert given["_answers_file"].endswith("else '.copier/' ~ name ~ '.yml' }@")
    assert given["_subdirectory"] == "templates/@{ kind }@"


def test_every_question_file_is_included():
    files = sorted(path.name for path in (TEMPLATES / "questions").glob("*"))
    assert sorted(re.findall(r"^!include templates/questions/(\S+)$", text_of("copier.yml"), re.MULTILINE)) == files
    assert {f"{kind}.yml" for kind in KINDS} <= set(files)


def test_nine_questions_each_with_a_default_and_a_help():
    asked = {
        name: one for name, one in questions().items() if one.get("when") is not False and one.get("ask") is not False
    }
    assert [name for name in asked if name not in OF_A_SHELF] == ASKED
    of_a_script = {"title", "persistence", "token", "flavor", "timeout", "trigger", "extras"}
    assert {name for name in asked if asked[name].get("when") == "@{ kind != 'shelf' }@"} == of_a_script
    assert [name for name in asked if asked[name].get("when") == "@{ kind == 'shelf' }@"] == OF_A_SHELF
    assert set(SHELF_QUESTIONS) == {"name", *OF_A_SHELF}
    assert all("default" in one and one["help"] for one in asked.values())


def test_the_flags_of_the_tool_are_the_questions():
    assert list(QUESTIONS) == [*ASKED, "base"]
    for name, choices in QUESTIONS.items():
        there = questions()[name].get("choices", {})
        values = there.values() if isinstance(there, dict) else there
        assert sorted(choices) == sorted(set(values) - {"shelf"}), name


def test_the_forms_are_those_of_vet():
    assert pattern_of("name") == f"({catalogue._NAME.pattern})"
    assert pattern_of("timeout").replace("[0-9]", r"\d") == catalogue._TIMEOUT.pattern
    for name, key in (("persistence", "persists"), ("token", "token")):
        _, is_known = catalogue._TABLE[key]
        assert all(is_known(choice) for choice in QUESTIONS[name])


@pytest.mark.parametrize(
    ("kind", "placeholder"),
    list(zip(KINDS, ["process", "conversation", "prepare", "make", "look_into"], strict=True)),
)
def test_a_script_reads_from_the_authors_function_over_main_to_the_shared_functions(render, kind, placeholder):
    tree = ast.parse((render(kind=kind) / "my-script.py").read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert names[:2] == [placeholder, "main"]
    shared = {path.stem for path in (TEMPLATES / "blocks").glob("*.py")}
    (first, *others) = (number for number, name in enumerate(names) if name in shared)
    assert len(others) >= 2 and names[-1] == "stop"
    assert not shared & set(names[:first])


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_has_one_placeholder(kind):
    texts = [text for path, text in files_in(TEMPLATES / kind).items() if path == "@{ script }@.jinja"]
    assert [text.count("TODO(jobshelf)") for text in texts] == [1]


def test_no_block_holds_a_delimiter():
    # Templates include the very sources; what looks like Jinja in one would be run.
    envops = settings()["_envops"]
    marks = [value for name, value in envops.items() if name.endswith("_string")]
    assert len(marks) == 6
    for path in sorted((TEMPLATES / "blocks").glob("*.py")):
        assert not [mark for mark in marks if mark in path.read_text(encoding="utf-8")], path.name


def test_an_unknown_variable_is_an_error(template, tmp_path):
    script = template / "templates" / "utility" / "@{ script }@.jinja"
    text = script.read_text(encoding="utf-8")
    try:
        script.write_text(text + "# @{ no_such_answer }@\n", encoding="utf-8")
        with pytest.raises(jinja2.UndefinedError, match="no_such_answer"):
            run_copy(str(template), tmp_path / "made", data={"kind": "utility"}, defaults=True, quiet=True)
    finally:
        script.write_text(text, encoding="utf-8")


def test_the_versions_are_those_of_the_shelf(render):
    project = tomllib.loads(text_of("pyproject.toml"))
    header = parse_script((render(kind="dataset") / "my-script.py").read_bytes(), "my-script.py").header
    assert header.tool("uv")["exclude-newer"] == project["tool"]["uv"]["exclude-newer"]
    pins = dict(
        re.findall(r'^    "([a-z0-9-]+)": "(>=[^"]+)",$', text_of("templates/shared/facts.jinja"), re.MULTILINE)
    )
    assert {"datasets", "vllm", "trl"} <= pins.keys()
    for path in (ROOT / "catalog").glob("*.py"):
        for requirement in parse_script(path.read_bytes(), str(path)).header.dependencies:
            needed = requirement.partition(";")[0]  # whatever platform it is for
            name = re.match(r"[a-z0-9-]+", needed)[0]
            assert needed == f"{name}{pins.get(name, needed.removeprefix(name))}", path.name


@pytest.mark.parametrize(
    "kind",
    ["utility", pytest.param("dataset", marks=[pytest.mark.heavy, pytest.mark.data, pytest.mark.timeout(600)])],
)
def test_the_test_that_comes_along_fails_until_the_script_is_written(render, kind, environment):
    folder = render(kind=kind, extras=["test"], name="read-rows")

    def outcome() -> str:
        command = [BIN / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout

    assert re.search(r"\b1 failed, 3 passed\b", outcome())
    script = folder / "read-rows.py"
    lines = script.read_text(encoding="utf-8").splitlines(keepends=True)
    (mark,) = (number for number, line in enumerate(lines) if "TODO(jobshelf)" in line)
    lines[mark] = "    row = dict(row)\n" if kind == "dataset" else "    rows = list(rows)\n"
    script.write_text("".join(lines), encoding="utf-8")
    assert re.search(r"\b4 passed\b", outcome())


def test_the_workflow_runs_what_is_there(render):
    workflow = yaml.safe_load((render(extras=["ci"]) / ".github/workflows/my-script.yml").read_text())
    commands = [step["run"] for step in workflow["jobs"]["vet"]["steps"] if "run" in step]
    assert commands[-1] == "uvx jobshelf vet --strict my-script.py"
    both = yaml.safe_load((render("both", extras=["test", "ci"]) / ".github/workflows/my-script.yml").read_text())
    assert both["jobs"]["vet"]["steps"][-1]["run"].endswith("pytest tests/test_my_script.py")


def test_the_workflows_of_a_shelf_name_the_release():
    assert questions()["release"]["default"] == tomllib.loads(text_of("pyproject.toml"))["project"]["version"]


def test_the_shared_parts_are_all_used():
    texts = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.jinja"))
    for path in (TEMPLATES / "shared").glob("*"):
        assert f'"templates/shared/{path.name}"' in texts, path.name


def test_file_names_are_those_that_every_checkout_can_hold():
    for path in TEMPLATES.rglob("*"):
        assert not re.search(r'[<>:"|?*\\]', path.name), path
        assert not Path(path).is_symlink()
