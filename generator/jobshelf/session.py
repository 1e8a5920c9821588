"""The HTTP session of the Hub's client: it rides out short outages, and does nothing twice."""

from __future__ import annotations

import re
from typing import Any

import httpx2

from jobshelf.outages import PASSING, Outage, is_unknown_host

# What would be done twice when the first request arrived after all: a Job, a schedule, a webhook, a pull request.
_NOT_TWICE = re.compile(r"/api/(jobs|scheduled-jobs|settings/webhooks)\b|/discussions\b|create_pr=")
_NEVER_ARRIVED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Session(httpx2.Client):
    """An HTTP client that repeats a request while the Hub is away (`Outage`). After that, the last answer or error stands."""

    def send(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:  # noqa: ANN401 -- httpx's own
        """Send a request, again after a failure that may pass."""
        outage, asked = Outage(), f"{request.method} {request.url.path}"
        while True:
            try:
                response = super().send(request, **settings)
            except httpx2.TransportError as error:
                what = f"the Hub gave no answer to {asked} ({type(error).__name__})"
                if is_unknown_host(error) or not can_repeat(request, error) or not outage.wait(what):
                    raise
                continue
            if response.status_code not in PASSING or not can_repeat(request, response):
                return response
            what = f"the Hub answered {response.status_code} to {asked}"
            if not outage.wait(what, response.headers.get("Retry-After", "")):
                return response
            response.close()


def can_repeat(request: httpx2.Request, failed: httpx2.Response | httpx2.TransportError) -> bool:
    """Return whether sending the request again does nothing twice, and its body is still here."""
    if not isinstance(request.stream, httpx2.ByteStream) or isinstance(failed, httpx2.UnsupportedProtocol):
        return False
    if request.method in {"GET", "HEAD"} or not _NOT_TWICE.search(str(request.url)):
        return True
    return isinstance(failed, _NEVER_ARRIVED) or getattr(failed, "status_code", 0) == 429
