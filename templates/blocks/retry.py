# block: retry 1
"""Bounded backoff for calls to the Hub.

Promises: a lost connection, 408, 429 and 5xx are tried again at most `RETRY_ATTEMPTS` times, after the server's
`Retry-After` when it gives one; then the script stops with 5. Any other error passes through unchanged, at once. A server
that says nothing for two minutes (or HF_HUB_DOWNLOAD_TIMEOUT seconds) counts as a lost connection.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from .exits import EXIT_ENVIRONMENT, Stop, note, one_line

if TYPE_CHECKING:
    import httpx2

RETRY_ATTEMPTS = 5
RETRY_FIRST_PAUSE_S = 0.5
RETRY_LONGEST_PAUSE_S = 300.0
RETRY_SILENCE_S = 120.0
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_Answer = TypeVar("_Answer")


def retry(call: Callable[[], _Answer], *, what: str) -> _Answer:
    """Return `call()`. `what` names the work in messages, e.g. "reading user/name"."""
    attempt = 0
    while True:
        attempt += 1
        try:
            _end_silence()
            return call()
        except Exception as error:
            reason = transient(error)
            if reason is None:
                raise
            if attempt == RETRY_ATTEMPTS or _offline(error):
                raise _unreachable(what, reason, attempt) from error
            pause = retry_pause(error, attempt)
            note(f"{what}: {reason}; trying again in {pause:g} s ({attempt}/{RETRY_ATTEMPTS - 1})")
            time.sleep(pause)


def transient(error: BaseException) -> str | None:
    """Return why `error` may go away by itself, or None when it will not."""
    for link in _chain(error):
        status = http_status(link)
        if status is not None:
            return f"the server answered {status}" if status in RETRY_STATUSES else None
        if _is_connection_failure(link):
            return one_line(link) or type(link).__name__
    return None


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that `error` carries, if any."""
    return getattr(getattr(error, "response", None), "status_code", None)


def retry_pause(error: BaseException, attempt: int) -> float:
    """Return the seconds to wait after the 1-based `attempt`: Retry-After if given, else doubling."""
    for link in _chain(error):
        told = getattr(getattr(link, "response", None), "headers", {}).get("retry-after", "")
        if told.isdecimal():
            return min(float(told), RETRY_LONGEST_PAUSE_S)
    return RETRY_FIRST_PAUSE_S * 2 ** (attempt - 1)


def _end_silence() -> None:
    """Bound how long the Hub's client waits for a word: most of its calls would wait until the Job's own timeout."""
    if "huggingface_hub" in sys.modules:
        from huggingface_hub.utils import get_session

        hooks = get_session().event_hooks["request"]
        if _with_a_timeout not in hooks:
            hooks.append(_with_a_timeout)


def _with_a_timeout(request: httpx2.Request) -> None:
    asked = request.extensions.get("timeout") or {}
    if asked.get("read") is None:
        told = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        seconds = float(told) if told.isdecimal() and int(told) else RETRY_SILENCE_S
        waits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        request.extensions = {**request.extensions, "timeout": waits}


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _is_connection_failure(error: BaseException) -> bool:
    # huggingface_hub lets the errors of its HTTP client through; the client is its dependency, not the script's.
    of_http_client = any(base.__module__.partition(".")[0] in {"httpx", "httpx2"} for base in type(error).__mro__)
    return of_http_client or isinstance(error, ConnectionError | TimeoutError)


def _offline(error: BaseException) -> bool:
    return type(error).__name__ == "OfflineModeIsEnabled"


def _unreachable(what: str, reason: str, attempts: int) -> Stop:
    message = f"{what}: {reason} (attempt {attempts} of {RETRY_ATTEMPTS})"
    fix = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again"
    return Stop(EXIT_ENVIRONMENT, message, fix=fix)
