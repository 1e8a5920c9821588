"""The token exchange of trusted publishers (RFC 8693)."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from jobshelf.hub.call import Call, route, take
from jobshelf.hub.publishers import TOKEN_SECONDS
from jobshelf.hub.refusal import not_implemented

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 a type, not a token
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 a type, not a token


def exchange(call: Call) -> Response:
    """A CI's id token for a Hub token that holds for an hour and one repo."""
    payload = call.json()
    asked = (take(payload, "grant_type", str), take(payload, "subject_token_type", str))
    if asked != (_GRANT, _ID_TOKEN):
        raise not_implemented(f"the OAuth grant '{asked[0][:80]}' of a '{asked[1][:80]}'")
    account = call.core.publishers.account(
        take(payload, "subject_token", str),
        take(payload, "resource", str),
        audiences={call.core.endpoint, call.core.alias, call.origin},
    )
    call.core.accounts.admit(account, seconds=TOKEN_SECONDS)
    return JSONResponse(
        {
            "access_token": account.token,
            "token_type": "bearer",
            "expires_in": TOKEN_SECONDS,
            "issued_token_type": _ACCESS_TOKEN,
            "scope": " ".join(account.scopes[0].permissions),
        }
    )


ROUTES = [route("/oauth/token", exchange, "POST")]
