"""Fetch a script from a URL, with limits, before anyone runs it."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from functools import partial
from http.client import HTTPException, HTTPResponse
from typing import IO
from urllib.parse import urljoin, urlsplit

from jobshelf.errors import EnvironmentFault, InputError
from jobshelf.vet.finding import printable

DEADLINE_SECONDS = 30.0
_STALL_SECONDS = 10.0
_MOST_REDIRECTS = 5
_HTML = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
_BLOB = re.compile(r"(?P<before>/[^/]+/[^/]+)/blob/(?P<after>.+)")
Answer = tuple[str, bytes]


def fetch(url: str, *, limit: int, deadline: float = DEADLINE_SECONDS) -> bytes:
    """Return the bytes behind an http(s) URL; one byte more than `limit` when there are more than that.

    Redirects are followed on the same host only: what another host serves is not what the URL promised. `deadline` is
    the most seconds that it may take. Raises InputError for an answer that is no script, EnvironmentFault when there is
    none.
    """
    _refuse_page(url)
    kind, body = _within(deadline, url, partial(_get, url, limit))
    if kind == "text/html" or _HTML.match(body):
        raise InputError(f"{url} is a web page, expected a Python file", fix="use the raw address of the file")
    return body


def _within(seconds: float, url: str, work: Callable[[], Answer]) -> Answer:
    """Run `work` for at most so long: a socket's own timeout starts anew with every byte that drips in."""
    answers: list[Answer | Exception] = []

    def run() -> None:
        try:
            answers.append(work())
        except Exception as error:  # noqa: BLE001 - raised again in the calling thread
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise _slow(url, seconds)
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _get(url: str, limit: int) -> Answer:
    try:
        with _open(url) as response:
            return response.headers.get_content_type(), _read(response, limit, url)
    except urllib.error.HTTPError as error:
        reason = printable(str(error.reason).partition("\n")[0])
        raise InputError(f"{url} answered {error.code} {reason}", fix=_advice(error.code)) from error
    except (urllib.error.URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise _slow(url, _STALL_SECONDS) from error
        raise EnvironmentFault(
            f"{url} could not be fetched: {reason}", fix="check the address and the network"
        ) from error


def raw_url(url: str) -> str | None:
    """Return the address of the file itself when `url` is the page of a file on the Hub or GitHub; None when not."""
    parts = urlsplit(url)
    match = _BLOB.fullmatch(parts.path) or _BLOB.fullmatch(parts.path.removeprefix("/datasets").removeprefix("/spaces"))
    if match is None:
        return None
    if parts.netloc in ("github.com", "www.github.com"):
        return f"https://raw.githubusercontent.com{match['before']}/{match['after']}"
    return url.replace("/blob/", "/resolve/", 1)


def _refuse_page(url: str) -> None:
    raw = raw_url(url)
    if raw is not None:
        raise InputError(f"{url} is the page about a file (/blob/), not the file", fix=f"jobshelf vet {raw}")
    try:
        host = urlsplit(url).hostname
    except ValueError as error:
        raise InputError(f"{url} is no address: {error}", fix="write https://host/path/script.py") from error
    if not host:
        raise InputError(f"{url} names no host", fix="write https://host/path/script.py")


class _SameHost(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """Follow within the host (also from http to https), refuse anything else."""
        target, here = urlsplit(urljoin(req.full_url, newurl)), urlsplit(req.full_url)
        if target.hostname != here.hostname or (target.port != here.port and target.port and here.port):
            message = f"{req.full_url} redirects to another host, {target.netloc}"
            raise InputError(message, fix=f"if you trust it: jobshelf vet {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> HTTPResponse:
    headers = {"User-Agent": "jobshelf", "Accept": "text/x-python, text/plain, */*"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - callers pass http(s) only
    return urllib.request.build_opener(_SameHost).open(request, timeout=_STALL_SECONDS)


def _read(response: HTTPResponse, limit: int, url: str) -> bytes:
    body = response.read(limit + 1)
    declared = response.headers.get("Content-Length")
    if len(body) <= limit and declared and declared.isdigit() and len(body) < int(declared):
        message = f"{url} broke off after {len(body)} of {declared} bytes"
        raise EnvironmentFault(message, fix="try again")
    return body


def _slow(url: str, deadline: float) -> EnvironmentFault:
    return EnvironmentFault(
        f"{url} took longer than {deadline:.0f} s", fix="try again, or download the file and vet that"
    )


def _advice(status: int) -> str:
    if status in (401, 403):
        return "vet a public script, or download it first and vet the file"
    return "check the address" if status < 500 else "try again later"
