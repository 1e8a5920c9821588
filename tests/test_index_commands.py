"""Every command that the index offers for every script is taken by the program that it is for.

The scripts are hollow here (see the fixture), the commands are the same. What whole scripts do is shown in `test_by_url`.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
from huggingface_hub import HfApi
from jsonschema import Draft202012Validator

from jobshelf.forms import ENDPOINT
from jobshelf.hub import Account, serve
from jobshelf.index import load_index
from jobshelf.publish import publish
from jobshelf.shelf import find_shelf
from support import BIN, ROOT, TOKEN

RELEASE = "9.9.9"
NAMES = [entry.id for entry in load_index(find_shelf(ROOT)).entries]
TOOL = Draft202012Validator(json.loads((ROOT / "tests" / "hf_jobs_tool.schema.json").read_text()))


@pytest.fixture(scope="module")
def published(tmp_path_factory, hollow_shelf):
    """(endpoint, entries by id): the shelf on an embedded Hub, hollow, with a tag."""
    root = tmp_path_factory.mktemp("commands")
    whole = {entry.id: entry for entry in load_index(find_shelf(ROOT)).entries}
    entries = {entry.id: entry.pinned(RELEASE) for entry in load_index(hollow_shelf).entries}
    assert all(entry.dependencies == () for entry in entries.values())
    assert {name: entry.pinned(RELEASE).commands for name, entry in whole.items()} == {
        name: entry.commands for name, entry in entries.items()
    }
    with serve(root / "hub", accounts=(Account(name="alice", token=TOKEN, orgs=("jobshelf",)),)) as hub:
        client = HfApi(endpoint=hub.endpoint, token=TOKEN)
        publish(hollow_shelf, client)
        client.create_tag("jobshelf/scripts", tag=f"v{RELEASE}", repo_type="dataset")
        yield hub.endpoint, entries


@pytest.fixture
def logged_in(environment, published):
    secrets = {name for entry in published[1].values() for name in entry.data["needs"]["secrets"]}
    return environment | dict.fromkeys(secrets, "a-secret") | {"HF_ENDPOINT": published[0], "HF_TOKEN": TOKEN}


def sets(entry):
    """The commands of a script, those of main and those of the tag."""
    return [entry.commands, entry.commands["pinned"]]


def run(argv, env):
    return subprocess.run([str(word) for word in argv], env=env, capture_output=True, text=True, timeout=120)


def here(words, endpoint):
    return [word.replace(ENDPOINT, endpoint) for word in words]


@pytest.mark.parametrize("name", NAMES)
def test_uv_runs_the_script_from_its_address(published, logged_in, name):
    endpoint, entries = published
    for commands in sets(entries[name]):
        shown = run(here(commands["help"]["argv"], endpoint), logged_in)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith("usage: ")


@pytest.mark.parametrize("name", NAMES)
def test_the_script_takes_the_arguments_of_its_own_example(published, logged_in, name, tmp_path):
    """It may end early for want of its packages or its input, but not over its command line."""
    endpoint, entries = published
    line = entries[name].commands["local"]
    done = subprocess.run(
        line["text"].replace(ENDPOINT, endpoint),
        shell=True,
        env=logged_in,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 2, done.stderr
    assert "usage: " not in done.stdout + done.stderr
    assert shlex.split(line["text"]) == line["argv"]


@pytest.mark.parametrize("name", NAMES)
def test_hf_jobs_takes_the_command(published, logged_in, name):
    endpoint, entries = published
    entry = entries[name]
    for commands in sets(entry):
        argv = here(commands["jobs"]["argv"], endpoint)
        assert shlex.split(commands["jobs"]["text"].replace(ENDPOINT, endpoint)) == argv
        argv.insert(argv.index("run") + 1, "--dry-run")
        done = run([BIN / argv[0], *argv[1:]], logged_in)
        assert done.returncode == 0, done.stdout + done.stderr
        said = dict(re.findall(r"^  (\w+) +(.*)$", done.stdout, re.MULTILINE))
        url = here([commands["help"]["argv"][2]], endpoint)[0]
        assert (said["script"], said.get("args", "")) == (url, shlex.join(entry.arguments))
        assert said.get("flavor", "cpu-basic").split()[0] == entry.hardware["flavor"]
        assert said.get("timeout", "30m").split()[0] == entry.hardware["timeout"]
        assert {word for word in done.stdout.split() if word.endswith("=***")} >= {
            f"{secret}=***" for secret in entry.data["needs"]["secrets"]
        }


@pytest.mark.parametrize("name", NAMES)
def test_the_python_call_starts_the_job(published, logged_in, name):
    endpoint, entries = published
    entry, client = entries[name], HfApi(endpoint=endpoint, token=TOKEN)
    for commands in sets(entry):
        before = {job.id for job in client.list_jobs(namespace="alice", token=TOKEN)}
        done = run(
            [sys.executable, "-W", "ignore", "-c", commands["python"]["text"].replace(ENDPOINT, endpoint)], logged_in
        )
        assert done.returncode == 0, done.stderr
        (job,) = [job for job in client.list_jobs(namespace="alice", token=TOKEN) if job.id not in before]
        url = here([commands["help"]["argv"][2]], endpoint)[0]
        assert job.command[-1 - len(entry.arguments) :] == [url, *entry.arguments]
        assert job.flavor == entry.hardware["flavor"]
        client.cancel_job(job_id=job.id, namespace="alice")


@pytest.mark.parametrize("name", NAMES)
def test_the_mcp_call_is_one_of_the_published_tool(published, name):
    for commands in sets(published[1][name]):
        call = json.loads(commands["mcp"]["text"])
        assert call == commands["mcp"]["call"]
        assert [error.message for error in TOOL.iter_errors(call)] == []
        assert commands["help"]["argv"][2] in json.dumps(call)


def test_a_call_that_the_tool_does_not_know_is_refused():
    good = {"operation": "uv", "args": {"script": "x"}}
    assert TOOL.is_valid(good)
    for bad in ({"image": "x"}, {"dependencies": []}, {"flavor": "h200"}, {"timeout": 60}, {"secrets": ["HF_TOKEN"]}):
        assert not TOOL.is_valid({"operation": "uv", "args": {"script": "x", **bad}})
