# block: webhook 1
"""What a Hub webhook said when it started this Job: WEBHOOK_PAYLOAD, read and checked.

Promises: a script that no webhook started gets None; a payload that is not what the Hub documents (version 3:
`event`, `repo`, `updatedRefs`) stops with 4 and says what was found instead; the webhook's secret is never read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .exits import EXIT_INPUT, Stop

WEBHOOK_VARIABLE = "WEBHOOK_PAYLOAD"
WEBHOOK_ACTIONS = ("create", "delete", "move", "update")
WEBHOOK_REPO_TYPES = ("dataset", "model", "space", "kernel", "bucket")
_WEBHOOK_SCOPE = re.compile(r"(repo|discussion)(\.[a-z]+)*")
_WEBHOOK_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_WEBHOOK_SHA = re.compile(r"[0-9a-f]{40}")
_WEBHOOK_MISSING = object()

_WebhookKind = TypeVar("_WebhookKind")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRef:
    """A branch, tag or pull request that moved (`refs/heads/main`); `old` is None for a new one, `new` for a removed."""

    ref: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One event: `action` (update) on `scope` (repo.content) of the repository `repo_id`, which is at commit `head`."""

    action: str
    scope: str
    repo_type: str
    repo_id: str
    private: bool
    head: str | None
    refs: tuple[WebhookRef, ...]

    def moved_to(self, branch: str = "main") -> str | None:
        """Return the commit that `branch` moved to, None when this event did not move it."""
        return next((ref.new for ref in self.refs if ref.ref == f"refs/heads/{branch}"), None)


def read_webhook() -> Webhook | None:
    """Return the event that started this process, None when none did; stop with 4 when it cannot be read."""
    text = os.environ.get(WEBHOOK_VARIABLE)
    return None if text is None else parse_webhook(text)


def parse_webhook(text: str) -> Webhook:
    """Return the event that the JSON text says; stop with 4 when it is not a webhook of the Hub."""
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _webhook_refused("the whole", text, "JSON") from error
    event, repo = _webhook_field(payload, "event", dict), _webhook_field(payload, "repo", dict)
    return Webhook(
        action=_webhook_one_of(event, "event.action", WEBHOOK_ACTIONS),
        scope=_webhook_match(event, "event.scope", _WEBHOOK_SCOPE, "such as repo.content"),
        repo_type=_webhook_one_of(repo, "repo.type", WEBHOOK_REPO_TYPES),
        repo_id=_webhook_match(repo, "repo.name", _WEBHOOK_REPO, "namespace/name"),
        private=_webhook_field(repo, "repo.private", bool),
        head=_webhook_sha(repo, "repo.headSha"),
        refs=tuple(_webhook_ref(item) for item in _webhook_list(payload, "updatedRefs")),
    )


def _webhook_ref(item: object) -> WebhookRef:
    return WebhookRef(
        ref=_webhook_field(item, "updatedRefs[].ref", str),
        old=_webhook_sha(item, "updatedRefs[].oldSha"),
        new=_webhook_sha(item, "updatedRefs[].newSha"),
    )


def _webhook_field(container: object, path: str, kind: type[_WebhookKind]) -> _WebhookKind:
    """Return the member of `container` that the last word of `path` names, which must be of `kind`."""
    name = path.rpartition(".")[2]
    value = container.get(name, _WEBHOOK_MISSING) if isinstance(container, Mapping) else container
    if not isinstance(container, Mapping) or not isinstance(value, kind):
        raise _webhook_refused(path, value, {dict: "an object", str: "text", bool: "true or false"}[kind])
    return value


def _webhook_one_of(container: object, path: str, allowed: tuple[str, ...]) -> str:
    value = _webhook_field(container, path, str)
    if value not in allowed:
        raise _webhook_refused(path, value, f"one of {', '.join(allowed)}")
    return value


def _webhook_match(container: object, path: str, pattern: re.Pattern[str], expected: str) -> str:
    value = _webhook_field(container, path, str)
    if pattern.fullmatch(value) is None:
        raise _webhook_refused(path, value, expected)
    return value


def _webhook_sha(container: object, path: str) -> str | None:
    name = path.rpartition(".")[2]
    if isinstance(container, Mapping) and container.get(name) is None:
        return None
    return _webhook_match(container, path, _WEBHOOK_SHA, "a commit of 40 hex digits")


def _webhook_list(container: Mapping[str, Any], name: str) -> list[object]:
    value = container.get(name)
    if value is not None and not isinstance(value, list):
        raise _webhook_refused(name, value, "a list")
    return value or []


def _webhook_refused(path: str, found: object, expected: str) -> Stop:
    what = "nothing" if found is _WEBHOOK_MISSING else json.dumps(found, default=str)[:80]
    message = f"{path} of {WEBHOOK_VARIABLE} is {what}, expected {expected}"
    return Stop(EXIT_INPUT, message, fix=f"start it by a Hub webhook, or unset {WEBHOOK_VARIABLE} to run it by hand")
