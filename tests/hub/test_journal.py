"""The journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from hub.contract import ADA, Ask
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
            outcome=200,
            fault=None,
        ),
    )


def test_an_answer_is_in_the_journal_when_the_client_has_it(ask: Ask, hub: Hub):
    for number in range(1, 200):
        ask("HEAD" if number % 2 else "GET", PATH)
        assert len(hub.journal()) == number


def test_no_token_gets_into_the_journal(ask: Ask, instrument: Ask, hub: Hub):
    ask("GET", f"{PATH}?token={ADA.token}", token=ADA.token, **{"User-Agent": ADA.token, "X-Other": ADA.token})
    ask("GET", PATH, token="unknown-token")
    assert [entry.user for entry in hub.journal()] == ["ada", None]
    assert ADA.token not in repr(hub.journal())
    assert "unknown-token" not in repr(hub.journal())
    assert ADA.token not in instrument("GET", "/_hub/journal").body.decode()


def test_other_processes_read_the_journal(ask: Ask, instrument: Ask, hub: Hub):
    ask("GET", PATH)
    listed = instrument("GET", "/_hub/journal").json
    assert [(entry["method"], entry["path"], entry["status"], entry["wrote"]) for entry in listed] == [
        ("GET", PATH, 200, False)
    ]
    assert instrument("DELETE", "/_hub/journal").status == 200
    assert hub.journal() == ()
    assert instrument("GET", "/_hub/journal").json == []


def test_no_signature_gets_into_the_journal(ada: HfApi, ask: Ask, hub: Hub, tmp_path: Path):
    ada.create_repo("ada/x", repo_type="dataset", private=True)
    add = CommitOperationAdd("a.parquet", b"private")
    ada.create_commit("ada/x", [add], commit_message="put", repo_type="dataset")
    found = ada.hf_hub_download("ada/x", "a.parquet", repo_type="dataset", local_dir=tmp_path)
    assert Path(found).read_bytes() == b"private"
    (entry,) = [entry for entry in hub.journal() if entry.method == "GET" and "/_lfs/read/" in entry.path]
    assert entry.path.endswith("&signature=***")
    assert ask("GET", entry.path).status == 403


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("a=1&signature=abc&b=2", "a=1&signature=***&b=2"),
        ("Signature=abc", "Signature=***"),
        ("%73ignature=abc", "%73ignature=***"),
        ("X-Amz-Signature=abc&X-Amz-Security-Token=abc", "X-Amz-Signature=***&X-Amz-Security-Token=***"),
        ("token=hf_unknown", "token=***"),
        ("signature", "signature"),
        ("search=signature=abc", "search=signature=abc"),
        ("", ""),
    ],
)
def test_what_is_hidden_of_a_query(ask: Ask, hub: Hub, query: str, shown: str):
    ask("GET", f"{PATH}?{query}")
    assert hub.journal()[-1].path == (f"{PATH}?{shown}" if shown else PATH)


def test_what_changed_the_hub_is_told_from_what_asked(ada: HfApi, hub: Hub):
    ada.create_repo("ada/x", repo_type="dataset")
    ada.upload_file(path_or_fileobj=b"1", path_in_repo="README.md", repo_id="ada/x", repo_type="dataset")
    ada.get_paths_info("ada/x", ["README.md"], repo_type="dataset")
    with pytest.raises(HfHubHTTPError):
        ada.create_branch("ada/x", branch="main", repo_type="dataset")
    ada.create_tag("ada/x", tag="v1", repo_type="dataset")
    assert [entry.path for entry in hub.journal() if entry.wrote] == [
        "/api/repos/create",
        "/api/datasets/ada/x/commit/main",
        "/api/datasets/ada/x/tag/main",
    ]
