"""Tell webhooks what happened. Payload: https://huggingface.co/docs/hub/webhooks (version 3)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from jobshelf.hub.account import can_read
from jobshelf.hub.core import Core
from jobshelf.hub.discussions import Discussion, Event
from jobshelf.hub.happenings import Happening
from jobshelf.hub.launch import OnBehalf, launch, record_failure
from jobshelf.hub.refusal import Refusal, bad_request
from jobshelf.hub.repos import DEFAULT_BRANCH, Repo
from jobshelf.hub.webhooks import Webhook

_TIMEOUT_SECONDS = 10
_LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Notifier:
    """Sends what happens to the webhooks that it concerns, after the answer to who caused it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._workers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook")
        # straight to this machine: a proxy must not see it
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def tell(self, happening: Happening) -> None:
        """Send it to every webhook that it concerns and whose owner may see it. Returns at once."""
        repo, core = happening.repo, self._core
        for webhook in core.webhooks.watching(repo, happening.scope):
            owner = core.accounts.by_name(webhook.owner)
            if can_read(owner, namespace=repo.namespace, private=repo.private, entity=repo.entity):
                payload = json.dumps(_payload(core, happening, webhook))
                self._workers.submit(self._send, webhook, happening, payload)

    def close(self) -> None:
        """Send nothing any more."""
        self._workers.shutdown(wait=True, cancel_futures=True)

    def _send(self, webhook: Webhook, happening: Happening, payload: str) -> None:
        if webhook.url is not None:
            self._post(webhook.url, webhook.secret, payload)
            return
        try:
            self._start(webhook, happening, payload)
        except Refusal as refusal:
            record_failure(self._core, webhook, refusal.message)

    def _post(self, url: str, secret: str | None, payload: str) -> None:
        headers = {"Content-Type": "application/json", **({"X-Webhook-Secret": secret} if secret else {})}
        request = urllib.request.Request(url, payload.encode(), headers)  # noqa: S310 loopback_url() checked it
        try:
            self._opener.open(request, timeout=_TIMEOUT_SECONDS).close()
        except (OSError, urllib.error.HTTPError):
            # the Hub does not wait for what receives its calls, and does not call twice
            return

    def _start(self, webhook: Webhook, happening: Happening, payload: str) -> None:
        if webhook.spec is None:
            return
        repo, core = happening.repo, self._core
        told = {"WEBHOOK_PAYLOAD": payload, "WEBHOOK_REPO_ID": repo.full_name, "WEBHOOK_REPO_TYPE": repo.kind}
        launch(
            OnBehalf(core=core, caller=core.accounts.by_name(webhook.owner)),
            webhook.namespace,
            webhook.spec,
            labels=webhook.labels,
            secret_table=core.vault.of(webhook.id, webhook.spec.secret_names),
            added=told | ({"WEBHOOK_SECRET": webhook.secret} if webhook.secret else {}),
            origin=webhook.origin,
        )


def loopback_url(text: str) -> str:
    """A URL on this machine. Raises Refusal (400) for any other: the embedded Hub calls nobody else."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"http", "https"} and parts.hostname in _LOOPBACK_HOSTS and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not text.isascii() or not text.isprintable() or " " in text:
        raise bad_request(f"The embedded Hub sends webhooks to this machine only, not to '{text[:200]}'")
    return text


def _payload(core: Core, happening: Happening, webhook: Webhook) -> Mapping[str, Any]:
    repo = happening.repo
    told: dict[str, Any] = {
        "event": {"action": happening.action, "scope": happening.scope},
        "repo": _repo(core, repo, happening.action),
        "webhook": {"id": webhook.id, "version": 3},
    }
    if happening.refs:
        told["updatedRefs"] = [{"ref": ref.ref, "oldSha": ref.old, "newSha": ref.new} for ref in happening.refs]
    if happening.discussion is not None:
        told["discussion"] = _discussion(core, repo, happening.discussion)
    if happening.comment is not None and happening.discussion is not None:
        told["comment"] = _comment(told["discussion"]["url"]["web"], happening.comment)
    return told


def _repo(core: Core, repo: Repo, action: str) -> dict[str, Any]:
    prefix = "" if repo.kind == "model" else f"{repo.kind}s/"
    head = {} if action == "delete" else {"headSha": core.repos.resolve(repo, DEFAULT_BRANCH).oid}
    return {
        "type": repo.kind,
        "name": repo.full_name,
        "id": str(repo.id),
        "private": repo.private,
        "owner": {"id": repo.namespace},
        "url": {
            "web": f"{core.endpoint}/{prefix}{repo.full_name}",
            "api": f"{core.endpoint}/api/{repo.kind}s/{repo.full_name}",
        },
        **head,
    }


def _discussion(core: Core, repo: Repo, found: Discussion) -> dict[str, Any]:
    web = f"{core.endpoint}/{'' if repo.kind == 'model' else f'{repo.kind}s/'}{repo.full_name}/discussions/{found.num}"
    return {
        "id": f"{repo.id}-{found.num}",
        "num": found.num,
        "title": found.title,
        "author": {"id": found.author},
        "status": found.status,
        "isPullRequest": found.is_pull,
        "url": {"web": web, "api": f"{core.endpoint}/api/{repo.kind}s/{repo.full_name}/discussions/{found.num}"},
        **({"changes": {"base": f"refs/heads/{DEFAULT_BRANCH}"}} if found.is_pull else {}),
    }


def _comment(web: str, event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "author": {"id": event.author},
        "hidden": False,
        "content": event.data["latest"]["raw"],
        "url": {"web": f"{web}#{event.id}"},
    }
