"""Answers that nobody should give: each is refused with a reason, or stays data in files that are valid all the same."""

from __future__ import annotations

import ast
import string

import pytest
import yaml
from copier import run_copy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobshelf.script import parse_script
from templates.conftest import files_in

HOSTILE = {
    "double quotes": '"',
    "docstring": '"""\nimport os\nos.system("true")\n"""',
    "single quotes": "it's'''",
    "backslash": "a\\",
    "newline": "one\ntwo",
    "return": "one\r# ///",
    "header": "a\n# ///\nb",
    "jinja": "{{ 7 * 7 }}",
    "our jinja": "@{ 7 * 7 }@",
    "our block": "#% include 'copier.yml' %#",
    "path": "../../outside",
    "absolute": "/tmp/outside",
    "option": "--help",
    "shell": "$(touch outside); `touch outside`",
    "toml": 'a"\n[tool.uv]\nindex-url = "http://127.0.0.1"',
    "yaml": "a: [b, {c: d}] # e",
    "null": "a\0b",
    "bidi": "a\u202eb",
    "line separator": "a\u2028b",
    "surrogate pair": "😀",
    "letters": "Zählen für Ärger",
    "empty": "",
    "space": " ",
    "long": "a" * 10_000,
    "long words": "ab " * 4_000,
}
ASKED = ("name", "title", "kind", "persistence", "token", "flavor", "timeout", "trigger", "extras", "base", "layout")
COMPUTED = ("modules", "reserved", "facts", "dataset", "utility", "script", "test", "workflow", "example", "url")
TRACES = ("os.system", "touch outside", "index-url", "49")


@pytest.fixture(scope="module")
def attempt(template, tmp_path_factory):
    """`attempt({...})` is the folder made with these answers, None when they are refused (and then nothing is there)."""

    def make(answers):
        folder = tmp_path_factory.mktemp("hostile") / "deep" / "made"
        try:
            run_copy(str(template), folder, data=answers, defaults=True, quiet=True)
        except (ValueError, TypeError, yaml.YAMLError) as error:
            assert str(error)
            assert not folder.exists() or not any(folder.iterdir())
            folder = None
        return folder

    return make


def hold_up(folder, value):
    """Every file in `folder` is valid, and `value` stands in it as data only."""
    for path, text in files_in(folder).items():
        assert not any(trace in text for trace in TRACES if trace in value), path
        if path.endswith(".py"):
            ast.parse(text)
        if path.endswith(".yml"):
            assert isinstance(yaml.safe_load(text), dict), path
    scripts = list(folder.glob("*.py"))
    assert len(scripts) == 1
    script = parse_script(scripts[0].read_bytes(), str(scripts[0]))
    assert script.problems == ()
    assert sorted(script.header.table["tool"]) == ["hf-jobs", "jobshelf", "uv"]
    assert not (folder.parent.parent / "outside").exists() and not (folder / "outside").exists()
    return script


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("question", ASKED)
def test_one_hostile_answer_is_refused_or_stays_data(attempt, question, value):
    folder = attempt({"extras": ["test", "ci"], question: value})
    if folder is None:
        return
    script = hold_up(folder, value)
    assert question in {"title", "base", "extras"}, "only these have answers that are not words"
    if question == "title":
        assert script.header.tool("jobshelf")["title"] == value
        assert script.docstring.startswith(f"{value}.\n")


def test_most_of_it_is_refused(attempt):
    taken = [name for name, value in HOSTILE.items() if attempt({"title": value}) is not None]
    assert taken == ["letters"]
    assert [name for name, value in HOSTILE.items() if attempt({"name": value}) is not None] == []


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_every_answer_hostile_at_once(attempt, value):
    assert attempt(dict.fromkeys(ASKED, value)) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *(
            (name, "Python, Windows or pytest keeps")
            for name in ("class", "lambda", "con", "nul", "aux", "com1", "tests")
        ),
        *((name, "would hide the module") for name in ("site", "json", "tomllib", "torch", "numpy", "vllm")),
        ("huggingface-hub", "would hide the module huggingface_hub"),
        *(
            (name, "use lower-case words")
            for name in ("__init__", "__main__", "-", "a--b", "1st", "Class", "a.b", ".git")
        ),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_a_reason(template, tmp_path, name, why):
    with pytest.raises(ValueError, match=f"question 'name': .*{why}"):
        run_copy(str(template), tmp_path / "made", data={"name": name}, defaults=True, quiet=True)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("question", COMPUTED)
def test_what_is_computed_cannot_be_given(attempt, question):
    assert attempt({question: "user/rows"}) is None


@pytest.mark.parametrize(
    "answers",
    [
        {"name": "json"},
        {"name": "huggingface-hub"},
        {"name": "a" * 61},
        {"name": "my-script_2"},
        {"title": "a" * 81},
        {"kind": "inference", "flavor": "cpu-basic"},
        {"timeout": "0m"},
        {"timeout": "1 h"},
        {"base": "https://example.org/a/"},
        {"base": "ftp://example.org"},
        {"extras": ["lint"]},
    ],
    ids=str,
)
def test_what_is_refused_besides(attempt, answers):
    assert attempt(answers) is None


TITLES = st.text(alphabet=st.one_of(st.characters(), st.sampled_from(string.punctuation + " \n\t")), max_size=90)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(title=TITLES)
@example(title="Ab (c)")
@example(title="A+B & C; d: e, f. g'h/i-j")
def test_any_title_is_refused_or_stays_data(attempt, title):
    folder = attempt({"title": title, "kind": "utility", "extras": []})
    if folder is not None:
        assert hold_up(folder, title).header.tool("jobshelf")["title"] == title
