"""Starting scripts: here, as Jobs, in every form, with the real clients on the embedded Hub."""

from __future__ import annotations

import pytest

from jobshelf.errors import InputError, ScriptError, TokenError, UsageError
from jobshelf.index import load_index
from jobshelf.jobs import command, find_target, follow, submit
from jobshelf.publish import publish
from support import TOKEN


@pytest.fixture
def published(make_shelf, hub, client, monkeypatch):
    """A shelf with one script, on the Hub that the environment names."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    shelf = make_shelf({"hello": "1"})
    publish(shelf, client)
    return shelf


def target(shelf, name="hello"):
    return find_target(name, shelf, load_index(shelf))


def test_a_submitted_job_runs_the_url_and_its_log_can_be_followed(published, client, capsys):
    job = submit(target(published), ["--loud"], client)
    assert follow(job, client) == "COMPLETED"
    assert "hello" in capsys.readouterr().out.splitlines()
    assert client.inspect_job(job_id=job.id).flavor == "cpu-basic"


def test_secrets_are_taken_by_name_and_shown_nowhere(published, hub, client, capsys):
    path = published.catalog / "hello.py"
    text = path.read_text().replace('# timeout = "10m"', '# timeout = "10m"\n# secrets = ["HF_TOKEN", "EXTRA_KEY"]')
    path.write_text(
        text.replace('print("hello")', 'import os; print(len(os.environ["HF_TOKEN"]), os.environ["HF_TOKEN"][:2])')
    )
    from jobshelf.index import build_index

    published.index_file.write_text(build_index(published).to_text())
    publish(published, client)
    with pytest.raises(TokenError, match="needs the secret EXTRA_KEY"):
        submit(target(published), [], client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXTRA_KEY", "s3")
        job = submit(target(published), [], client)
    assert follow(job, client) == "COMPLETED"
    assert f"{len(TOKEN)} hf" in capsys.readouterr().out
    assert TOKEN not in repr(hub.journal()) + repr(client.inspect_job(job_id=job.id))


def test_without_arguments_the_examples_are_the_scripts_own(published):
    assert command(target(published), ()).local[-1] == "--loud"
    assert command(target(published), ("-x",)).local[-1] == "-x"


def test_a_file_is_a_target_that_runs_here_only(published, client):
    found = find_target(str(published.catalog / "hello.py"), published, load_index(published))
    assert found.url is None
    with pytest.raises(InputError, match="hf jobs uv run"):
        submit(found, [], client)


def test_targets_that_are_none(published, tmp_path):
    with pytest.raises(UsageError, match="did you mean hello"):
        target(published, "helo")
    broken = tmp_path / "broken.py"
    broken.write_text("print()\n")
    with pytest.raises(ScriptError, match=r"broken.py:1: found no line that is exactly"):
        target(published, str(broken))


def test_run_starts_uv_here_with_the_tables_environment(jobshelf, published):
    path = published.catalog / "hello.py"
    text = path.read_text().replace('# timeout = "10m"', '# timeout = "10m"\n# env = {WORD = "from the table"}')
    path.write_text(text.replace('print("hello")', 'import os, sys; print(os.environ["WORD"], sys.argv[1:])'))
    jobshelf("index", cwd=published.root)
    done = jobshelf("run", "hello", "--", "a", "--b", cwd=published.root)
    assert done.stdout == "from the table ['a', '--b']\n", done.stderr


def test_run_returns_the_scripts_exit_code(jobshelf, published):
    path = published.catalog / "hello.py"
    path.write_text(path.read_text() + "raise SystemExit(4)\n")
    jobshelf("index", cwd=published.root)
    assert jobshelf("run", "hello", cwd=published.root).returncode == 4
