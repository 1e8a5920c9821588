"""The README, typed line by line: its two commands in a fresh clone, the others where `you` are logged in to an embedded Hub."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from docs.checkout import fresh_clone, lines_under
from jobshelf.hub import Account, Hub, serve
from jobshelf.publish import publish
from jobshelf.rehearse.fixtures import find_fixture
from jobshelf.shelf import find_shelf
from support import BIN, ROOT, TOKEN

pytestmark = [pytest.mark.heavy, pytest.mark.jobs, pytest.mark.timeout(900)]
OWN_SHELF = lines_under("README.md", "A shelf of your own")  # in test_own_shelf.py
DEMO, TESTS, *LINES = (line for line in lines_under("README.md") if line not in OWN_SHELF)
Type = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    return fresh_clone(tmp_path_factory.mktemp("clone"))


def test_the_two_commands(clone, environment, tmp_path):
    """With nothing but a Python: the demo to its end; the tests found, not run, because this is one of them."""
    home = Path(environment["HOME"])
    subprocess.run(["python3", "-m", "venv", home / ".jobshelf"], check=True)
    start = ". ~/.jobshelf/bin/activate && "
    assert start.removesuffix(" && ") in (ROOT / "README.md").read_text(encoding="utf-8")
    bare = environment | {"PATH": "/usr/local/bin:/usr/bin:/bin"}

    def type_(line: str, **more: str) -> subprocess.CompletedProcess[str]:
        argv = ["bash", "-c", start + line]
        return subprocess.run(argv, cwd=clone, env=bare | more, capture_output=True, text=True, timeout=600)

    demo = type_(DEMO)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "[6/6]" in demo.stdout and "no account, no paid machine." in demo.stdout
    tests = type_(TESTS, PYTEST_ADDOPTS="--collect-only -q")
    assert tests.returncode == 0 and "tests/docs/test_guides.py" in tests.stdout, tests.stdout[-2000:] + tests.stderr
    assert subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True).stdout == ""


@pytest.fixture
def hub(tmp_path) -> Iterator[Hub]:
    """The shelf, and what the README's lines read, on the Hub of `you`."""
    owners = ("jobshelf", "openai", "HuggingFaceFW", "other")
    with serve(tmp_path / "hub", accounts=(Account(name="you", token=TOKEN, orgs=owners),)) as running:
        client = HfApi(endpoint=running.endpoint, token=TOKEN)
        publish(find_shelf(ROOT), client)
        for repo, fixture in (
            ("openai/gsm8k", "questions"),
            ("you/input", "questions"),
            ("HuggingFaceFW/finepdfs-edu", "finepdfs"),
        ):
            client.create_repo(repo, repo_type="dataset")
            files = [CommitOperationAdd(path, io.BytesIO(data)) for path, data in find_fixture(fixture).make().items()]
            client.create_commit(repo, files, commit_message="Rows", repo_type="dataset")
        yield running


@pytest.fixture
def type_(clone, hub, environment, tmp_path) -> Type:
    """Type a line where `jobshelf`, `hf` and `uv` are, in a folder with a script of one's own."""
    tools = tmp_path / "bin"
    tools.mkdir()
    uvx = f'#!/bin/sh\nif [ "$1" = jobshelf ]; then exec "$@"; fi\nexec "{BIN}/uvx" "$@"\n'
    (tools / "uvx").write_text(uvx)
    (tools / "uvx").chmod(0o755)
    variables = environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
    variables["PATH"] = f"{tools}:{variables['PATH']}"
    work = tmp_path / "work"
    work.mkdir()
    # what `gh:` stands for, here
    git = ["git", "config", "--file", Path(environment["HOME"]) / ".gitconfig"]
    subprocess.run([*git, f"url.file://{clone}.insteadOf", "https://github.com/jobshelf/jobshelf.git"], check=True)

    def typed(line: str) -> subprocess.CompletedProcess[str]:
        argv = ["bash", "-c", line.replace("https://huggingface.co", hub.endpoint)]
        return subprocess.run(argv, cwd=work, env=variables, capture_output=True, text=True, timeout=600)

    base = f"{hub.endpoint}/datasets/you/scripts/resolve/main"
    for answers in (
        "--name my_script --kind dataset --persistence hub-dataset --token write",
        f"--name script --kind utility --base {base}",
    ):
        made = typed(f"jobshelf new . {answers} --defaults")
        assert made.returncode == 0, made.stderr
    for script in work.glob("*.py"):
        text = script.read_text(encoding="utf-8")
        script.write_text(re.sub(r"    # TODO\(jobshelf\).*\n", "", text), encoding="utf-8")
    client = HfApi(endpoint=hub.endpoint, token=TOKEN)
    client.create_repo("you/scripts", repo_type="dataset")
    client.upload_file(
        path_or_fileobj=work / "script.py", path_in_repo="script.py", repo_id="you/scripts", repo_type="dataset"
    )
    return typed


def test_every_other_line(type_, hub):
    client = HfApi(endpoint=hub.endpoint, token=TOKEN)
    for line in LINES:
        text = line
        if "ID ID" in line:
            done = [job.id for job in client.list_jobs(namespace="you") if job.status.stage == "COMPLETED"]
            text = line.replace("ID ID", " ".join(done[:2]))
        if " copier copy " in line:
            text = f"{line} --defaults"  # nobody is there to answer its questions
        ended = type_(text)
        assert ended.returncode == 0, f"{text}\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        assert TOKEN not in ended.stdout + ended.stderr
    assert {"you/stats", "you/output"} <= {one.id for one in client.list_datasets(author="you")}
    assert len(list(client.list_scheduled_jobs(namespace="you"))) == 1
    assert len(client.list_webhooks()) == 1
