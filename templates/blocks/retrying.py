"""Riding out short failures of the Hub, of a store and of the network."""

from collections.abc import Callable
from typing import Any


def retrying(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return `call(*args, **kwargs)`, repeated for two minutes while the failure may pass; then ConnectionError."""
    import httpx2
    from tenacity import RetryError, Retrying, retry_if_exception, stop_before_delay, wait_exception, wait_exponential

    def passes(error: BaseException | None) -> bool:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return status in {408, 409, 412, 425, 429} or (status >= 500 and status != 501)
        if isinstance(error, ConnectionError | TimeoutError | httpx2.TransportError):
            return type(error).__name__ not in {"OfflineModeIsEnabled", "LocalProtocolError", "UnsupportedProtocol"}
        unclear = type(error) in {OSError, RuntimeError} and getattr(error, "errno", None) is None
        return unclear or (error is not None and passes(error.__cause__))

    def asked(error: BaseException) -> float:
        seconds = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
        return float(seconds) if seconds.isdigit() else 0

    waits, limit = wait_exponential(0.5, max=30) + wait_exception(asked), stop_before_delay(120)
    try:
        return Retrying(retry=retry_if_exception(passes), wait=waits, stop=limit)(call, *args, **kwargs)
    except RetryError as error:
        failure = error.last_attempt.exception()
        raise ConnectionError(f"no success within two minutes: {failure}") from failure
