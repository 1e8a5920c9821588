"""Who am I, and the calls that clients make on the side."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub.account import Account, Scope, require_account
from jobshelf.hub.call import Call, route, take, take_or
from jobshelf.hub.card import front_matter


def whoami(call: Call) -> Response:
    """The account behind the token."""
    account = require_account(call.caller)
    return JSONResponse(
        {
            "type": "user",
            "id": account.name,
            "name": account.name,
            "fullname": account.name,
            "isPro": False,
            "canPay": account.can_pay,
            "orgs": [
                {"type": "org", "id": org, "name": org, "roleInOrg": account.role_in(org), "canPay": True}
                for org in account.orgs
            ],
            "auth": {"type": "access_token", "accessToken": _described_token(account)},
        }
    )


def _described_token(account: Account) -> dict[str, Any]:
    token: dict[str, Any] = {"displayName": "jobshelf", "role": account.role}
    if account.role == "fineGrained":
        scoped = [{"entity": _entity(scope), "permissions": list(scope.permissions)} for scope in account.scopes]
        token["fineGrained"] = {"canReadGatedRepos": True, "global": list(account.permissions), "scoped": scoped}
    return token


def _entity(scope: Scope) -> dict[str, str]:
    kind, _, name = scope.entity.partition("/")
    return {"_id": scope.entity, "type": kind, "name": name}


def agent_harnesses(_: Call) -> Response:
    """A list that clients ask for once a day and keep: empty here."""
    return JSONResponse({"standardEnvVars": [], "harnesses": {}})


def validate_yaml(call: Call) -> Response:
    """Check a README's metadata before it is committed."""
    payload = call.json()
    take_or(payload, "repoType", "model")
    try:
        metadata = front_matter(take(payload, "content", str))
    except ValueError as error:
        return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
    missing = [] if metadata else [{"message": "empty or missing yaml metadata in repo card"}]
    return JSONResponse({"errors": [], "warnings": missing})


ROUTES = [
    route("/api/whoami-v2", whoami, "GET"),
    route("/api/agent-harnesses", agent_harnesses, "GET"),
    route("/api/validate-yaml", validate_yaml, "POST"),
]
