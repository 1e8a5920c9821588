"""A shelf that strangers cannot see: the plain commands cannot start its scripts, the tool can."""

from __future__ import annotations

import subprocess

import pytest

from jobshelf.forms import script_url
from jobshelf.publish import publish
from support import BIN, TOKEN

REPO = "jobshelf/scripts"


@pytest.fixture
def shelf(make_shelf, client):
    shelf = make_shelf({"hello": "1"})
    publish(shelf, client, private=True)
    return shelf


def test_submit_sends_the_text_along(shelf, hub, client, hub_environment, jobshelf):
    done = jobshelf("submit", "hello", "--follow", env=hub_environment, cwd=shelf.root)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout.splitlines()
    job = next(iter(client.list_jobs(namespace="alice")))
    assert "resolve/main" not in " ".join([*job.command, *(job.arguments or [])])
    assert TOKEN not in done.stdout + done.stderr + repr(hub.journal()) + repr(job)


def test_what_runs_is_what_was_published(shelf, make_shelf, hub_environment, jobshelf):
    make_shelf.put(shelf, "hello", "2", word="not published yet")
    make_shelf.index(shelf)
    done = jobshelf("submit", "hello", "--follow", env=hub_environment, cwd=shelf.root)
    assert "hello" in done.stdout.splitlines() and "not published yet" not in done.stdout


def test_run_takes_the_file_of_the_checkout(shelf, hub_environment, jobshelf):
    assert jobshelf("run", "hello", env=hub_environment, cwd=shelf.root).stdout == "hello\n"


def test_the_plain_commands_cannot_see_it(shelf, hub, hub_environment):
    url = script_url(REPO, "hello.py", endpoint=hub.endpoint)
    for argv in (["uv", "run", url], ["hf", "jobs", "uv", "run", url]):
        done = subprocess.run(
            [BIN / argv[0], *argv[1:]], env=hub_environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode != 0 and "hello" not in done.stdout.splitlines()


def test_a_stranger_is_told_to_log_in_or_what_to_check(shelf, hub_environment, jobshelf):
    done = jobshelf("submit", "hello", env=hub_environment | {"HF_TOKEN": ""}, cwd=shelf.root)
    assert done.returncode in {3, 4} and ". Fix: " in done.stderr
