"""Webhooks: create, change, list, switch off and on, delete."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub import clock
from jobshelf.hub.account import Account, require_token, require_write
from jobshelf.hub.call import Call, only, route, take, take_or
from jobshelf.hub.jobs import Job
from jobshelf.hub.notifier import loopback_url
from jobshelf.hub.refusal import Refusal, bad_request, not_implemented
from jobshelf.hub.routes.specs import described_spec, texts
from jobshelf.hub.webhooks import Webhook

_KNOWN = {"watched", "domains", "secret", "url", "jobSourceId", "secrets"}
_DOMAINS = ("repo", "discussion")
_WATCHABLE = ("user", "org", "model", "dataset", "space")


def create(call: Call) -> Response:
    """Create a webhook."""
    account, payload = _caller(call), call.json()
    only(payload, _KNOWN, "the webhook setting")
    fresh = Webhook(
        id=secrets.token_hex(12),
        owner=account.name,
        watched=_watched(take(payload, "watched", list)),
        domains=_DOMAINS,
        url=None,
        spec=None,
        labels={},
        namespace=account.name,
        secret=None,
        disabled=False,
        created_at=clock.now(),
    )
    made = _changed(call, fresh, payload)
    if made.url is None and made.spec is None:
        raise bad_request("A webhook has a 'url' or a 'jobSourceId'")
    return _stored(call, made, payload)


def update(call: Call) -> Response:
    """Change what is given, keep the rest."""
    webhook, payload = _find(call), call.json()
    only(payload, _KNOWN, "the webhook setting")
    watched = take_or(payload, "watched", [])
    kept = replace(webhook, watched=_watched(watched)) if watched else webhook
    return _stored(call, _changed(call, kept, payload), payload)


def listed(call: Call) -> Response:
    """The caller's webhooks, oldest first."""
    return JSONResponse([_described(webhook) for webhook in call.core.webhooks.of(_caller(call).name)])


def inspect(call: Call) -> Response:
    """Describe a webhook."""
    return JSONResponse({"webhook": _described(_find(call))})


def switch(call: Call) -> Response:
    """Switch a webhook off (`/disable`) or on (`/enable`)."""
    verb = call.params["verb"]
    if verb not in {"enable", "disable"}:
        raise not_implemented(f"{call.method} {call.path}")
    changed = call.core.webhooks.set_disabled(_find(call), disabled=verb == "disable")
    return JSONResponse({"webhook": _described(changed)})


def delete(call: Call) -> Response:
    """Remove a webhook."""
    webhook = _find(call)
    call.core.webhooks.delete(webhook)
    call.core.vault.forget(webhook.id)
    return JSONResponse({})


def _caller(call: Call) -> Account:
    caller = call.caller
    namespace = caller.name if caller else ""
    return require_token(caller, namespace=namespace, action="use webhooks", right="user.webhooks.write")


def _find(call: Call) -> Webhook:
    webhook = call.core.webhooks.find(_caller(call).name, call.params["webhook"])
    if webhook is None:
        raise Refusal(404, f"Webhook not found: {call.params['webhook']}")
    return webhook


def _changed(call: Call, webhook: Webhook, payload: Mapping[str, Any]) -> Webhook:
    """The webhook with the target, domains and secrets that the payload names."""
    url, source = take_or(payload, "url", ""), take_or(payload, "jobSourceId", "")
    if url and source:
        raise bad_request("A webhook has a 'url' or a 'jobSourceId', not both")
    if payload.get("secrets") is not None and not source:
        raise bad_request("'secrets' are for the Job of a webhook: they need a 'jobSourceId'")
    if url:
        webhook = replace(webhook, url=loopback_url(url), spec=None)
    if source:
        job = _source(call, source)
        names = tuple(sorted(_secrets(call, webhook, payload)))
        spec = replace(job.spec, secret_names=names)
        webhook = replace(webhook, url=None, spec=spec, labels=job.labels, namespace=job.namespace)
    domains = tuple(str(domain) for domain in take_or(payload, "domains", list(webhook.domains)))
    if not domains or not set(domains) <= set(_DOMAINS):
        raise bad_request(f"'domains' must be some of {', '.join(_DOMAINS)}")
    return replace(webhook, domains=domains, secret=take_or(payload, "secret", webhook.secret or "") or None)


def _secrets(call: Call, webhook: Webhook, payload: Mapping[str, Any]) -> dict[str, str]:
    """The secrets for the webhook's Job: those it has, those given in their place, less those given empty.

    The source Job's own are not among them.
    """
    kept = call.core.vault.of(webhook.id, webhook.spec.secret_names) if webhook.spec else {}
    return {name: value for name, value in {**kept, **texts(payload, "secrets")}.items() if value}


def _stored(call: Call, webhook: Webhook, payload: Mapping[str, Any]) -> Response:
    if take_or(payload, "jobSourceId", ""):
        before = call.core.webhooks.find(webhook.owner, webhook.id) or replace(webhook, spec=None)
        call.core.vault.keep(webhook.id, _secrets(call, before, payload))
    call.core.webhooks.put(webhook)
    return JSONResponse({"webhook": _described(webhook)})


def _source(call: Call, job_id: str) -> Job:
    account = _caller(call)
    found = [job for namespace in account.namespaces if (job := call.core.jobs.find(namespace, job_id))]
    if not found:
        raise Refusal(404, f"Job not found: {job_id}")
    require_write(account, namespace=found[0].namespace, action="run a Job", right="job.write")
    return found[0]


def _watched(items: list[Any]) -> tuple[tuple[str, str], ...]:
    if not items or not all(isinstance(item, dict) for item in items):
        raise bad_request("'watched' must be a list of objects with 'type' and 'name'")
    watched = tuple((take(item, "type", str), take(item, "name", str)) for item in items)
    for kind, _ in watched:
        if kind not in _WATCHABLE:
            raise not_implemented(f"watching a '{kind[:40]}': expected one of {', '.join(_WATCHABLE)}")
    return watched


def _described(webhook: Webhook) -> dict[str, Any]:
    target = {"url": webhook.url} if webhook.url else {}
    job = {"job": described_spec(webhook.spec, webhook.labels)} if webhook.spec else {}
    return {
        "id": webhook.id,
        "watched": [{"type": kind, "name": name} for kind, name in webhook.watched],
        "domains": list(webhook.domains),
        "secret": webhook.secret,
        "disabled": webhook.disabled,
        **target,
        **job,
    }


_WEBHOOKS = "/api/settings/webhooks"
ROUTES = [
    route(_WEBHOOKS, create, "POST"),
    route(_WEBHOOKS, listed, "GET"),
    route(_WEBHOOKS + "/{webhook}", inspect, "GET"),
    route(_WEBHOOKS + "/{webhook}", update, "POST"),
    route(_WEBHOOKS + "/{webhook}", delete, "DELETE"),
    route(_WEBHOOKS + "/{webhook}/{verb}", switch, "POST"),
]
