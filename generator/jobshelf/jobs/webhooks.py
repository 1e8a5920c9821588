"""Scripts that start when something changes on the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jobshelf.client import explained
from jobshelf.errors import InputError, TokenError, UsageError
from jobshelf.jobs.order import Order, find_secrets, send_files
from jobshelf.jobs.preflight import Checked
from jobshelf.jobs.submit import post

if TYPE_CHECKING:
    from huggingface_hub import HfApi, WebhookInfo

DOMAINS = ("repo", "discussion")
_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
_OWNERS = {"users": "user", "orgs": "org"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What starts the script: events of `domains` on the `name` of this `kind` (user, org, dataset, model, space)."""

    kind: str
    name: str
    domains: tuple[str, ...]

    def covers(self, repo: str) -> bool:
        """Whether a change of the repository `repo` is among the events."""
        return repo == self.name or (self.kind in _OWNERS.values() and repo.partition("/")[0] == self.name)


def find_trigger(on: str, domains: str, client: HfApi) -> Trigger:
    """Return what `--on` and `--domains` name: `user/ds`, `datasets/user/ds`, `user/`, `org/` or `orgs/name/`.

    Raises UsageError for what can be meant in more than one way or in none, InputError for a repository that is not there.
    """
    wanted = tuple(dict.fromkeys(word.strip() for word in domains.split(",") if word.strip()))
    if not wanted or not set(wanted) <= set(DOMAINS):
        raise UsageError(
            f"--domains {domains!r} is none of {', '.join(DOMAINS)}", fix="write --domains repo,discussion"
        )
    first, _, rest = on.partition("/")
    if on.endswith("/"):
        kind, name = _owner(first, rest.strip("/"), client)
    elif first in _KINDS and rest.count("/") == 1:
        kind, name = _KINDS[first], rest
    elif on.count("/") == 1 and first and rest:
        kind, name = _repository(on, client), on
    else:
        raise UsageError(
            f"--on {on!r} names nothing to watch", fix="write user/dataset, models/user/name, user/ or org/"
        )
    return Trigger(kind=kind, name=name, domains=wanted)


def create(
    order: Order,
    trigger: Trigger,
    checked: Checked,
    client: HfApi,
    *,
    outputs: Sequence[str] = (),
    secret_from: str | None = None,
) -> WebhookInfo:
    """Make the webhook and return it. Its Job gets the order's secrets anew, and `secret_from` names what signs events.

    The Hub copies a webhook's Job from one that was started: one is, without any secret, and ended at once. Raises
    UsageError when the script's own result would start it again, TokenError when a secret is not set here.
    """
    for output in outputs:
        if trigger.covers(output):
            message = f"the script writes to {output}, which is watched: each run would start the next"
            raise UsageError(message, fix="watch one repository that the script only reads, or name another output")
    secrets, signature = find_secrets(order.secrets, client), _signature(secret_from)
    source = post(send_files(replace(order, secrets=()), client, checked.namespace), client)
    with explained(client):
        try:
            return client.create_webhook(
                job_id=source.id,
                watched=[{"type": trigger.kind, "name": trigger.name}],
                domains=list(trigger.domains),
                secret=signature,
                secrets=secrets or None,
            )
        finally:
            client.cancel_job(job_id=source.id, namespace=checked.namespace)


def list_all(client: HfApi) -> list[WebhookInfo]:
    """Return the user's webhooks."""
    with explained(client):
        return list(client.list_webhooks())


def delete(client: HfApi, webhook_id: str) -> None:
    """Remove a webhook; Jobs that it started stay. Raises InputError when there is none."""
    with explained(client):
        client.delete_webhook(webhook_id)


def row(webhook: WebhookInfo) -> tuple[str, str, str, str]:
    """Return what a list shows of a webhook: id, what it watches, which events, what they start."""
    watched = ", ".join(f"{item.type} {item.name}" for item in webhook.watched)
    name = (webhook.job.labels or {}).get("name", "a Job") if webhook.job else ""
    return webhook.id, watched, ",".join(webhook.domains), webhook.url or name


def _owner(first: str, rest: str, client: HfApi) -> tuple[str, str]:
    if first in _OWNERS and rest:
        return _OWNERS[first], rest
    with explained(client):
        who: Mapping[str, Any] = client.whoami(cache=True)
    if first == who["name"]:
        return "user", first
    if first in {organisation["name"] for organisation in who.get("orgs", ())}:
        return "org", first
    raise UsageError(
        f"'{first}' is neither you nor an organisation of yours", fix=f"write users/{first}/ or orgs/{first}/"
    )


def _repository(name: str, client: HfApi) -> str:
    with explained(client):
        found = [kind for kind in _KINDS.values() if client.repo_exists(name, repo_type=kind)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"there is no repository {name} that this token may see", fix="check the name")
    choices = " or ".join(f"{kind}s/{name}" for kind in found)
    raise UsageError(f"{name} is the name of a {' and of a '.join(found)}", fix=f"write {choices}")


def _signature(variable: str | None) -> str | None:
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise TokenError(f"the webhook's secret {variable} is not set here", fix=f"export {variable}=...")
    return value
