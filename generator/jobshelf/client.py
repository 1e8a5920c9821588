"""The Hub's client, opened in one place, and what its errors mean to a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobshelf.errors import BadAnswer, EnvironmentFault, InputError, JobshelfError, NoCredit, NotPersisted, TokenError
from jobshelf.forms import ENDPOINT

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from jobshelf.scripts.download import Download

LOG_IN = "hf auth login, or set HF_TOKEN (a token with write permission: https://huggingface.co/settings/tokens)"

_RESOURCE = "HF_OIDC_RESOURCE"
_PUBLISHERS = "https://huggingface.co/docs/hub/trusted-publishers"

# So long a silence ends a call: a large commit keeps the Hub busy for a while before it answers.
SILENCE_SECONDS = 120.0


def endpoint() -> str:
    """Return the Hub that the environment names: `HF_ENDPOINT`, else the public one."""
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def read_url(url: str) -> Download:
    """Return the script at a URL; one that the environment's Hub shows to the owner of a token only, with that token.

    Raises what `download` and `open_client` raise.
    """
    from jobshelf.scripts.download import download

    return download(url, endpoint=endpoint(), token=lambda: open_client(token_needed=False).token or None)


def open_client(*, token_needed: bool = True) -> HfApi:
    """Return a client for the environment's Hub with the token of the login or the environment.

    Where the environment is keyless (`HF_OIDC_RESOURCE`, see https://huggingface.co/docs/hub/trusted-publishers) the
    client's library gets a token for an hour from the Hub. Raises TokenError when there is none, or the Hub gives none.
    """
    # The client warns on every Jobs call that the call may change one day: nothing that our user can act on.
    os.environ.setdefault("HF_HUB_DISABLE_EXPERIMENTAL_WARNING", "1")
    from huggingface_hub import HfApi, get_token, set_client_factory

    set_client_factory(_patient_client)
    with explained(HfApi(endpoint=endpoint(), token=False)):
        token = get_token()
    if not token and token_needed:
        raise TokenError("no Hub token found", fix=LOG_IN)
    return HfApi(endpoint=endpoint(), token=token or False, library_name="jobshelf")


def is_keyless() -> bool:
    """Whether the token comes from a CI's identity, made for one repository."""
    return bool(os.environ.get(_RESOURCE))


def for_repo(client: HfApi, resource: str) -> HfApi:
    """Return a client that may write to `resource` (`spaces/owner/name`): the same, unless the environment is keyless."""
    if not is_keyless() or os.environ[_RESOURCE] == resource:
        return client
    before = os.environ[_RESOURCE]
    os.environ[_RESOURCE] = resource
    try:
        return open_client()
    finally:
        os.environ[_RESOURCE] = before


def _patient_client() -> httpx2.Client:
    """Return an HTTP client like the Hub library's own, which neither waits for ever nor gives up at once."""
    from huggingface_hub.utils._http import hf_request_event_hook

    from jobshelf.session import Session

    hooks = {"request": [hf_request_event_hook, _end_the_wait]}
    return Session(event_hooks=hooks, follow_redirects=True, timeout=None)


def _end_the_wait(request: httpx2.Request) -> None:
    """Give a request that has no timeout the user's own `HF_HUB_DOWNLOAD_TIMEOUT`, else `SILENCE_SECONDS`."""
    asked = request.extensions.get("timeout") or {}
    if all(value is None for value in asked.values()):
        told = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        seconds = float(told) if told.isdecimal() and int(told) else SILENCE_SECONDS
        request.extensions = {
            **request.extensions,
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds),
        }


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
    """Turn what the Hub's client raises into our errors: token 3, missing repository 4, network and Hub 5.

    What is done with an answer belongs in here too: an answer of another form than the client's is the Hub's fault.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OIDCError

    try:
        yield
    except OIDCError as error:
        message = f"{_RESOURCE} asks for a keyless token, and this environment has no identity to show"
        fix = f"give the job 'permissions: id-token: write', or unset {_RESOURCE} ({_PUBLISHERS})"
        raise TokenError(message, fix=fix) from error
    except HFValidationError as error:
        raise InputError(f"not a name the Hub takes ({error})", fix="use owner/name") from error
    except HfHubHTTPError as error:
        raise _explain(error, client.endpoint) from error
    except (httpx2.TransportError, ConnectionError, TimeoutError) as error:
        connected = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)
        what = f"gave no whole answer to {_asked(error)}" if connected and _asked(error) else "cannot be reached"
        message = f"the Hub at {client.endpoint} {what} ({type(error).__name__})"
        raise EnvironmentFault(message, fix="check the network and HF_ENDPOINT, then run the same command") from error
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        httpx2.InvalidURL,
    ) as error:
        found = " ".join(str(error).split())[:200]
        message = f"the Hub at {client.endpoint} gave an answer of an unknown form ({type(error).__name__}: {found})"
        raise BadAnswer(message, fix="check HF_ENDPOINT, or update with: uv tool upgrade jobshelf") from error


@contextmanager
def proven(client: HfApi, done: str, *, fix: str) -> Iterator[None]:
    """Turn a Hub that fails after a write into NotPersisted: the Hub said `done`, but nobody has seen it there."""
    try:
        with explained(client):
            yield
    except EnvironmentFault as error:
        raise NotPersisted(f"{done}, but then {error.message}", fix=fix) from error


def _explain(error: HfHubHTTPError, hub: str) -> JobshelfError:
    status = error.response.status_code
    said = error.response.headers.get("X-Error-Message") or error.server_message or f"status {status}"
    said = said.strip().rstrip(".").replace("\n", " ")
    if is_keyless() and status in (401, 403):
        fix = f"name this workflow as a trusted publisher of that repository ({_PUBLISHERS})"
        return TokenError(f"{hub} gives this workflow no right to {os.environ[_RESOURCE]} ({said})", fix=fix)
    if status == 401:
        return TokenError(f"{hub} does not accept the token, or the repository is hidden from it ({said})", fix=LOG_IN)
    if status == 400:
        return InputError(f"{hub} refuses the request ({said})", fix="change what it names, then run the command again")
    if status == 402:
        fix = "add credit: https://huggingface.co/settings/billing"
        return NoCredit(f"{hub} starts no Job without credit ({said})", fix=fix)
    if status == 403:
        return TokenError(f"the token may not do this on {hub} ({said})", fix=LOG_IN)
    if status == 404:
        return InputError(f"not found on {hub} ({said})", fix="check the name, and that the token may see it")
    if status == 429:
        wait = error.response.headers.get("Retry-After", "60")
        message = f"{hub} answered 429 to {_asked(error)}: too many requests ({said})"
        return EnvironmentFault(message, fix=f"wait {wait} s, then run the same command")
    if status == 507:
        return EnvironmentFault(f"{hub} has no space left ({said})", fix="free space there, then run the same command")
    message = f"{hub} answered {status} to {_asked(error)} ({said})"
    return EnvironmentFault(message, fix="wait a minute, then run the same command")


def _asked(error: BaseException) -> str:
    """Return the method and path of the request that failed, "" when the error does not say."""
    try:
        request = getattr(error, "response", error).request
    except (AttributeError, RuntimeError):  # of another library; or the error was made without its request
        return ""
    return f"{request.method} {request.url.path}"
