"""`jobshelf command` and `run`: what is printed, copied, and run here."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from support import TOKEN


def test_flags_are_in_every_form(jobshelf, hub_environment, published):
    words = ["command", "hello", "--flavor", "h200", "--with", "rich", "--", "--json"]
    done = jobshelf(*words, env=hub_environment, cwd=published.root)
    forms = dict(re.findall(r"# (\w+)\n(.*?)(?:\n\n(?=# )|\Z)", done.stdout, re.DOTALL))
    assert list(forms) == ["local", "jobs", "python", "mcp"]
    assert all("rich" in text and "--json" in text for text in forms.values())
    assert "note: mcp: the MCP tool (0.4) refuses the flavor h200: use another form" in done.stderr


def test_an_address_is_read_for_its_table(jobshelf, hub_environment, published):
    url = f"{hub_environment['HF_ENDPOINT']}/datasets/jobshelf/scripts/resolve/main/hello.py"
    done = jobshelf("command", url, "--form", "python", env=hub_environment)
    assert "flavor='cpu-basic', timeout='10m'" in done.stdout
    page = jobshelf("command", "https://huggingface.co/datasets/a/b/blob/main/x.py", env=hub_environment)
    raw = "Fix: use https://huggingface.co/datasets/a/b/resolve/main/x.py"
    assert (page.returncode, raw in page.stderr) == (2, True)


def test_the_commit_that_was_read_is_known_and_can_be_asked_for(jobshelf, hub_environment, published, client, hub):
    commit = client.repo_info("jobshelf/scripts", repo_type="dataset").sha
    where = f"{client.endpoint}/datasets/jobshelf/scripts/resolve"
    by_url = jobshelf("command", f"{where}/main/hello.py", "--form", "local", env=hub_environment)
    assert by_url.stdout == f"uv run {where}/main/hello.py\n"
    assert f"these very bytes stay at {where}/{commit}/hello.py (--pin)" in by_url.stderr
    by_name = jobshelf("command", "hello", "--pin", env=hub_environment, cwd=published.root)
    assert by_name.stdout.count(f"{where}/{commit}/hello.py") == 4 and "/main/" not in by_name.stdout
    assert (
        "hello"
        in subprocess.run(
            shlex.split(by_name.stdout.splitlines()[1]), env=hub_environment, capture_output=True, text=True
        ).stdout
    )
    local = jobshelf("command", "./catalog/hello.py", "--pin", env=hub_environment, cwd=published.root)
    assert (local.returncode, "has no address that stays for good" in local.stderr) == (2, True)
    assert jobshelf("command", "--image", "python:3.12", "--pin", env=hub_environment).returncode == 2


def test_a_docker_command(jobshelf, hub_environment):
    done = jobshelf("command", "--image", "python:3.12", "--", "python", "-V", env=hub_environment)
    assert "hf jobs run python:3.12 python -V" in done.stdout
    assert jobshelf("command", env=hub_environment).returncode == 2


def test_copy(jobshelf, environment, hello, published, tmp_path):
    program = tmp_path / "wl-copy"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/clipboard\n")
    program.chmod(0o755)
    env = environment | {
        "PATH": f"{tmp_path}:{environment['PATH']}",
        "HF_ENDPOINT": hello.url.partition("/datasets")[0],
    }
    done = jobshelf("command", "hello", "--copy", "--form", "mcp", env=env, cwd=published.root)
    assert (tmp_path / "clipboard").read_text() == done.stdout.rstrip("\n")
    assert done.stderr == "copied the form mcp (wl-copy)\n"
    nothing = jobshelf(
        "command", "hello", "--copy", env=environment | {"PATH": str(tmp_path / "none")}, cwd=published.root
    )
    assert (nothing.returncode, "copy the line above" in nothing.stderr) == (5, True)


def test_a_token_is_in_no_form(jobshelf, environment):
    done = jobshelf("command", "dataset-inspector", "--", "--token", TOKEN, env=environment)
    assert (done.returncode, TOKEN in done.stdout + done.stderr) == (2, False)


def test_run_starts_uv_here_with_the_tables_environment(jobshelf, hub_environment, script_of):
    body = "import os, sys; print(os.environ['WORD'], sys.argv[1:])"
    target = script_of(body, table='env = {WORD = "from the table"}')
    run = ["run", str(target.local)]
    assert jobshelf(*run, "--", "a", "--b", env=hub_environment).stdout == "from the table ['a', '--b']\n"
    assert jobshelf(*run, env=hub_environment | {"WORD": "mine"}).stdout == "mine []\n"
    assert jobshelf(*run, "--env", "WORD=asked", env=hub_environment | {"WORD": "mine"}).stdout == "asked []\n"


def test_run_returns_the_scripts_exit_code(jobshelf, hub_environment, script_of):
    assert jobshelf("run", str(script_of("raise SystemExit(4)").local), env=hub_environment).returncode == 4


@pytest.mark.parametrize("private", [False, True])
def test_run_a_url(jobshelf, hub_environment, client, private):
    client.create_repo("alice/shelf", repo_type="dataset", private=private)
    text = b"# /// script\n# dependencies = []\n# ///\nimport sys; print('ran', sys.argv[1:])\n"
    client.upload_file(path_or_fileobj=text, path_in_repo="x.py", repo_id="alice/shelf", repo_type="dataset")
    url = f"{client.endpoint}/datasets/alice/shelf/resolve/main/x.py"
    done = jobshelf("run", url, "--", "a", env=hub_environment)
    assert (done.returncode, done.stdout) == (0, "ran ['a']\n"), done.stderr
    piped = jobshelf("run", "-", "--", "b", env=hub_environment, input=text.decode())
    assert piped.stdout == "ran ['b']\n", piped.stderr
