"""Keeps web pages out: only clients of this machine that address the Hub by its own name get an answer.

A page in the user's browser can send requests to loopback, and after DNS rebinding even as if it came from the Hub
itself. What it cannot choose is the `Host`, the `Origin` and the `Sec-Fetch-Site` that the browser adds.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from jobshelf.hub.refusal import Refusal, bad_request, forbidden, wants_json

# a typed address or a bookmark, and the Hub's own pages
_OWN_SITES = {b"none", b"same-origin"}
_ICON = b"/favicon.ico"


class GuardMiddleware:
    """Refuse, before anything else looks at it, a request that is not addressed to the Hub or comes from another site.

    `origins` are the Hub's own (`http://127.0.0.1:8600`). 400: the target is not a path; 421: the `Host` is missing,
    repeated, or not one of the Hub's; 403: an `Origin` that is not one of the Hub's, or a `Sec-Fetch-Site` that names another
    site; 404: the icon that a browser asks for by itself, even for the page of a refusal.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        self._hosts = frozenset(urlsplit(origin).netloc.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it (ASGI)."""
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal.response(as_json=wants_json(Request(scope)))(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        hosts, foreign = [], None
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value.lower())
            elif name == b"origin" and value not in self._origins:
                foreign = forbidden(f"The origin '{_shown(value)}' is not this Hub's: web pages have no access")
            elif name == b"sec-fetch-site" and value not in _OWN_SITES:
                foreign = forbidden("This request comes from a page of another site: open the address directly")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            found = " and ".join(map(_shown, hosts)) or "none"
            expected = " or ".join(sorted(map(_shown, self._hosts)))
            return Refusal(421, f"This Hub does not answer for the host '{found}': expected {expected}")
        if not scope["raw_path"].startswith(b"/"):
            return bad_request("The target of a request must be a path that begins with '/'")
        if scope["raw_path"] == _ICON:
            return Refusal(404, "This Hub has no icon")
        return foreign


def _shown(value: bytes) -> str:
    return value[:80].decode("latin-1")
