"""What can be started, and which of it the Hub has to be asked for."""

from __future__ import annotations

import os
import sys

import pytest

from jobshelf.errors import EnvironmentFault, InputError, ScriptError, UsageError
from jobshelf.index import load_index
from jobshelf.jobs import command, find_target, pinned, read_target

SCRIPT = b'# /// script\n# dependencies = []\n# [tool.hf-jobs]\n# flavor = "t4-small"\n# ///\nprint(1)\n'


def find(published, name):
    return find_target(name, published, load_index(published))


@pytest.fixture
def private_url(client) -> str:
    client.create_repo("alice/shelf", repo_type="dataset", private=True)
    client.upload_file(path_or_fileobj=SCRIPT, path_in_repo="mine.py", repo_id="alice/shelf", repo_type="dataset")
    return f"{client.endpoint}/datasets/alice/shelf/resolve/main/mine.py"


def test_without_arguments_the_examples_are_the_scripts_own(hello):
    assert command(hello, ()).local[-1] == "--loud"
    assert command(hello, ("-x",)).local[-1] == "-x"


def test_a_script_of_the_shelf_is_what_was_published(published, hello, client):
    (published.catalog / "hello.py").write_text("changed since")
    found = read_target(hello, client)
    assert (found.url, found.data.decode().splitlines()[-1]) == (hello.url, 'print("hello")')
    assert found.launch["timeout"] == "10m"


def test_targets_that_are_none(published, tmp_path):
    with pytest.raises(UsageError, match="did you mean hello"):
        find(published, "helo")
    broken = tmp_path / "broken.py"
    broken.write_text("print()\n")
    with pytest.raises(ScriptError, match=r"broken.py:1: found no line that is exactly"):
        find(published, str(broken))
    with pytest.raises(UsageError, match="no http"):
        find(published, "ftp://example.org/x.py")


def test_a_url_is_read_for_its_table(published, client):
    url = f"{client.endpoint}/datasets/jobshelf/scripts/resolve/main/hello.py"
    found = read_target(find(published, url))
    assert (found.name, found.url, found.launch["flavor"]) == ("hello", url, "cpu-basic")


def test_what_only_the_owner_may_read_travels_with_the_job(published, private_url, client):
    with pytest.raises(InputError, match=r"is not public \(status 401\)"):
        read_target(find(published, private_url))
    found = read_target(find(published, private_url), client)
    assert found.commit_url is None
    with pytest.raises(UsageError, match="no address that stays"):
        pinned(found)
    assert (found.url, found.data, found.launch) == (None, SCRIPT, {"flavor": "t4-small"})
    made = command(found, ("a",))
    assert made.mcp["args"]["script"] == SCRIPT.decode()
    assert made.jobs[-2:] == ("./mine.py", "a")
    assert made.python["script"] == "./mine.py"
    save = "hf download alice/shelf mine.py --repo-type dataset --revision main --local-dir ."
    assert ("jobs", f"a Job cannot read this address; first: {save}") in made.notes


def test_a_url_without_a_script(published, client):
    with pytest.raises(InputError, match="answered 404: there is no script"):
        read_target(find(published, f"{client.endpoint}/datasets/jobshelf/scripts/resolve/main/no.py"), client)
    with pytest.raises(InputError, match="is a web page, expected a Python file"):
        read_target(find(published, f"{client.endpoint}/"), client)
    with pytest.raises(EnvironmentFault, match="could not be fetched"):
        read_target(find(published, "http://127.0.0.1:9/x.py"), client)


def test_standard_input_is_a_script_too(published, monkeypatch):
    source, sink = os.pipe()
    os.write(sink, SCRIPT)
    os.close(sink)
    monkeypatch.setattr(sys, "stdin", os.fdopen(source))
    found = find(published, "-")
    made = command(found, ("a",))
    assert made.local == ("uv", "run", "-", "a")
    assert made.mcp["args"] == {"script": SCRIPT.decode(), "script_args": ["a"], "flavor": "t4-small"}
    assert made.jobs[-2:] == ("./script.py", "a")


def test_a_file_is_embedded_for_the_mcp_tool_and_named_elsewhere(script_of):
    target = script_of("print(1)", table='image = "img:1"')
    made = command(target, ("a",))
    assert made.jobs == ("hf", "jobs", "uv", "run", str(target.local), "a")
    shell = made.mcp["args"]["command"]
    assert (shell[:2], shell[2].split(" | ")[1:]) == (["sh", "-c"], ["base64 -d", "uv run - a"])
