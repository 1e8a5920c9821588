"""The ASGI application: routes, errors, journal."""

from __future__ import annotations

import sqlite3
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobshelf.hub.core import Core
from jobshelf.hub.guard import GuardMiddleware
from jobshelf.hub.journal import JournalMiddleware
from jobshelf.hub.refusal import Refusal, bad_request, conflict, from_disk_error, not_implemented, wants_json
from jobshelf.hub.routes import (
    access,
    accounts,
    buckets,
    commits,
    discussions,
    files,
    instruments,
    jobs,
    lfs,
    listing,
    oauth,
    repos,
    schedules,
    status,
    viewer,
    webhooks,
    xet,
)

_ROUTES = [
    *status.ROUTES,
    *instruments.ROUTES,
    *accounts.ROUTES,
    *listing.ROUTES,
    *access.ROUTES,
    *discussions.ROUTES,
    *buckets.ROUTES,
    *jobs.ROUTES,
    *schedules.ROUTES,
    *webhooks.ROUTES,
    *oauth.ROUTES,
    *viewer.ROUTES,
    *lfs.ROUTES,
    *xet.ROUTES,
    *repos.ROUTES,
    *commits.ROUTES,
    *files.ROUTES,
]


class RawPathMiddleware:
    """Route on the path as it was sent: in `tree/feat%2Fx/a%2Fb`, `%2F` belongs to a name and `/` divides."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on (ASGI)."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)


# no page of another origin may run, embed or frame what the Hub sends
_EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]


class HeadersMiddleware:
    """Give every answer the headers that all have: what browsers must not do with it, and the moment it begins.

    The server's own Date lags by up to a second, and a client that reads a log without following it drops the lines that
    are newer than the Date of the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on (ASGI)."""

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", formatdate(usegmt=True).encode())
                message["headers"] = [*message["headers"], *_EVERYWHERE, date]
            await send(message)

        await self._app(scope, receive, completed)


def build_app(core: Core) -> Starlette:
    """The application for one Hub."""
    app = Starlette(
        routes=_ROUTES,
        middleware=[
            Middleware(HeadersMiddleware),
            Middleware(GuardMiddleware, origins=core.origins),
            Middleware(RawPathMiddleware),
            Middleware(JournalMiddleware, journal=core.journal, plan=core.faults, accounts=core.accounts),
        ],
        exception_handlers={
            Refusal: _refused,
            HTTPException: _no_route,
            ClientDisconnect: _left,
            UnicodeError: _not_unicode,
            sqlite3.IntegrityError: _raced,
            OSError: _disk_error,
            sqlite3.Error: _disk_error,
        },
    )
    app.router.redirect_slashes = False
    app.state.core = core
    return app


def _answer(request: Request, refusal: Refusal) -> Response:
    return refusal.response(as_json=wants_json(request))


def _refused(request: Request, error: Refusal) -> Response:
    return _answer(request, error)


def _no_route(request: Request, error: HTTPException) -> Response:
    path = request.scope["path"]
    if path.startswith("/api/") and error.status_code in {404, 405}:
        return _answer(request, not_implemented(f"{request.method} {path}"))
    return _answer(request, Refusal(error.status_code, f"{error.detail}: {request.method} {path}"))


def _left(_: Request, __: ClientDisconnect) -> Response:
    # nobody reads it; the journal says so with a status that is no HTTP's
    return Response(status_code=499)


def _not_unicode(request: Request, error: UnicodeError) -> Response:
    return _answer(request, bad_request(f"Text is not valid Unicode: {error.reason}"))


def _raced(request: Request, _: sqlite3.IntegrityError) -> Response:
    return _answer(request, conflict("What this request changes was deleted meanwhile"))


def _disk_error(request: Request, error: OSError | sqlite3.Error) -> Response:
    refusal = from_disk_error(error)
    if refusal is None:
        raise error
    return _answer(request, refusal)
