# block: token 1
"""The Hub token: found, validated, and checked against the namespace that will be written to, before any work.

Promises: missing, malformed, invalid, read-only and wrong namespace each stop with 3 and their own fix; an
unreachable Hub is 5, not 3; no part of a token is ever in a message, an argument, a URL or a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .exits import EXIT_TOKEN, Stop, one_line
from .retry import http_status, retry

TOKEN_MISTAKEN_NAMES = ("TOKEN", "HUGGINGFACE_TOKEN", "HF_API_TOKEN", "HUGGINGFACEHUB_API_TOKEN")


def find_token() -> str | None:
    """Return the token of the environment or of `hf auth login`, None when there is none; stop when it is malformed."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import OIDCError

    try:
        token = get_token()
    except OIDCError as error:
        message = f"the identity of this CI run could not be exchanged for a token: {one_line(error)}"
        raise Stop(EXIT_TOKEN, message, fix="check the trusted publisher, or unset HF_OIDC_RESOURCE") from error
    if token is None:
        return None
    if not token.isascii() or not token.isprintable() or any(char in token for char in " $\"'"):
        message = (
            "the Hub token has characters that no token has (HF_TOKEN not substituted, or pasted with its quotes?)"
        )
        raise Stop(EXIT_TOKEN, message, fix=token_advice())
    return token


def require_token(why: str) -> str:
    """Return the token; stop with 3 when there is none. `why` completes "no Hub token, needed to ..."."""
    token = find_token()
    if token is not None:
        return token
    mistaken = next((name for name in TOKEN_MISTAKEN_NAMES if os.environ.get(name)), None)
    hint = f" ({mistaken} is set, but the name that counts is HF_TOKEN)" if mistaken else ""
    raise Stop(EXIT_TOKEN, f"no Hub token, needed to {why}{hint}", fix=token_advice())


def require_write(target: str) -> str:
    """Return a token that may write to the repo `target` ("namespace/name"); stop with 3 when there is none."""
    token = require_token(f"write to {target}")
    account = who_am_i(token)
    refused = write_refusal(account, target)
    if refused:
        raise Stop(EXIT_TOKEN, refused[0], fix=refused[1])
    return token


def who_am_i(token: str) -> dict[str, Any]:
    """Return what the Hub says about the owner of `token`; stop with 3 when the Hub does not accept it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return retry(lambda: HfApi().whoami(token=token, cache=True), what="checking the token")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403}:
            raise
        message = "the Hub does not accept the token: it is invalid, expired or revoked"
        fix = f"make one at https://huggingface.co/settings/tokens, then {token_advice()}"
        raise Stop(EXIT_TOKEN, message, fix=fix) from error


def write_refusal(account: Mapping[str, Any], target: str) -> tuple[str, str] | None:
    """Return (message, fix) when the account of `whoami` may not write to `target`, else None.

    Roles are those of the Hub's whoami answer: "read", "write" and "fineGrained" for a token; "read", "contributor",
    "write" and "admin" for a member of an organisation.
    """
    access = account.get("auth", {}).get("accessToken", {})
    namespace, user = target.partition("/")[0], account.get("name", "")
    settings = "https://huggingface.co/settings/tokens"
    if access.get("role") == "read":
        return f"the token of {user} can only read, {target} needs write", f"make a write token at {settings}"
    organisations = {org.get("name"): org.get("roleInOrg") for org in account.get("orgs", [])}
    if namespace != user and namespace not in organisations:
        mine = ", ".join([user, *sorted(filter(None, organisations))])
        return f"{user} is not {namespace} and no member of it, {target} needs that", f"write to one of: {mine}"
    if organisations.get(namespace) == "read":
        return f"{user} can only read in {namespace}", f"ask an admin of {namespace} for the role write"
    if access.get("role") == "fineGrained" and not _scoped_write(access, target):
        return f"the fine-grained token of {user} does not cover {target}", f"add write access to it at {settings}"
    return None


def _scoped_write(access: Mapping[str, Any], target: str) -> bool:
    scopes = access.get("fineGrained")
    if scopes is None:
        return True  # an old answer without scopes: creating the repository will tell
    covering = {target, target.partition("/")[0]}
    return any(
        scope.get("entity", {}).get("name") in covering and "repo.write" in scope.get("permissions", [])
        for scope in scopes.get("scoped", [])
    )


def token_advice() -> str:
    """Return how to hand a token over where this process runs: in a Job, in CI, or on someone's machine."""
    if os.environ.get("JOB_ID"):
        return "start the Job with `--secrets HF_TOKEN`"
    if os.environ.get("CI"):
        return "set HF_TOKEN from a secret of the CI"
    return "run `hf auth login` on this machine; for a Job add `--secrets HF_TOKEN`"
