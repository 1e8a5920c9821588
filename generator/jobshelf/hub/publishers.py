"""Trusted publishers: CI workflows that may write to a repo without a token of anybody.

A workflow proves what it is by an id token (a JWT) of its CI provider and gets a Hub token for an hour
(RFC 8693; https://huggingface.co/docs/hub/trusted-publishers).
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobshelf.hub.account import Account, Scope
from jobshelf.hub.refusal import Refusal, bad_request, forbidden
from jobshelf.hub.repos import Kind

TOKEN_SECONDS = 3600
_KINDS: Mapping[str, Kind] = {"datasets": "dataset", "spaces": "space"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who may write to `resource` (`datasets/acme/scripts`): whoever's id token has all these claims."""

    resource: str
    claims: Mapping[str, str]


class Publishers:
    """The trusted publishers of one Hub; kept in memory."""

    def __init__(self) -> None:
        self._trusted: list[Publisher] = []

    def trust(self, publisher: Publisher) -> None:
        """Trust a publisher from now on."""
        self._trusted.append(publisher)

    def account(self, id_token: str, resource: str, *, audiences: set[str]) -> Account:
        """An account that may read and write `resource`, and nothing else.

        The signature of the id token is not checked: on loopback there is no provider whose keys could be asked for. Raises
        Refusal: 400 for what is no JWT, 401 for one that has expired or is for somebody else, 403 when nobody trusts it.
        """
        claims = parse_claims(id_token)
        audience = claims.get("aud")
        if not audiences & set(audience if isinstance(audience, list) else [audience]):
            raise Refusal(401, f"The id token is not for this Hub: its audience is {str(audience)[:200]!r}")
        expires = claims.get("exp", 0)
        if not isinstance(expires, int | float) or expires < time.time():
            raise Refusal(401, "The id token has expired")
        if not any(_fits(publisher, resource, claims) for publisher in self._trusted):
            raise forbidden(f"No trusted publisher of '{resource[:200]}' has the claims of this id token")
        namespace, entity = _named(resource)
        scope = Scope(entity=entity, permissions=("repo.content.read", "repo.write"))
        return Account(name=namespace, token=f"hf_jwt_{secrets.token_urlsafe(32)}", role="fineGrained", scopes=(scope,))


def parse_claims(id_token: str) -> Mapping[str, Any]:
    """The claims in a JWT. Raises Refusal (400)."""
    parts = id_token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, binascii.Error, ValueError, RecursionError) as error:
        raise bad_request("'subject_token' is not a JSON web token") from error
    if not isinstance(claims, dict):
        raise bad_request("'subject_token' is not a JSON web token")
    return claims


def _fits(publisher: Publisher, resource: str, claims: Mapping[str, Any]) -> bool:
    return publisher.resource == resource and all(claims.get(key) == value for key, value in publisher.claims.items())


def _named(resource: str) -> tuple[str, str]:
    """The namespace of a resource, and what a token's scope calls it."""
    kinds, _, rest = resource.partition("/")
    kind: Kind = _KINDS.get(kinds, "model")
    full_name = rest if kinds in _KINDS else resource
    return full_name.partition("/")[0], f"{kind}/{full_name}"
