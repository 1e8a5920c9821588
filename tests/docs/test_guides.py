"""The guides: every command can be typed, every snippet runs, every table is derived, no old error comes back."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import huggingface_hub
import pytest
from jsonschema import Draft202012Validator

from docs.snippets import LANGUAGES, Snippet, commands, is_shell, shell_lines, snippets, trouble
from jobshelf.derive import check_derived, has_derived, write_derived
from jobshelf.errors import EXIT_CODES, InputError, JobshelfError
from jobshelf.guides import GUIDES, TABLES, with_tables
from jobshelf.hardware import price_table
from jobshelf.hub import Account, serve
from jobshelf.index import load_index
from jobshelf.publish import publish
from jobshelf.shelf import find_shelf
from row_formats import inspect_rows
from support import ROOT, TOKEN

DOCS = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [*DOCS, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "bench/README.md"))]
# of the tool hf_jobs (hf-mcp-server 0.4, packages/mcp/src/jobs/jobs-tool.ts)
OPERATIONS = {"run", "uv", "ps", "logs", "inspect", "cancel"} | {
    f"scheduled {verb}" for verb in ("run", "uv", "ps", "inspect", "delete", "suspend", "resume")
}
# What guides of others say, or said, and what is wrong with it.
OLD_ERRORS = {
    r"HF_TOKEN=\$|--env HF_TOKEN|-e HF_TOKEN": "a token in a plain variable",
    r"token\[:\d+\]|print\(.*token": "a token that is printed",
    r"trackio\.init\([^)]*run_name": "no argument of trackio.init",
    r"push_to_hub_(model_id|organization|token)=": "gone from transformers 5",
    r"hf_transfer|HF_HUB_ENABLE_HF_TRANSFER": "gone from huggingface_hub",
    r"(max_seq_length|warmup_ratio|evaluation_strategy)\s*=": "gone from TRL and transformers",
    r"huggingface-cli": "hf",
    r"--flavor (h100|v5e|tpu)": "no flavor of Jobs",
    r"PRO (plan|subscription)|[Pp]aid plan": "Jobs need credit, not a plan",
    r"ggerganov|pip install llama": "the old home of llama.cpp; nothing is installed by hand",
    r"(from trl import|import) PPO": "not in TRL any more",
    r"apt-get|sudo ": "scripts install nothing on the machine",
    r"upload_large_folder": "gone from huggingface_hub",
    r"a100-large.{0,20}40 ?GB": "it has 80",
}


def by_place(snippet: Snippet) -> str:
    return str(snippet)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_command_can_be_typed(path):
    for line, text in shell_lines(path):
        assert is_shell(text), f"{path.name}:{line}: {text}"
        for command in commands(text):
            assert trouble(command) is None, f"{path.name}:{line}: {text}\n{trouble(command)}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobshelf submit no-such-script -- a b", "no script is called 'no-such-script'"),
        ("jobshelf run dataset_inspector -- openai/gsm8k --no-such-option", "unrecognized arguments"),
        ("jobshelf sumbit finepdfs-stats", "did you mean submit?"),
        ("jobshelf submit finepdfs-stats --flavour t4-small", "did you mean --flavor"),
        ("jobshelf estimate --modell 8B", "--model"),
        ("hf jobs uv run --flavr t4-small x.py", "takes --flavr for the script"),
        ("hf jobs uv runn x.py", "No such command"),
        ("hf jobs logs --tail x ID", "not a valid integer"),
        ("uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/finepdfs-stats.py --limitt 3", "--limitt"),
        ("uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/gone.py", "no script is called"),
        ("uv run https://huggingface.co/datasets/jobshelf/scripts/blob/main/finepdfs-stats.py", "no address of a script"),
        ("uv run python bench/gone.py", "there is no bench/gone.py"),
        ("uvx jobshelf explain", "required: CODE"),
        ("rm -rf /", "no program that the texts may name"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_typed_is_found(text, said):
    (command,) = commands(text)
    assert said in (trouble(command) or "nothing")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_block_says_what_it_is(path):
    found = snippets(path)
    assert {one.language for one in found} <= LANGUAGES
    assert path.read_text(encoding="utf-8").count("\n```") == 2 * len(found)


@pytest.fixture(scope="module")
def you(tmp_path_factory):
    """A Hub on which the reader of the guides, `you`, is logged in and the shelf is published; its variables."""
    root = tmp_path_factory.mktemp("you")
    with serve(root / "hub", accounts=(Account(name="you", token=TOKEN, orgs=("jobshelf",)),)) as hub:
        publish(find_shelf(ROOT), huggingface_hub.HfApi(endpoint=hub.endpoint, token=TOKEN))
        yield {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}


# What needs more than the Hub's client runs elsewhere: datatrove's in tests/jobs/test_datatrove.py
RUNS = [one for path in DOCS for one in snippets(path, "python") if "datatrove" not in one.body]


@pytest.mark.parametrize("snippet", RUNS, ids=by_place)
def test_every_python_snippet_runs(snippet, you, environment, tmp_path):
    code = snippet.body.replace("https://huggingface.co", you["HF_ENDPOINT"])
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, env=environment | you, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_every_call_of_the_tool_is_one():
    schema = Draft202012Validator(json.loads((ROOT / "tests" / "hf_jobs_tool.schema.json").read_text()))
    calls = [one for path in DOCS for one in snippets(path, "json")]
    assert calls
    for one in calls:
        schema.validate(json.loads(one.body))


def test_the_table_of_forms_names_what_there_is():
    text = (ROOT / "docs" / "three_forms.md").read_text(encoding="utf-8").partition("## Everything else")[2]
    rows = [
        [cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in text.splitlines() if "| `hf" in line
    ]
    assert len(rows) > 10
    for _, command, operation, function in rows:
        assert trouble(next(iter(commands(command)))) is None, command
        assert operation in OPERATIONS | {""}, operation
        assert callable(getattr(huggingface_hub, function, None)), function


def test_the_columns_of_each_method_are_ready_for_it():
    """The inspector's own rules, on rows with the columns that the guide names."""
    values = {
        "messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}],
        "label": True,
    }
    text = (ROOT / "docs" / "training_methods.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- methods -->\n(.*?)<!-- end of methods -->", text, re.DOTALL)[1]
    seen = set()
    for line in table.splitlines()[2:]:
        method, _, columns, _ = (cell.strip() for cell in line.split("|")[1:-1])
        for way in columns.partition("(")[0].split(", or "):
            names = re.findall(r"`(\w+)`", way)
            rows = [{name: values.get(name, f"{name} {number}") for name in names} for number in range(8)]
            rows = [row | ({"label": bool(number % 2)} if "label" in names else {}) for number, row in enumerate(rows)]
            verdicts = {one.method: one.status for one in inspect_rows(rows)}
            assert verdicts[method] == "READY", (method, names, verdicts)
            seen.add(method)
    assert seen == {"SFT", "DPO", "Reward", "GRPO", "RLOO", "KTO"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_errors_of_old_guides_do_not_come_back(path):
    text = path.read_text(encoding="utf-8")
    found = [(match[0], why) for pattern, why in OLD_ERRORS.items() for match in re.finditer(pattern, text)]
    assert found == []


def test_every_guide_is_known_and_begins_with_its_title():
    assert {path.stem for path in DOCS} == {*GUIDES, "architecture", "commands", "publishing"}
    for path in DOCS:
        assert re.match(r"# \S", path.read_text(encoding="utf-8")), path.name
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in GUIDES if f"(docs/{name}.md)" not in readme] == []


def test_what_is_derived_is_fresh():
    shelf = find_shelf(ROOT)
    check_derived(shelf, load_index(shelf))


def test_every_table_is_used_and_says_something():
    used = re.findall(r"<!-- table: ([a-z-]+) -->\n\| .*\n\| ---.*\n\| ", "".join(path.read_text() for path in TEXTS))
    assert set(used) == set(TABLES)
    index = load_index(find_shelf(ROOT))
    assert all(f"| {code} |" in TABLES["exit-codes"](index) for code in EXIT_CODES)
    assert all(f"| `{entry.id}` |" in TABLES["scripts"](index) for entry in index.entries)
    assert all(f"| `{name}` |" in TABLES["flavors"](index) for name in price_table().flavors)


def test_a_stale_table_and_a_changed_skill_are_found_and_mended(make_shelf):
    shelf = make_shelf({"hello": "1"})
    index = load_index(shelf)
    assert not has_derived(shelf)
    check_derived(shelf, index)  # nothing is marked, no skill is kept: nothing to be stale
    readme = shelf.root / "README.md"
    readme.write_text("# A\n\n<!-- table: scripts -->\nold\n<!-- end of table -->\nend\n")
    skill = shelf.root / ".agents" / "skills" / "jobshelf"
    skill.mkdir(parents=True)
    (skill / "left-over.md").write_text("of an older tool")
    with pytest.raises(
        JobshelfError, match=r"\.agents/skills/jobshelf/SKILL\.md, .*left-over\.md, .*README\.md\. Fix: jobshelf index"
    ):
        check_derived(shelf, index)
    assert has_derived(shelf)
    assert readme in write_derived(shelf, index)
    check_derived(shelf, index)
    assert "| `hello` | Say hello on standard output |" in readme.read_text() and "old" not in readme.read_text()
    assert not (skill / "left-over.md").exists() and "`hello`" in (skill / "SKILL.md").read_text()
    (skill / "SKILL.md").write_text("mine")
    with pytest.raises(JobshelfError, match=r"SKILL\.md"):
        check_derived(shelf, index)


def test_a_mark_of_no_table_is_named():
    index = load_index(find_shelf(ROOT))
    with pytest.raises(InputError, match=r"x\.md marks a table 'flavours'\. Fix: name one of: .*flavors"):
        with_tables("<!-- table: flavours -->\n<!-- end of table -->\n", index, "x.md")
