"""The journal and the fault plan, for other processes that know the secret. No real Hub has these."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobshelf.hub.call import json_object, take, take_or
from jobshelf.hub.core import Core
from jobshelf.hub.faults import Fault, planned
from jobshelf.hub.refusal import Refusal, bad_request

_HEADER = re.compile(r"[A-Za-z0-9-]{1,80}")
_FAULT_KEYS = {"path", "kind", "status", "method", "times", "nth", "seconds", "headers"}


def journal(core: Core, _: bytes) -> Response:
    """The requests so far."""
    return JSONResponse([entry.as_json() for entry in core.journal.entries()])


def clear_journal(core: Core, _: bytes) -> Response:
    """Forget the requests so far."""
    core.journal.clear()
    return JSONResponse({})


def faults(core: Core, _: bytes) -> Response:
    """The planned faults, with what they saw and struck."""
    return JSONResponse([fault.as_json() for fault in core.faults.faults()])


def plan_fault(core: Core, body: bytes) -> Response:
    """Plan a fault: the keys are the arguments of `Hub.fail`."""
    fault = _fault(json_object(body))
    try:
        core.faults.add(fault)
    except ValueError as error:
        raise bad_request(str(error)) from error
    return JSONResponse(fault.as_json())


def clear_faults(core: Core, _: bytes) -> Response:
    """Plan nothing."""
    core.faults.clear()
    return JSONResponse({})


def _instrument(path: str, handler: Callable[[Core, bytes], Response], method: str) -> Route:
    """A route for whoever sends the Hub's instruments secret; nothing of the request is read before that is clear."""

    async def endpoint(request: Request) -> Response:
        core: Core = request.app.state.core
        _require_secret(core, request.headers.get("authorization", ""))
        if method != "GET":
            _require_json(request.headers.get("content-type"), method)
        return await run_in_threadpool(handler, core, await request.body())

    return Route(path, endpoint, methods=[method])


def _require_secret(core: Core, authorization: str) -> None:
    expected = f"Bearer {core.instruments_secret}"
    if not hmac.compare_digest(authorization.encode(), expected.encode()):
        raise Refusal(
            401, "The Hub's instruments are for whoever started it: send 'Authorization: Bearer <its secret>'"
        )


def _require_json(content_type: str | None, method: str) -> None:
    """Raise Refusal (415) for a body that a page could send without asking; a DELETE may have none."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (content_type is None and method == "DELETE"):
        raise Refusal(415, f"The Content-Type must be application/json, found '{kind[:80]}'")


def _fault(payload: Mapping[str, Any]) -> Fault:
    unknown = sorted(payload.keys() - _FAULT_KEYS)
    if unknown:
        raise bad_request(f"A fault has no '{unknown[0][:80]}': expected {', '.join(sorted(_FAULT_KEYS))}")
    seconds = payload.get("seconds") or 0
    if not isinstance(seconds, int | float):
        raise bad_request(f"'seconds' must be a number, found {type(seconds).__name__}")
    headers = take_or(payload, "headers", {})
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise bad_request(f"'headers' must be a table of header names and texts; '{name[:80]}' does not fit")
    try:
        return planned(
            path=take(payload, "path", str),
            kind=take_or(payload, "kind", "status"),
            status=take_or(payload, "status", 0),
            method=take_or(payload, "method", "") or None,
            times=take_or(payload, "times", 1),
            nth=take_or(payload, "nth", 1),
            seconds=seconds,
            headers=headers,
        )
    except ValueError as error:
        raise bad_request(str(error)) from error


ROUTES = [
    _instrument("/_hub/journal", journal, "GET"),
    _instrument("/_hub/journal", clear_journal, "DELETE"),
    _instrument("/_hub/faults", faults, "GET"),
    _instrument("/_hub/faults", plan_fault, "POST"),
    _instrument("/_hub/faults", clear_faults, "DELETE"),
]
