"""The journal and the fault plan."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from hub.contract import ADA, Ask, commit_of
from jobshelf.hub import Hub, Request

PATH = "/api/agent-harnesses"


def test_an_entry(ask: Ask, hub: Hub):
    body = b'{"name": "x", "type": "dataset"}'
    answer = ask("POST", "/api/repos/create?a=%2F", token=ADA.token, body=body, **{"User-Agent": "test/1"})
    assert hub.journal() == (
        Request(
            method="POST",
            path="/api/repos/create?a=%2F",
            host=hub.endpoint.removeprefix("http://"),
            status=200,
            bytes_in=len(body),
            bytes_out=len(answer.body),
            user="ada",
            client="test/1",
        ),
    )


def test_an_answer_is_in_the_journal_when_the_client_has_it(ask: Ask, hub: Hub):
    for number in range(1, 200):
        ask("HEAD" if number % 2 else "GET", PATH)
        assert len(hub.journal()) == number


def test_no_token_gets_into_the_journal(ask: Ask, hub: Hub):
    ask("GET", f"{PATH}?token={ADA.token}", token=ADA.token, **{"User-Agent": ADA.token, "X-Other": ADA.token})
    ask("GET", PATH, token="unknown-token")
    assert [entry.user for entry in hub.journal()] == ["ada", None]
    assert ADA.token not in repr(hub.journal())
    assert "unknown-token" not in repr(hub.journal())
    assert ADA.token not in ask("GET", "/_hub/journal").body.decode()


def test_other_processes_read_the_journal(ask: Ask, hub: Hub):
    ask("GET", PATH)
    listed = ask("GET", "/_hub/journal").json
    assert [(entry["method"], entry["path"], entry["status"]) for entry in listed] == [("GET", PATH, 200)]
    hub.clear_journal()
    assert hub.journal() == ()
    assert ask("GET", "/_hub/journal").json == []


def test_a_fault_strikes_the_requests_it_is_planned_for(ask: Ask, hub: Hub):
    hub.fail(method="GET", path="agent-harness", status=503, nth=2, times=2, headers={"Retry-After": "7"})
    answers = [ask("GET", PATH) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert answers[1].headers["x-error-message"] == "Planned fault: 503"
    assert [entry.status for entry in hub.journal()] == [200, 503, 503, 200]


def test_a_fault_leaves_other_requests_alone(ask: Ask, hub: Hub):
    hub.fail(method="POST", path="agent-harness", status=500)
    hub.fail(path="/whoami", status=500)
    assert ask("GET", PATH).status == 200
    assert ask("GET", "/api/whoami-v2", token=ADA.token).status == 500


def test_a_failed_commit_is_not_done(ada: HfApi, hub: Hub, ask: Ask):
    ada.create_repo("ada/x", repo_type="dataset")
    head = ada.dataset_info("ada/x").sha
    hub.fail(method="POST", path="/commit/main$", status=500)
    with pytest.raises(HfHubHTTPError, match="500"):
        ada.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="ada/x", repo_type="dataset")
    assert ada.dataset_info("ada/x").sha == head
    large = commit_of({"b.txt": b"x" * 3_000_000})
    hub.fail(method="POST", path="/commit/main$", status=500)
    assert ask("POST", "/api/datasets/ada/x/commit/main", token=ADA.token, body=large).status == 500
    assert ask("POST", "/api/datasets/ada/x/commit/main", token=ADA.token, body=large).status == 200
