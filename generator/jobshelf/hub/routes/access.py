"""Gated repos: ask for access, answer the requests."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub.access import AccessRequest, access_status
from jobshelf.hub.account import require_account
from jobshelf.hub.call import Call, route, take, take_or
from jobshelf.hub.paging import paged
from jobshelf.hub.refusal import Refusal, bad_request
from jobshelf.hub.repos import Repo


def ask(call: Call) -> Response:
    """Ask for access to a gated repo, as the button on its page does."""
    repo, account = call.readable_repo(), require_account(call.caller)
    _require_gated(repo)
    return JSONResponse(_described(call.core.access.ask(repo, account.name)))


def listed(call: Call) -> Response:
    """The requests of one status."""
    repo = call.writable_repo("see access requests")
    requests = call.core.access.all(repo, access_status(call.params["status"]))
    return paged(call, [_described(request) for request in requests])


def handle(call: Call) -> Response:
    """Accept a request, reject it, or make it pending again."""
    repo, payload = call.writable_repo("answer access requests"), call.json()
    _require_gated(repo)
    user, request_id = take_or(payload, "user", ""), take_or(payload, "requestId", "")
    found = call.core.access.of(repo, user) if user else call.core.access.by_id(repo, request_id)
    call.core.access.handle(repo, found, access_status(take(payload, "status", str)))
    return JSONResponse({})


def grant(call: Call) -> Response:
    """Give access to a user who did not ask."""
    repo, user = call.writable_repo("grant access"), take(call.json(), "user", str)
    _require_gated(repo)
    if not call.core.accounts.is_user(user):
        raise Refusal(404, f"User not found: {user}")
    call.core.access.grant(repo, user)
    return JSONResponse({})


def _require_gated(repo: Repo) -> None:
    if not repo.gated:
        raise bad_request(f"{repo.full_name} is not gated")


def _described(request: AccessRequest) -> dict[str, Any]:
    return {
        "requestId": request.id,
        "user": {"user": request.user, "fullname": request.user, "email": None},
        "status": request.status,
        "timestamp": request.asked_at,
        "fields": None,
    }


_REPO = "/api/{kinds}/{namespace}/{name}"
ROUTES = [
    *(route(prefix + "/{namespace}/{name}/ask-access", ask, "POST") for prefix in ("/{kinds}", "")),
    route(_REPO + "/user-access-request/handle", handle, "POST"),
    route(_REPO + "/user-access-request/grant", grant, "POST"),
    route(_REPO + "/user-access-request/{status}", listed, "GET"),
]
