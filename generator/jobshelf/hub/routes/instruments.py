"""The journal and the fault plan, for other processes. No real Hub has these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub.call import Call, route, take, take_or
from jobshelf.hub.faults import Fault, planned
from jobshelf.hub.refusal import bad_request

_HEADER = re.compile(r"[A-Za-z0-9-]{1,80}")
_FAULT_KEYS = {"path", "kind", "status", "method", "times", "nth", "seconds", "headers"}


def journal(call: Call) -> Response:
    """The requests so far."""
    return JSONResponse([entry.as_json() for entry in call.core.journal.entries()])


def clear_journal(call: Call) -> Response:
    """Forget the requests so far."""
    call.core.journal.clear()
    return JSONResponse({})


def faults(call: Call) -> Response:
    """The planned faults, with what they saw and struck."""
    return JSONResponse([fault.as_json() for fault in call.core.faults.faults()])


def plan_fault(call: Call) -> Response:
    """Plan a fault: the keys are the arguments of `Hub.fail`."""
    fault = _fault(call.json())
    call.core.faults.add(fault)
    return JSONResponse(fault.as_json())


def clear_faults(call: Call) -> Response:
    """Plan nothing."""
    call.core.faults.clear()
    return JSONResponse({})


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
    route("/_hub/journal", journal, "GET"),
    route("/_hub/journal", clear_journal, "DELETE"),
    route("/_hub/faults", faults, "GET"),
    route("/_hub/faults", plan_fault, "POST"),
    route("/_hub/faults", clear_faults, "DELETE"),
]
