"""Block `webhook`: what the Hub sends is read, anything else is refused with what was found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobshelf import blocks

webhook, exits = blocks.load("webhook"), blocks.load("exits")
OLD, NEW = "a" * 40, "b" * 40


def payload(**changes: Any) -> dict[str, Any]:
    """Version 3 of the payload, as the Hub's documentation shows it; `repo__name=...` changes a member."""
    content: dict[str, Any] = {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {
            "type": "dataset",
            "name": "user/data",
            "id": "621ffdc036468d709f17434d",
            "private": False,
            "url": {"web": "https://huggingface.co/datasets/user/data", "api": "https://huggingface.co/api/x"},
            "owner": {"id": "61d2000c3c2083e1c08af22d"},
            "headSha": NEW,
        },
        "webhook": {"id": "6390e855e30d9209411de93b", "version": 3},
        "updatedRefs": [
            {"ref": "refs/heads/main", "oldSha": OLD, "newSha": NEW},
            {"ref": "refs/tags/v1", "oldSha": None, "newSha": NEW},
        ],
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return content


def test_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_PAYLOAD", json.dumps(payload()))
    event = webhook.read_webhook()
    assert (event.action, event.scope) == ("update", "repo.content")
    assert (event.repo_type, event.repo_id, event.private, event.head) == ("dataset", "user/data", False, NEW)
    assert event.refs[0] == webhook.WebhookRef(ref="refs/heads/main", old=OLD, new=NEW)
    assert event.moved_to() == NEW
    assert event.moved_to("other") is None


def test_started_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBHOOK_PAYLOAD", raising=False)
    assert webhook.read_webhook() is None


def test_an_event_that_moves_no_ref() -> None:
    changed = payload(event__scope="discussion.comment", event__action="create", updatedRefs=..., repo__headSha=...)
    event = webhook.parse_webhook(json.dumps(changed))
    assert (event.refs, event.head, event.moved_to()) == ((), None, None)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"event": ...}, "event of WEBHOOK_PAYLOAD is nothing, expected an object"),
        ({"event": "update"}, 'event of WEBHOOK_PAYLOAD is "update", expected an object'),
        ({"event__action": "explode"}, 'event.action of WEBHOOK_PAYLOAD is "explode", expected one of create'),
        ({"event__scope": "everything"}, "expected such as repo.content"),
        ({"repo": None}, "repo of WEBHOOK_PAYLOAD is null"),
        ({"repo__type": "gist"}, 'repo.type of WEBHOOK_PAYLOAD is "gist"'),
        ({"repo__name": "../../etc/passwd"}, "expected namespace/name"),
        ({"repo__name": 7}, "repo.name of WEBHOOK_PAYLOAD is 7, expected text"),
        ({"repo__private": "no"}, "expected true or false"),
        ({"repo__headSha": "main"}, "expected a commit of 40 hex digits"),
        ({"updatedRefs": {}}, "updatedRefs of WEBHOOK_PAYLOAD is {}, expected a list"),
        ({"updatedRefs": ["refs/heads/main"]}, "updatedRefs[].ref of WEBHOOK_PAYLOAD"),
        ({"updatedRefs": [{"ref": "refs/heads/main", "newSha": "; rm -rf"}]}, "updatedRefs[].newSha"),
    ],
)
def test_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(exits.Stop) as stop:
        webhook.parse_webhook(json.dumps(payload(**changes)))
    assert stop.value.code == 4
    assert found in stop.value.message
    assert "unset WEBHOOK_PAYLOAD" in stop.value.fix


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"text"', "[" * 100_000])
def test_not_a_payload_at_all(text: str) -> None:
    with pytest.raises(exits.Stop) as stop:
        webhook.parse_webhook(text)
    assert stop.value.code == 4
    assert len(str(stop.value)) < 400


def test_the_secret_is_not_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "hush")
    monkeypatch.setenv("WEBHOOK_PAYLOAD", json.dumps(payload(repo=7)))
    assert exits.run_to_exit(lambda: webhook.read_webhook() and 0) == 4
    assert "hush" not in capsys.readouterr().err
