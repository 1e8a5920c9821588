"""`webhook_is_about`: payloads of the Hub, and of others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blocks.shared import Stopped, block

webhook_is_about = block("webhook_is_about").webhook_is_about
URL = {"web": "https://huggingface.co/datasets/alice/rows", "api": "https://huggingface.co/api/datasets/alice/rows"}


def payload(
    name: str = "alice/rows", kind: str = "dataset", scope: str = "repo.content", action: str = "update"
) -> Any:
    owner, repo = {"id": "1"}, {"type": kind, "name": name, "id": "2", "private": False, "url": URL}
    event = {"action": action, "scope": scope}
    return {"event": event, "repo": repo | {"owner": owner}, "webhook": {"id": "3", "version": 3}}


def test_started_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBHOOK_PAYLOAD", raising=False)
    assert webhook_is_about("alice/rows")
    monkeypatch.setenv("WEBHOOK_PAYLOAD", "")
    assert webhook_is_about("alice/rows")


@pytest.mark.parametrize(
    ("event", "about"),
    [
        (payload(), True),
        (payload(action="create"), True),
        (payload(scope="repo.content.commits"), True),
        (payload(name="alice/other"), False),
        (payload(name="alice/rows2"), False),
        (payload(kind="model"), False),
        (payload(scope="repo.config"), False),
        (payload(scope="discussion.comment"), False),
        (payload(scope="repo"), False),
        (
            payload()
            | {"new": {"field": [1]}, "updatedRefs": [{"ref": "refs/heads/main", "oldSha": "a", "newSha": "b"}]},
            True,
        ),
        (payload() | {"junk": "x" * 1_000_000}, True),
    ],
)
def test_events(event: dict[str, Any], about: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    payload_ = json.dumps(event)
    if len(payload_) < 100_000:
        monkeypatch.setenv("WEBHOOK_PAYLOAD", payload_)
    else:  # more than a process may be given in one variable
        monkeypatch.setitem(block("webhook_is_about").os.environ, "WEBHOOK_PAYLOAD", payload_)
    assert webhook_is_about("alice/rows") is about


@pytest.mark.parametrize(
    "text",
    ["no json", "[]", "{}", "null", '{"event": 1}', "[" * 100_000, '{"a": "\\ud800"}', "\x1b[31m{", " " * 99_999],
)
def test_malformed(text: str, stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_PAYLOAD", text)
    assert "WEBHOOK_PAYLOAD is no event of a webhook" in stopped(lambda: webhook_is_about("alice/rows"), 2)
