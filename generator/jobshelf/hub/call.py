"""One HTTP call, parsed: what a route's handler gets."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobshelf.hub.account import Account, Right, require_account, require_token, require_write
from jobshelf.hub.core import Core
from jobshelf.hub.lookup import readable_repo, require_repo_write
from jobshelf.hub.names import repo_name
from jobshelf.hub.refusal import bad_request, not_implemented
from jobshelf.hub.repos import PULLS, Kind, Repo

_KINDS: Mapping[str, Kind] = {"models": "model", "datasets": "dataset", "spaces": "space"}
Value = TypeVar("Value")
Handler = Callable[["Call"], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request with its body read and its caller known.

    `params` are the parts of the path, each unquoted once: routing works on the raw path, so `feat%2Fx` is one part.
    `origin` is the scheme and host that the client used.
    """

    core: Core
    method: str
    path: str
    params: Mapping[str, str]
    query: QueryParams
    headers: Headers
    origin: str
    caller: Account | None
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object (an empty body is an empty one). Raises Refusal (400)."""
        return json_object(self.body) if self.body else {}

    def lines(self) -> list[dict[str, Any]]:
        """The body as JSON objects, one a line (NDJSON). Raises Refusal (400)."""
        return [json_object(line) for line in self.body.splitlines() if line.strip()]

    def flag(self, name: str) -> bool:
        """Whether a query parameter says yes."""
        return self.query.get(name, "").lower() in {"true", "1"}

    def readable_repo(self) -> Repo:
        """The repo that the path names. Raises Refusal when it is missing or hidden from the caller."""
        return readable_repo(self, self.kind, self.params["namespace"], self.params["name"])

    def writable_repo(self, action: str) -> Repo:
        """The repo that the path names. Raises Refusal when the caller may not see it, or not change it."""
        repo = self.readable_repo()
        require_repo_write(self.caller, repo, action)
        return repo

    def contributable_repo(self, action: str) -> Repo:
        """The repo that the path names, for who may at least open a pull request there. Raises Refusal."""
        repo = self.readable_repo()
        writes = self.caller and self.caller.holds("repo.write", namespace=repo.namespace, entity=repo.entity)
        right: Right = "repo.write" if writes else "discussion.write"
        require_token(self.caller, namespace=repo.namespace, action=action, right=right, entity=repo.entity)
        return repo

    def committable_repo(self) -> Repo:
        """The repo to whose `revision` the caller may commit: anybody to a new pull request, its author to an old one.

        Raises Refusal when the caller may not see it, or not change it.
        """
        action, revision = "write to a repo", self.params["revision"]
        if self.flag("create_pr"):
            return self.contributable_repo(action)
        num = revision.removeprefix(PULLS)
        if num == revision or not (num.isascii() and num.isdigit() and len(num) < 10):
            return self.writable_repo(action)
        repo = self.readable_repo()
        is_author = self.caller and self.core.discussions.get(repo, int(num)).author == self.caller.name
        return self.contributable_repo(action) if is_author else self.writable_repo(action)

    @property
    def kind(self) -> Kind:
        """The repo type that the path names; models need no prefix. Raises Refusal (501) for one that is not here."""
        kinds = self.params.get("kinds", "models")
        if kinds not in _KINDS:
            raise not_implemented(f"{self.method} {self.path}")
        return _KINDS[kinds]


def new_namespace(call: Call, text: str | None, action: str) -> str:
    """The namespace in which the caller creates something: their own when none is given. Raises Refusal (400/401/403)."""
    namespace = repo_name(text) if text else require_account(call.caller).name
    require_write(call.caller, namespace=namespace, action=action)
    return namespace


def route(path: str, handler: Handler, *methods: str) -> Route:
    """A Starlette route whose handler is a plain function, run in a thread, of one Call."""

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(handler, parse(request, await request.body()))

    endpoint.__name__ = handler.__name__
    return Route(path, endpoint, methods=list(methods))


def parse(request: Request, body: bytes) -> Call:
    """Make a Call of a Starlette request. Raises Refusal: 400 for a path that is not UTF-8, 401 for a bad token."""
    core: Core = request.app.state.core
    caller = core.accounts.identify(request.headers.get("authorization"))
    if not request.scope["path"].startswith("/_"):
        core.limits.requests.count(caller.name if caller else request.client.host if request.client else "")
    return Call(
        core=core,
        method=request.method,
        path=request.scope["path"],
        params={key: _unquoted(value) for key, value in request.path_params.items()},
        query=request.query_params,
        headers=request.headers,
        origin=core.origin(request.headers.get("host", "")),
        caller=caller,
        body=body,
    )


def json_object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises Refusal (400) for anything else."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"Malformed JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise bad_request(f"Malformed JSON: expected an object, found {type(parsed).__name__}")
    return parsed


def take(source: Mapping[str, Any], key: str, kind: type[Value]) -> Value:
    """Return `source[key]`. Raises Refusal (400) when it is missing or of another type."""
    value = source.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found = "nothing" if value is None else type(value).__name__
        raise bad_request(f"'{key}' must be {kind.__name__}, found {found}")
    return value


def take_or(source: Mapping[str, Any], key: str, default: Value) -> Value:
    """Return `source[key]`, or `default` when it is missing or null. Raises Refusal (400) when of another type."""
    return default if source.get(key) is None else take(source, key, type(default))


def only(payload: Mapping[str, Any], known: Collection[str], what: str) -> None:
    """Raise Refusal (501) when the payload asks for something that is not done here, instead of passing it over."""
    for name in sorted(payload):
        if name not in known and payload[name] not in (None, False):
            raise not_implemented(f"{what} '{name[:80]}'")


def is_private(payload: Mapping[str, Any]) -> bool:
    """Whether a payload asks for something private. Raises Refusal (501) for a visibility that is not here."""
    visibility = take_or(payload, "visibility", "private" if take_or(payload, "private", False) else "public")
    if visibility not in {"private", "public"}:
        raise not_implemented(f"the visibility '{visibility[:80]}'")
    return visibility == "private"


def _unquoted(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise bad_request(f"Path is not UTF-8: {part[:80]}") from error
