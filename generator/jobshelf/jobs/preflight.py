"""What can be known before money is spent: who pays, may the token do it, is the input there, what can it cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobshelf.client import LOG_IN, explained
from jobshelf.errors import InputError, NoCredit, TokenError, UsageError
from jobshelf.jobs.order import Order
from jobshelf.jobs.prices import Cost, read_cost
from jobshelf.jobs.roles import Roles

if TYPE_CHECKING:
    from huggingface_hub import HfApi

BILLING = "https://huggingface.co/settings/billing"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HF_PATH = re.compile(r"hf://(?:(?P<kind>datasets|models|spaces)/)?(?P<repo>[\w.-]+/[\w.-]+)(?:[@/].*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found out: the account that pays, what it can cost, and what a person should know."""

    namespace: str
    cost: Cost
    warnings: tuple[str, ...]


def check_order(order: Order, roles: Roles, client: HfApi, *, max_cost: float | None = None) -> Checked:
    """Return what is known of the Job before it is asked for; nothing is written anywhere.

    Raises TokenError, InputError, UsageError or EnvironmentFault for what would end it after it was paid for.
    """
    with explained(client):
        who = client.whoami(cache=True)
        namespace = order.namespace or who["name"]
        _require_payer(who, namespace)
        cost = read_cost(client, order.flavor, order.timeout, order.attempts)
        if max_cost is not None and cost.most > max_cost:
            fix = f"--timeout or --flavor for less, or --max-cost {cost.most:.2f}"
            raise UsageError(f"the Job may cost ${cost.most:.2f}, more than --max-cost {max_cost:g}", fix=fix)
        for output in roles.outputs:
            require_output(output, roles.output_kind, who, client)
        for kind, names in (("dataset", roles.inputs), ("model", roles.models)):
            for name in names:
                _require_source(name, kind, client)
        return Checked(namespace=namespace, cost=cost, warnings=tuple(_warnings(order, roles)))


def require_output(output: str, kind: str, who: Mapping[str, Any], client: HfApi) -> None:
    """Raise TokenError when the repository `output` of a `kind` exists and the token may not write to it, or it may not be made."""
    if not _REPO.fullmatch(output):
        return
    owner = output.partition("/")[0]
    if owner not in _namespaces(who):
        message = f"the output {output} belongs to '{owner}', and '{who['name']}' is no member of it"
        raise TokenError(message, fix=f"write to {who['name']}/{output.partition('/')[2]}, or use another token")
    if _exists(output, kind, client):
        with explained(client):
            client.auth_check(output, repo_type=kind, write=True)


def _require_payer(who: Mapping[str, Any], namespace: str) -> None:
    known = _namespaces(who)
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise TokenError(f"the token of '{who['name']}' is read-only, and cannot start Jobs", fix=LOG_IN)
    if namespace not in known:
        message = f"'{who['name']}' is neither '{namespace}' nor a member of it"
        raise TokenError(message, fix=f"--namespace {' or '.join(known)}")
    # absent on a Hub that does not tell; the answer to the Job itself then decides
    if known[namespace].get("canPay") is False:
        raise NoCredit(f"'{namespace}' has no credit, and Jobs are paid by the minute", fix=f"add some: {BILLING}")


def _namespaces(who: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {who["name"]: who, **{organisation["name"]: organisation for organisation in who.get("orgs", ())}}


def _require_source(name: str, kind: str, client: HfApi) -> None:
    path = _HF_PATH.fullmatch(name)
    if path is not None:
        name, kind = path["repo"], (path["kind"] or "models").removesuffix("s")
    if _REPO.fullmatch(name) and not _exists(name, kind, client):
        message = f"there is no {kind} {name} on {client.endpoint}, or this token may not see it"
        raise InputError(message, fix="check the name, or accept its terms on its page")


def _exists(name: str, kind: str, client: HfApi) -> bool:
    with explained(client):
        return bool(client.repo_exists(name, repo_type=kind))


def _warnings(order: Order, roles: Roles) -> Iterator[str]:
    if order.timeout is None:
        yield "no timeout is set: the Hub ends the Job after 30 minutes (--timeout 2h)"
    for output in roles.outputs:
        if output.startswith(("./", "../", "~")):
            yield f"the output {output} is a folder of the Job's machine and goes with it: name user/name instead"
    for name, content in order.files.items():
        if not isinstance(content, bytes):
            yield f"{content} is sent along; the Job finds it at /data/{name}"
