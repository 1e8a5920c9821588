"""`jobshelf webhook`: a commit starts the script, the script sees what happened, and its result is on the Hub."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from jobshelf.errors import InputError, UsageError
from jobshelf.jobs.webhooks import find_trigger

# what a scaffolded script does with the block `webhook`, in ten lines: read the payload, put a result on the Hub
NOTES = """
import json, os
from huggingface_hub import HfApi
said = os.environ.get("WEBHOOK_PAYLOAD")
if said:
    event = json.loads(said)
    moved = event["updatedRefs"][0]["newSha"]
    note = json.dumps({"repo": event["repo"]["name"], "moved": moved, "secret": os.environ["WEBHOOK_SECRET"]})
    HfApi().upload_file(path_or_fileobj=note.encode(), path_in_repo="note.json", repo_id="acme/notes", repo_type="dataset")
"""


@pytest.fixture
def watched(client) -> str:
    client.create_repo("alice/data", repo_type="dataset")
    client.create_repo("acme/notes", repo_type="dataset")
    return "alice/data"


def commit(client) -> str:
    return client.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="alice/data", repo_type="dataset").oid


def started(client, count: int) -> list:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = [job for job in client.list_jobs(namespace="alice") if job.initiator.type == "webhook"]
        if len(found) >= count and all(job.status.stage != "RUNNING" for job in found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} Jobs of webhooks, expected {count}")


def test_a_commit_starts_the_script_and_its_result_is_kept(jobshelf, hub_environment, script_of, watched, client):
    target = script_of(NOTES, table='secrets = ["HF_TOKEN"]', header="")
    path = target.local
    path.write_text(path.read_text().replace("dependencies = []", 'dependencies = ["huggingface-hub>=2.4,<3"]'))
    env = hub_environment | {"HOOK_SECRET": "s3"}
    made = jobshelf("webhook", str(path), "--on", watched, "--secret-from", "HOOK_SECRET", env=env)
    assert made.returncode == 0, made.stderr
    hook = re.search(r"^webhook  (\w+)$", made.stdout, re.M)[1]
    assert "on       dataset alice/data\nevents   repo\nstarts   work" in made.stdout
    (source,) = client.list_jobs(namespace="alice")
    assert client.wait_for_job(source.id, namespace="alice", poll_interval=0.05).status.stage == "CANCELED"
    assert not source.secrets
    moved = commit(client)
    (job,) = started(client, 1)
    assert job.status.stage == "COMPLETED", list(client.fetch_job_logs(job_id=job.id, namespace="alice"))
    note = Path(client.hf_hub_download("acme/notes", "note.json", repo_type="dataset"))
    assert json.loads(note.read_text()) == {"repo": "alice/data", "moved": moved, "secret": "s3"}
    assert jobshelf("webhook", "list", env=env).stdout.splitlines()[1].split()[0] == hook
    assert jobshelf("webhook", "delete", hook, env=env).stdout == f"deleted {hook}\n"
    assert client.list_webhooks() == []


def test_what_is_watched(client, watched):
    assert (find_trigger("alice/data", "repo", client).kind, find_trigger("alice/", "repo", client).kind) == (
        "dataset",
        "user",
    )
    acme = find_trigger("acme/", "repo, discussion,repo", client)
    assert (acme.kind, acme.name, acme.domains) == ("org", "acme", ("repo", "discussion"))
    assert find_trigger("orgs/other/", "repo", client).name == "other"
    assert find_trigger("models/alice/data", "repo", client).kind == "model"
    client.create_repo("alice/data")
    with pytest.raises(UsageError, match="write models/alice/data or datasets/alice/data"):
        find_trigger("alice/data", "repo", client)
    with pytest.raises(InputError, match="there is no repository alice/no"):
        find_trigger("alice/no", "repo", client)
    for on, domains in (("other/", "repo"), ("alice", "repo"), ("a/b/c", "repo"), ("alice/", ""), ("alice/", "pulls")):
        with pytest.raises(UsageError):
            find_trigger(on, domains, client)


def test_a_script_that_would_start_itself_is_refused(jobshelf, hub_environment, shardable, watched, client):
    client.create_repo("alice/out", repo_type="dataset")
    for on in ("alice/out", "alice/"):
        done = jobshelf("webhook", str(shardable), "--on", on, "--", "alice/data", "alice/out", env=hub_environment)
        assert (done.returncode, "each run would start the next" in done.stderr) == (2, True), done.stderr
    assert client.list_webhooks() == [] and list(client.list_jobs(namespace="alice")) == []


def test_a_secret_that_is_not_set_makes_nothing(jobshelf, hub_environment, hello, published, watched, client):
    words = ["webhook", "hello", "--on", watched, "--secret-from", "NOT_SET"]
    done = jobshelf(*words, env=hub_environment, cwd=published.root)
    assert (done.returncode, "export NOT_SET=..." in done.stderr) == (3, True)
    assert list(client.list_jobs(namespace="alice")) == []


def test_when_the_hub_refuses_the_webhook_no_job_is_left(jobshelf, hub, hub_environment, published, watched, client):
    hub.fail(path="/api/settings/webhooks", method="POST", status=403)
    done = jobshelf("webhook", "hello", "--on", watched, env=hub_environment, cwd=published.root)
    assert done.returncode == 3
    (job,) = client.list_jobs(namespace="alice")
    assert client.wait_for_job(job.id, namespace="alice", poll_interval=0.05).status.stage in {"CANCELED", "COMPLETED"}
