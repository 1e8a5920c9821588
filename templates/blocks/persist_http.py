# block: persist_http 1
"""A result sent to a web address: one POST (or PUT), with an idempotency key, and signed where a secret is named.

Promises: the address and the secrets are checked before the work (2, 3); what is sent twice has the same key, so that a
receiver can drop it; a lost connection, 429 and 5xx are tried again, a redirect is never followed; credentials come
from environment variables that are named, never shown, and go over TLS or loopback only; what is not taken is kept (6).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .exits import EXIT_NOT_PERSISTED, EXIT_TOKEN, EXIT_USAGE, Stop, one_line
from .retry import http_status, retry

HTTP_METHODS = ("POST", "PUT")
HTTP_TIMEOUT_S = 60.0
HTTP_CHUNK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPlace:
    """Where a result is sent. `token_from` and `secret_from` name environment variables: a bearer token, an HMAC key."""

    url: str
    method: str = "POST"
    token_from: str | None = None
    secret_from: str | None = None

    def __str__(self) -> str:
        return self.url.partition("?")[0]


def open_http(place: HttpPlace) -> None:
    """Check the address and that the named secrets are set; nothing is sent. Stops with 2 or 3."""
    parts = urlsplit(place.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or place.method not in HTTP_METHODS:
        message = f"{place.method} {place} is not POST or PUT to an http(s) address"
        raise Stop(EXIT_USAGE, message, fix="write https://host/path")
    if parts.username or parts.password:
        raise Stop(EXIT_USAGE, "the address has a user or password in it", fix="name a variable with the token instead")
    if parts.scheme == "http" and not _http_is_loopback(parts.hostname):
        raise Stop(EXIT_USAGE, f"{place} is not encrypted", fix="use https://; http:// is for loopback only")
    for variable in filter(None, (place.token_from, place.secret_from)):
        _http_secret(variable)


def persist_over_http(
    place: HttpPlace, path: Path, *, content_type: str, headers: Mapping[str, str] | None = None
) -> str:
    """Send the file at `path` and return the idempotency key; stop with 6 when the receiver does not take it.

    The key is the sha256 of the content, in `Idempotency-Key`. A signature is `X-Signature-256: sha256=<HMAC of the
    content>`, as GitHub signs its webhooks.
    """
    key, signature = _http_digests(path, place.secret_from)
    sent = {
        **(headers or {}),
        "Content-Type": content_type,
        "Content-Length": str(path.stat().st_size),
        "Idempotency-Key": key,
        **({"X-Signature-256": f"sha256={signature}"} if signature else {}),
        **({"Authorization": f"Bearer {_http_secret(place.token_from)}"} if place.token_from else {}),
    }
    try:
        retry(lambda: _http_send(place, path, sent), what=f"sending {path.name} to {place}")
    except (Stop, OSError, RuntimeError) as error:
        raise _http_not_persisted(place, path, content_type, key, error.message) from error
    except Exception as error:
        if http_status(error) is None:
            raise
        reason = f"it answered {http_status(error)}"
        raise _http_not_persisted(place, path, content_type, key, reason) from error
    return key


def _http_send(place: HttpPlace, path: Path, headers: Mapping[str, str]) -> None:
    import httpx2

    with httpx2.Client(timeout=HTTP_TIMEOUT_S, follow_redirects=False) as client:
        response = client.request(place.method, place.url, headers=headers, content=_http_chunks(path))
        response.raise_for_status()


def _http_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(HTTP_CHUNK_BYTES):
            yield chunk


def _http_digests(path: Path, secret_from: str | None) -> tuple[str, str | None]:
    key = hashlib.sha256()
    signature = hmac.new(_http_secret(secret_from).encode(), digestmod="sha256") if secret_from else None
    for chunk in _http_chunks(path):
        key.update(chunk)
        if signature:
            signature.update(chunk)
    return key.hexdigest(), signature.hexdigest() if signature else None


def _http_secret(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        found = "is not set" if not value else "has characters that no secret has"
        fix = f"start the Job with `--secrets {variable}`; on this machine: export {variable}=..."
        raise Stop(EXIT_TOKEN, f"the secret {variable} {found}", fix=fix)
    return value


def _http_is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _http_not_persisted(place: HttpPlace, path: Path, content_type: str, key: str, reason: object) -> Stop:
    said = {"Content-Type": content_type, "Idempotency-Key": key}
    command = ["curl", "-f", "-X", place.method, *(word for item in said.items() for word in ("-H", ": ".join(item)))]
    command += ["--data-binary", f"@{path.absolute()}", str(place)]
    message = f"{place} did not take the result ({one_line(reason)}); it is in {path.absolute()}"
    secrets = " and ".join(filter(None, (place.token_from, place.secret_from)))
    more = f" (with the headers made from {secrets})" if secrets else ""
    return Stop(EXIT_NOT_PERSISTED, message, fix=f"run the same command again, or {shlex.join(command)}{more}")
