"""The command line as a person meets it: exit codes, one-line errors, nothing on the wrong stream."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobshelf import scaffold
from jobshelf.cli import check, make
from jobshelf.vet import report
from support import READ_TOKEN, ROOT, TOKEN

ONE_LINE = re.compile(r"jobshelf: [^\n]+\. Fix: [^\n]+\n")


def fails(done, code: int) -> str:
    """Assert a one-line error with a fix, nothing on stdout, this exit code; return the line."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert ONE_LINE.fullmatch(done.stderr), done.stderr
    return done.stderr


def test_list_shows_every_script_of_the_shelf(jobshelf):
    lines = jobshelf("list").stdout.splitlines()
    scripts = sorted((ROOT / "catalog").glob("*.py"))
    assert [line.split()[0] for line in lines] == sorted(path.stem.replace("_", "-") for path in scripts)


def test_show_says_what_it_needs_and_how_it_is_started(jobshelf):
    text = jobshelf("show", "Finepdfs_Stats.py").stdout
    for part in (
        "token    write",
        "machine ",
        "sha256 ",
        "hf jobs uv run --secrets HF_TOKEN https://",
        "uv run https://",
    ):
        assert part in text


def test_search_finds_by_words_and_says_when_nothing_does(jobshelf):
    assert jobshelf("search", "parquet", "STATS").stdout.split()[0] == "finepdfs-stats"
    nothing = jobshelf("search", "zeppelin")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "no script matches all of: zeppelin" in nothing.stderr


def test_an_unknown_script_gets_a_suggestion(jobshelf):
    assert "did you mean finepdfs-stats?" in fails(jobshelf("show", "finepdf-stats"), 2)


@pytest.mark.parametrize(
    "words",
    [["shwo"], [], ["list", "--all"], ["hub", "--root", "x", "--port", "many"], ["list", "--", "--extra"]],
    ids=" ".join,
)
def test_usage_errors_are_one_line(jobshelf, words):
    assert fails(jobshelf(*words), 2).rstrip().endswith("--help")


def test_the_formats_offered_are_those_that_can_be_printed():
    assert check.FORMATS == report.FORMATS


def test_the_questions_are_those_of_the_templates():
    assert tuple(make.QUESTIONS) == tuple(scaffold.QUESTIONS)


def test_new_makes_a_script_and_refuses_a_bad_answer(jobshelf, tmp_path):
    done = jobshelf("new", "--name", "count-rows", "--kind", "utility", "--persistence", "none", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "count-rows.py"), done.stderr
    assert (tmp_path / "count-rows.py").read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n")
    fails(jobshelf("new", "--name", "Count Rows", cwd=tmp_path), 2)
    fails(jobshelf("new", "--name", "count-rows", cwd=tmp_path), 2)


def test_blocks_says_what_each_promises(jobshelf):
    lines = jobshelf("blocks").stdout.splitlines()
    assert len(lines) >= len(list((ROOT / "templates/blocks").glob("*.py")))
    told = dict(line.split(None, 1) for line in lines)
    assert told["require_write"].startswith("Stop with 3 unless the token may write")


def test_blocks_write_refreshes_the_copies_of_a_shelf_with_sources(jobshelf, tmp_path):
    """A shelf without sources of its own has functions of its own."""
    shelf = tmp_path / "shelf"
    assert jobshelf("init", str(shelf), "--repo", "me/scripts", "--defaults").returncode == 0
    script = shelf / "catalog" / "mine.py"
    script.write_text("def stop(code):\n    raise SystemExit(code)\n\n\nprint(stop)\n")
    fails(jobshelf("blocks", "--write", cwd=shelf), 2)
    (shelf / "templates" / "blocks").mkdir(parents=True)
    (shelf / "templates" / "blocks" / "stop.py").write_text('"""Ends."""\n\n\ndef stop(code):\n    exit(code)\n')
    assert jobshelf("blocks", "--write", cwd=shelf).stdout == "mine.py\n"
    assert script.read_text() == "def stop(code):\n    exit(code)\n\n\nprint(stop)\n"
    assert jobshelf("blocks", "--write", cwd=shelf).stdout == "every copy is up to date\n"


def test_vet_reports_and_fixes(jobshelf, tmp_path):
    path = tmp_path / "x.py"
    path.write_text('#/// script\n# dependancies = []\n# ///\n"""Do it"""\n')
    found = jobshelf("vet", "x.py", "--no-stub", "--select", "UVS1", cwd=tmp_path)
    assert found.returncode == 1
    assert re.match(r"x.py:1:1: error: UVS101 ", found.stdout)
    listed = json.loads(jobshelf("vet", "--no-stub", "--output-format", "json", cwd=tmp_path).stdout)
    assert listed["version"] == 1
    assert {"code", "name", "severity", "path", "line", "column", "end_line", "end_column", "message", "fix"} == set(
        listed["findings"][0]
    )
    shown = jobshelf("vet", "x.py", "--no-stub", "--diff", cwd=tmp_path)
    assert "+# /// script" in shown.stdout
    assert path.read_text().startswith("#/// script")
    fixed = jobshelf("vet", "x.py", "--no-stub", "--fix", "--select", "UVS101,UVS104", cwd=tmp_path)
    assert (fixed.returncode, fixed.stderr) == (0, "fixed x.py: UVS101, UVS104\n")
    assert path.read_text().startswith("# /// script\n# dependencies = []\n")


def test_a_diff_is_printed_or_said_why_there_is_none(jobshelf, tmp_path):
    path = tmp_path / "x.py"
    path.write_text("#/// script\n# dependencies = []\n# ///\n")
    shown = jobshelf("vet", "x.py", "--no-stub", "--fix", "--diff", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert shown.stdout.startswith("--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n-#/// script\n+# /// script\n")
    path.write_text("import undeclared\n")
    none = jobshelf("vet", "x.py", "--no-stub", "--fix", "--diff", cwd=tmp_path)
    assert (none.returncode, none.stdout) == (1, "")
    assert none.stderr.startswith("no fixes: what was found has to be corrected by hand\nx.py:1:1: error: UVS101 ")
    assert path.read_text() == "import undeclared\n"


def test_a_file_without_a_header_is_told_what_writes_one(jobshelf, tmp_path):
    (tmp_path / "my script.py").write_text("import os\nimport yaml\nimport requests\n\nprint(os, yaml, requests)\n")
    told = jobshelf("vet", "my script.py", "--no-stub", "--fix", cwd=tmp_path)
    assert told.returncode == 1
    assert "    fix: uv add --script 'my script.py' pyyaml requests\n" in told.stdout
    (tmp_path / "alone.py").write_text("print(1)\n")
    assert "    fix: uv init --script alone.py\n" in jobshelf("vet", "alone.py", "--no-stub", cwd=tmp_path).stdout


def test_the_catalogue_is_clean_under_strict(jobshelf):
    done = jobshelf("vet", "--strict", "catalog")
    count = len(list((ROOT / "catalog").glob("*.py")))
    assert (done.returncode, done.stdout) == (0, f"{count} scripts: nothing found.\n")


def test_explain_and_rules(jobshelf):
    assert jobshelf("explain", "UVS202").stdout.startswith("# ")
    codes = [rule["code"] for rule in json.loads(jobshelf("rules", "--json").stdout)]
    assert codes == sorted(codes) == [line.split()[0] for line in jobshelf("rules").stdout.splitlines()]
    fails(jobshelf("explain", "UVS999"), 2)
    fails(jobshelf("vet", "nowhere"), 2)
    fails(jobshelf("vet", "--unsafe-fixes", "catalog"), 2)


def test_command_prints_four_forms_with_the_arguments_given(jobshelf):
    text = jobshelf("command", "dataset-inspector", "--", "me/data", "--split", "it's").stdout
    assert re.findall(r"^# (\w+)$", text, re.MULTILINE) == ["local", "jobs", "python", "mcp"]
    local = jobshelf("command", "dataset-inspector", "--form", "local", "--", "me/data", "--split", "it's").stdout
    url = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/dataset_inspector.py"
    assert local == f"uv run {url} me/data --split 'it'\"'\"'s'\n"


def test_the_endpoint_of_the_environment_is_the_one_in_the_urls(jobshelf, environment):
    env = environment | {"HF_ENDPOINT": "http://127.0.0.1:1/"}
    text = jobshelf("command", "dataset-inspector", "--form", "local", env=env).stdout
    assert text.startswith("uv run http://127.0.0.1:1/datasets/jobshelf/scripts/resolve/main/")


def test_a_malformed_header_is_named_by_file_and_line(jobshelf, make_shelf):
    shelf = make_shelf({"a": "1"})
    path = shelf.catalog / "a.py"
    path.write_text(path.read_text().replace("# dependencies = []", "# dependencies = [1,"))
    line = fails(jobshelf("index", cwd=shelf.root), 4)
    assert re.match(r"jobshelf: catalog/a.py:\d+: found a header that is not TOML", line)


def test_index_rebuilds_and_checks(jobshelf, make_shelf):
    shelf = make_shelf({"a": "1"})
    make_shelf.put(shelf, "a", "2")
    fails(jobshelf("index", "--check", cwd=shelf.root), 1)
    assert jobshelf("index", cwd=shelf.root).stdout == "wrote index.json: 1 scripts\n"
    assert jobshelf("index", "--check", cwd=shelf.root).returncode == 0


def test_publish_says_what_it_did_and_what_it_would_do(jobshelf, make_shelf, hub, hub_environment):
    shelf = make_shelf({"a": "1"})
    plan = jobshelf("publish", "--dry-run", env=hub_environment, cwd=shelf.root)
    planned = [line.split()[:2] for line in plan.stdout.splitlines()]
    assert {"README.md", "SHA256SUMS", "a.py", "index.json"} < {path for _, path in planned}
    assert {verb for verb, _ in planned} == {"add"}
    done = jobshelf("publish", "--release", env=hub_environment, cwd=shelf.root)
    assert re.fullmatch(
        rf"published {len(planned)} files to \S+/datasets/jobshelf/scripts at [0-9a-f]{{12}}, tagged v0.1.0\n",
        done.stdout,
    )
    again = jobshelf("publish", env=hub_environment, cwd=shelf.root)
    assert again.stdout.startswith("unchanged: ")
    assert TOKEN not in plan.stdout + done.stdout + again.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"HF_TOKEN": ""}, 3, "no Hub token found"),
        ({"HF_TOKEN": "hf_nobody"}, 3, "does not accept the token"),
        ({"HF_TOKEN": READ_TOKEN}, 3, "the token of 'bob' is read-only"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, 5, "the Hub at http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_publish_without_what_it_needs(jobshelf, make_shelf, hub_environment, changes, code, said):
    shelf = make_shelf({"a": "1"})
    line = fails(jobshelf("publish", env=hub_environment | changes, cwd=shelf.root), code)
    assert said in line
    assert READ_TOKEN not in line and "hf_nobody" not in line


def test_a_port_in_use_is_said(jobshelf, hub, tmp_path):
    port = hub.endpoint.rpartition(":")[2]
    line = fails(jobshelf("hub", "--root", str(tmp_path / "other"), "--port", port), 5)
    assert port in line


def test_what_the_disk_refuses_is_one_line(jobshelf, make_shelf):
    shelf = make_shelf({"a": "1"})
    shelf.index_file.unlink()
    shelf.index_file.mkdir()
    assert "Is a directory" in fails(jobshelf("index", cwd=shelf.root), 5)


def test_a_repository_that_is_no_name_and_a_file_that_is_not_there(jobshelf):
    assert "'bad' is not a repository id (owner/name)" in fails(jobshelf("publish", "--repo", "bad"), 2)
    assert "nope.py cannot be read: No such file" in fails(jobshelf("run", "./nope.py"), 4)


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m jobshelf command dataset-inspector | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "# local\n", "")


def test_the_tool_works_without_a_home_and_from_any_folder(jobshelf, environment, tmp_path: Path):
    env = {key: environment[key] for key in ("PATH",)} | {"LC_ALL": "C"}
    done = jobshelf("show", "dataset-inspector", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert os.fspath(ROOT) not in done.stdout


def test_the_questions_about_a_shelf_are_those_of_the_templates():
    assert tuple(make.SHELF_QUESTIONS) == tuple(scaffold.SHELF_QUESTIONS)


def test_new_puts_a_script_on_the_shelf_here_unless_it_is_told_where(jobshelf, make_shelf, tmp_path):
    shelf = make_shelf({})
    inside = jobshelf("new", "--kind", "utility", cwd=shelf.catalog)
    assert inside.returncode == 0 and "catalog/my-script.py" in inside.stdout.split(), inside.stderr
    outside = jobshelf("new", "drafts", "--kind", "utility", cwd=shelf.root)
    assert outside.returncode == 0 and (shelf.root / "drafts" / "my-script.py").is_file(), outside.stderr
    assert "give one of them" in fails(jobshelf("new", "drafts", "--catalog", cwd=shelf.root), 2)
