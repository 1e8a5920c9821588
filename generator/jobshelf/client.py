"""The Hub's client, opened in one place, and what its errors mean to a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobshelf.errors import EnvironmentFault, InputError, JobshelfError, TokenError
from jobshelf.forms import ENDPOINT

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

LOG_IN = "hf auth login, or set HF_TOKEN (a token with write permission: https://huggingface.co/settings/tokens)"


def endpoint() -> str:
    """Return the Hub that the environment names: `HF_ENDPOINT`, else the public one."""
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def open_client() -> HfApi:
    """Return a client for the environment's Hub with the token of the login or the environment.

    Raises TokenError when there is none.
    """
    # The client warns on every Jobs call that the call may change one day: nothing that our user can act on.
    os.environ.setdefault("HF_HUB_DISABLE_EXPERIMENTAL_WARNING", "1")
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if not token:
        raise TokenError("no Hub token found", fix=LOG_IN)
    return HfApi(endpoint=endpoint(), token=token, library_name="jobshelf")


def require_write(client: HfApi, namespace: str) -> None:
    """Raise TokenError unless the client's token is valid, may write, and its owner may write to `namespace`.

    A fine-grained token does not say where it may write; there the Hub's own answer decides.
    """
    with explained(client):
        who = client.whoami(cache=True)
    role = who.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise TokenError(f"the token of '{who['name']}' is read-only", fix=LOG_IN)
    known = {who["name"], *(organisation["name"] for organisation in who.get("orgs", ()))}
    if namespace not in known:
        message = f"'{who['name']}' is neither '{namespace}' nor a member of it"
        raise TokenError(message, fix=f"publish to your own: --repo {who['name']}/<name>")


@contextmanager
def explained(client: HfApi) -> Iterator[None]:
    """Turn what the Hub's client raises into our errors: token 3, missing repository 4, network and Hub 5."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise InputError(f"not a name the Hub takes ({error})", fix="use owner/name") from error
    except HfHubHTTPError as error:
        raise _explain(error, client.endpoint) from error
    except (httpx2.TransportError, ConnectionError, TimeoutError) as error:
        message = f"the Hub at {client.endpoint} cannot be reached ({type(error).__name__})"
        raise EnvironmentFault(message, fix="check the network and HF_ENDPOINT, then run the same command") from error


def _explain(error: HfHubHTTPError, hub: str) -> JobshelfError:
    status = error.response.status_code
    said = error.response.headers.get("X-Error-Message") or error.server_message or f"status {status}"
    said = said.strip().rstrip(".").replace("\n", " ")
    if status == 401:
        return TokenError(f"{hub} does not accept the token, or the repository is hidden from it ({said})", fix=LOG_IN)
    if status == 403:
        return TokenError(f"the token may not do this on {hub} ({said})", fix=LOG_IN)
    if status == 404:
        return InputError(f"not found on {hub} ({said})", fix="check the name, and that the token may see it")
    if status == 507:
        return EnvironmentFault(f"{hub} has no space left ({said})", fix="free space there, then run the same command")
    return EnvironmentFault(f"{hub} answered {status} ({said})", fix="wait a minute, then run the same command")
