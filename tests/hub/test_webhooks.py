"""Webhooks: a commit starts a Job that sees what happened, or calls a URL on this machine."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, JobInfo
from huggingface_hub._webhooks_payload import WebhookPayload
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from jobshelf.hub import Hub

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
DATA = {"repo_id": "ada/data", "repo_type": "dataset"}
SHOW = "import os; print(*(os.environ.get(n) for n in ('WEBHOOK_REPO_ID', 'WEBHOOK_REPO_TYPE', 'WEBHOOK_SECRET', 'KEY', 'A'))); print(os.environ.get('WEBHOOK_PAYLOAD'))"


@pytest.fixture
def source(ada: HfApi) -> JobInfo:
    """A Job that prints what a webhook told it; it has a secret of its own."""
    command = [sys.executable, "-c", SHOW]
    job = ada.run_job(image="x", command=command, env={"A": "1"}, secrets={"KEY": "own"}, namespace="ada")
    ada.wait_for_job(job.id, namespace="ada", poll_interval=0.05)
    ada.create_repo(**DATA)
    return job


@pytest.fixture
def receiver() -> Iterator[tuple[str, queue.Queue]]:
    """A URL on this machine; what is sent there comes out of the queue as (headers, payload)."""
    received: queue.Queue = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((dict(self.headers), json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()
        thread.join()


def commit(api: HfApi, path: str = "a.txt") -> str:
    operations = [CommitOperationAdd(path, path.encode())]
    return api.create_commit(**DATA, operations=operations, commit_message="put").oid


def started(api: HfApi, count: int) -> list[JobInfo]:
    """Wait until there are `count` Jobs that webhooks started, and they are over; newest first."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = [job for job in api.list_jobs(namespace="ada") if job.initiator.type == "webhook"]
        if len(found) >= count and all(job.status.stage != "RUNNING" for job in found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} Jobs of webhooks, expected {count}")


def test_a_commit_starts_the_job_which_sees_what_happened(ada: HfApi, source: JobInfo, hub: Hub):
    watched = [{"type": "dataset", "name": "ada/data"}]
    made = ada.create_webhook(job_id=source.id, watched=watched, domains=["repo"], secret="s3", secrets={"KEY": "new"})
    assert (made.url, made.job.environment, made.job.secrets) == (None, {"A": "1"}, {"KEY": ""})
    before = ada.dataset_info("ada/data").sha
    after = commit(ada)
    (job,) = started(ada, 1)
    assert (job.status.stage, job.initiator.id) == ("COMPLETED", made.id)
    _, facts, text = ada.fetch_job_logs(job_id=job.id, namespace="ada")
    assert facts == "ada/data dataset s3 new 1"
    payload = WebhookPayload(**json.loads(text))
    assert (payload.event.action, payload.event.scope, payload.webhook.id) == ("update", "repo.content", made.id)
    assert (payload.repo.name, payload.repo.url.api) == ("ada/data", f"{hub.endpoint}/api/datasets/ada/data")
    (ref,) = payload.updatedRefs
    assert (ref.ref, ref.oldSha, ref.newSha) == ("refs/heads/main", before, after)


def test_the_secrets_of_the_source_job_are_not_copied(ada: HfApi, source: JobInfo):
    ada.create_webhook(job_id=source.id, watched=[{"type": "user", "name": "ada"}], domains=["repo"])
    commit(ada)
    (job,) = started(ada, 1)
    assert list(ada.fetch_job_logs(job_id=job.id, namespace="ada"))[1] == "ada/data dataset None None 1"


def test_what_is_not_watched_starts_nothing(ada: HfApi, source: JobInfo):
    ada.create_webhook(job_id=source.id, watched=[{"type": "dataset", "name": "ada/other"}])
    ada.create_webhook(job_id=source.id, watched=[{"type": "dataset", "name": "ada/data"}], domains=["discussion"])
    last = ada.create_webhook(job_id=source.id, watched=[{"type": "org", "name": "acme"}])
    commit(ada)
    ada.create_repo("acme/model")
    assert [job.initiator.id for job in started(ada, 1)] == [last.id]


def test_a_url_is_called_with_the_secret(ada: HfApi, bob: HfApi, source: JobInfo, receiver):
    url, received = receiver
    ada.create_webhook(url=url, watched=[{"type": "dataset", "name": "ada/data"}], secret="s3")
    commit(ada)
    headers, payload = received.get(timeout=10)
    assert headers["X-Webhook-Secret"] == "s3"
    assert payload["event"] == {"action": "update", "scope": "repo.content"}
    bob.create_discussion(**DATA, title="A question")
    assert received.get(timeout=10)[1]["discussion"]["title"] == "A question"
    ada.comment_discussion(**DATA, discussion_num=1, comment="An answer")
    _, payload = received.get(timeout=10)
    assert (payload["event"]["scope"], payload["comment"]["content"]) == ("discussion.comment", "An answer")
    ada.create_tag(**DATA, tag="v1")
    assert received.get(timeout=10)[1]["updatedRefs"][0]["ref"] == "refs/tags/v1"
    ada.delete_repo(**DATA)
    assert received.get(timeout=10)[1]["event"] == {"action": "delete", "scope": "repo"}


def test_a_stranger_hears_nothing_of_what_is_private(ada: HfApi, bob: HfApi, source: JobInfo, receiver):
    url, received = receiver
    bob.create_webhook(url=url, watched=[{"type": "user", "name": "ada"}])
    ada.update_repo_settings("ada/data", repo_type="dataset", private=True)
    commit(ada)
    ada.update_repo_settings("ada/data", repo_type="dataset", private=False)
    assert received.get(timeout=10)[1]["event"]["scope"] == "repo.config"
    assert received.empty()


def test_list_change_switch_and_delete(ada: HfApi, bob: HfApi, source: JobInfo, receiver):
    url, received = receiver
    watched = [{"type": "dataset", "name": "ada/data"}]
    made = ada.create_webhook(url=url, watched=watched, domains=["repo"])
    assert [hook.id for hook in ada.list_webhooks()] == [made.id]
    assert bob.list_webhooks() == []
    assert ada.disable_webhook(made.id).disabled is True
    commit(ada, "unseen.txt")
    assert ada.enable_webhook(made.id).disabled is False
    changed = ada.update_webhook(made.id, domains=["repo", "discussion"], secret="s")
    assert (changed.domains, changed.url, changed.watched) == (["repo", "discussion"], url, made.watched)
    oid = commit(ada, "seen.txt")
    assert received.get(timeout=10)[1]["updatedRefs"][0]["newSha"] == oid
    replaced = ada.update_webhook(made.id, job_id=source.id, secrets={"KEY": "1"})
    assert (replaced.url, replaced.job.secrets) == (None, {"KEY": ""})
    ada.delete_webhook(made.id)
    with pytest.raises(HfHubHTTPError, match="404"):
        ada.get_webhook(made.id)


@pytest.mark.parametrize(
    "url", ["https://example.org/hook", "http://192.168.0.1/", "ftp://localhost/", "http://localhost@evil.test/", "x"]
)
def test_other_machines_are_not_called(ada: HfApi, url: str):
    with pytest.raises(BadRequestError, match="to this machine only"):
        ada.create_webhook(url=url, watched=[{"type": "user", "name": "ada"}])
    assert ada.list_webhooks() == []


def test_what_makes_no_sense_is_refused(ada: HfApi, reader: HfApi, ask, source: JobInfo):
    for body, message in (
        ({"watched": [{"type": "user", "name": "ada"}]}, "A webhook has a 'url' or a 'jobSourceId'"),
        ({"watched": [], "url": "http://localhost/"}, "'watched' must be a list of objects"),
        ({"watched": [{"type": "user", "name": "a"}], "url": "http://localhost/", "domains": ["x"]}, "'domains' must"),
        ({"watched": [{"type": "user", "name": "a"}], "url": "http://localhost/", "secrets": {}}, "'secrets' are for"),
    ):
        answer = ask("POST", "/api/settings/webhooks", token="token-of-ada", body=body)
        assert (answer.status, message in answer.json["error"]) == (400, True), answer.json
    with pytest.raises(HfHubHTTPError, match="404"):
        ada.create_webhook(job_id="0" * 24, watched=[{"type": "user", "name": "ada"}])
    with pytest.raises(HfHubHTTPError, match="read-only"):
        reader.create_webhook(job_id=source.id, watched=[{"type": "user", "name": "ada"}])
