"""Lists across repos: search, and what somebody owns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub.account import can_read, require_account
from jobshelf.hub.call import Call, route
from jobshelf.hub.paging import paged
from jobshelf.hub.refusal import Refusal, forbidden
from jobshelf.hub.repos import DEFAULT_BRANCH, Repo
from jobshelf.hub.routes.repos import described_repo

_FULL = ("siblings", "cardData", "usedStorage", "sha")


def search(call: Call) -> Response:
    """The repos of a kind that the caller may see and that fit: newest first, or by `sort`."""
    found = [_described(call, repo) for repo in call.core.repos.all(call.kind).values() if _is_asked_for(call, repo)]
    tags = set(call.query.getlist("filter"))
    found = [item for item in found if tags <= set(item["tags"])]
    order = call.query.get("sort", "")
    if order in ("lastModified", "createdAt"):
        found.sort(key=lambda item: item[order], reverse=True)
    if not call.flag("full") and not call.query.getlist("expand"):
        found = [{key: value for key, value in item.items() if key not in _FULL} for item in found]
    return paged(call, found)


def owned(call: Call) -> Response:
    """Everything in the caller's namespace, or in an organisation of theirs, with the room that it takes."""
    account = require_account(call.caller)
    namespace = call.params.get("namespace", account.name)
    if account.role_in(namespace) is None:
        raise forbidden(f"You are no member of '{namespace}'")
    items = sorted(_storage(call, namespace), key=lambda item: item["storage"], reverse=True)
    total = sum(item["storage"] for item in items) or 1
    return paged(call, [{**item, "storagePercent": 100 * item["storage"] / total} for item in items])


def user(call: Call) -> Response:
    """A user, in short."""
    name = call.params["name"]
    if not call.core.accounts.is_user(name):
        raise Refusal(404, f"User not found: {name}")
    return JSONResponse({"user": name, "fullname": name, "avatarUrl": "", "type": "user", **_counts(call, name)})


def organisation(call: Call) -> Response:
    """An organisation, in short."""
    name = _organisation(call)
    users = len(call.core.accounts.members(name))
    return JSONResponse({"name": name, "fullname": name, "avatarUrl": "", "numUsers": users, **_counts(call, name)})


def members(call: Call) -> Response:
    """The users of an organisation."""
    found = call.core.accounts.members(_organisation(call))
    return paged(
        call, [{"user": name, "fullname": name, "avatarUrl": "", "role": role} for name, role in found.items()]
    )


def _organisation(call: Call) -> str:
    name = call.params["name"]
    if not call.core.accounts.is_organisation(name):
        raise Refusal(404, f"Organization not found: {name}")
    return name


def _is_asked_for(call: Call, repo: Repo) -> bool:
    author, gated = call.query.get("author", repo.namespace), call.query.get("gated")
    return (
        can_read(call.caller, namespace=repo.namespace, private=repo.private, entity=repo.entity)
        and repo.namespace == author
        and call.query.get("search", "").lower() in repo.full_name.lower()
        and (gated is None or call.flag("gated") == bool(repo.gated))
    )


def _described(call: Call, repo: Repo) -> dict[str, Any]:
    return described_repo(call, repo, call.core.repos.resolve(repo, DEFAULT_BRANCH))


def _storage(call: Call, namespace: str) -> Iterator[dict[str, Any]]:
    for kind in ("model", "dataset", "space"):
        for repo in call.core.repos.all(kind).values():
            if repo.namespace == namespace:
                described = _described(call, repo)
                yield _stored(repo.full_name, kind, described["lastModified"], repo.private, described["usedStorage"])
    for bucket in call.core.buckets.of(namespace):
        yield _stored(bucket.full_name, "bucket", bucket.created_at, bucket.private, bucket.size)


def _stored(name: str, kind: str, updated_at: str, private: bool, size: int) -> dict[str, Any]:
    visibility = "private" if private else "public"
    return {"id": name, "type": kind, "updatedAt": updated_at, "visibility": visibility, "storage": size}


def _counts(call: Call, namespace: str) -> dict[str, int]:
    return {
        f"num{kind.title()}s": sum(repo.namespace == namespace for repo in call.core.repos.all(kind).values())
        for kind in ("model", "dataset", "space")
    }


ROUTES = [
    route("/api/settings/repositories", owned, "GET"),
    route("/api/organizations/{namespace}/settings/repositories", owned, "GET"),
    route("/api/users/{name}/overview", user, "GET"),
    route("/api/organizations/{name}/overview", organisation, "GET"),
    route("/api/organizations/{name}/members", members, "GET"),
    route("/api/{kinds}", search, "GET"),
]
