"""Read the bytes of a script from a URL, within limits of size, time and trust."""

from __future__ import annotations

import re
import string
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from urllib.error import URLError
from urllib.parse import SplitResult, quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from jobshelf.errors import EnvironmentFault, InputError, UsageError
from jobshelf.outages import Outage, is_unknown_host
from jobshelf.scripts.files import MOST_BYTES, SECONDS

MOST_REDIRECTS = 5
_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED = frozenset({401, 403, 404})
_COMMIT = re.compile("[0-9a-f]{40}")
_HTML = re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE)
_GIST = re.compile(r"https://gist\.github\.com/(?P<owner>[\w-]+)/(?P<id>[0-9a-f]+)/?")
_BLOB = re.compile(r"(?P<before>/[^/]+/[^/]+)/blob/(?P<after>.+)")
_WRITE_ADDRESS = "write https://host/path/script.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What a URL served: at most `MOST_BYTES` + 1 bytes of `data`.

    `commit` is the one that the Hub says the bytes are of, None where nobody says. `is_public` is False when they were
    served to the holder of a token only.
    """

    data: bytes
    commit: str | None
    is_public: bool


def download(
    url: str, *, endpoint: str, token: Callable[[], str | None] = lambda: None, seconds: float = SECONDS
) -> Download:
    """Return what an http(s) URL serves, after at most `seconds` in all.

    Redirects are followed on the same host, from http to https but not back; the Hub at `endpoint` may also redirect to
    its storage. `token` is asked for only when that Hub refuses an anonymous request, and sent to that Hub only.
    Raises UsageError for an address that cannot be one of a file, InputError for an answer that is no script,
    EnvironmentFault when there is none in time.
    """
    address = file_address(url)
    answers: list[Download | Exception] = []

    # In a thread: a socket's own timeout starts again with every byte, and looking up a host has none.
    def work() -> None:
        try:
            answers.append(_patiently(address, endpoint, token, seconds))
        except TimeoutError:
            answers.append(_slow(address, seconds))
        except Exception as error:  # noqa: BLE001 - raised again in the calling thread
            answers.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    answer = answers[0] if answers else _slow(address, seconds)
    if isinstance(answer, Exception):
        raise answer
    return answer


def file_address(url: str) -> str:
    """Return the address of the file itself: the page of a Gist becomes its raw text.

    Raises UsageError for what is no http(s) address, for one with a user name or password, and for the page about a file
    (`/blob/`), with the address of the file.
    """
    if not url.isprintable():
        raise UsageError(f"{url} contains control characters", fix=_WRITE_ADDRESS)
    try:
        parts = _split(url)
    except ValueError as error:
        raise UsageError(f"{_without_user(url)} is not a valid address: {error}", fix=_WRITE_ADDRESS) from error
    if "@" in parts.netloc:
        plain = _without_user(url)
        raise UsageError(f"the address {plain} was given with a user name or password", fix=f"use {plain}")
    if gist := _GIST.fullmatch(url.partition("#")[0]):
        return f"https://gist.githubusercontent.com/{gist['owner']}/{gist['id']}/raw"
    if raw := _raw_address(url, parts):
        raise UsageError(f"{url} is the page about a file (/blob/), not the file", fix=f"use {raw}")
    return url


def _split(url: str) -> SplitResult:
    """Return the parts of an http(s) address; raise ValueError for any other text."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("it is no http(s) address")
    if not parts.hostname:
        raise ValueError("it names no host")
    _ = parts.port  # raises ValueError
    parts.hostname.encode("idna")  # raises UnicodeError, a ValueError
    return parts


def _without_user(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    host = re.match(r"[^/?#]*", rest)
    return f"{scheme}{slashes}{rest[rest.rfind('@', 0, host.end() if host else 0) + 1 :]}"


def _raw_address(url: str, parts: SplitResult) -> str | None:
    match = _BLOB.fullmatch(parts.path) or _BLOB.fullmatch(parts.path.removeprefix("/datasets").removeprefix("/spaces"))
    if match is None:
        return None
    if parts.netloc in ("github.com", "www.github.com"):
        return f"https://raw.githubusercontent.com{match['before']}/{match['after']}"
    return url.replace("/blob/", "/resolve/", 1)


class _Away(EnvironmentFault):
    """The server is away, or broke off: another try may succeed."""


def _patiently(url: str, endpoint: str, token: Callable[[], str | None], seconds: float) -> Download:
    end, outage = time.monotonic() + seconds, Outage(seconds)
    while True:
        try:
            return _download(url, endpoint, token, end)
        except _Away as error:
            if is_unknown_host(error) or not outage.wait(error.message):
                raise


def _download(url: str, endpoint: str, token: Callable[[], str | None], end: float) -> Download:
    opened = _open(url, endpoint, None, end)
    secret = token() if opened.response.status in _REFUSED and _origin(url) == _origin(endpoint) else None
    if secret:
        opened.response.close()
        opened = _open(url, endpoint, secret, end)
    with opened.response as response:
        _require_file(url, endpoint, response)
        data = _read(url, response, end)
    if _HTML.match(data):
        raise _page(url)
    return Download(data=data, commit=opened.commit, is_public=secret is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    response: HTTPResponse
    commit: str | None


def _open(url: str, endpoint: str, secret: str | None, end: float) -> _Opened:
    """Return the answer at the end of the redirects, its body unread."""
    here, hub, commit = url, _origin(endpoint), None
    for _ in range(MOST_REDIRECTS + 1):
        response = _get(here, secret if _origin(here) == hub else None, end)
        # the Hub itself names the commit; the storage that it redirects to knows of none
        named = response.headers.get("X-Repo-Commit", "")
        commit = commit or (named if _COMMIT.fullmatch(named) else None)
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return _Opened(response=response, commit=commit)
        response.close()
        there = _redirected(here, location)
        if not _is_same_host(here, there):
            if _origin(here) != hub:
                message = f"{here} redirects to another host, {urlsplit(there).netloc}"
                raise InputError(message, fix=f"if you trust it, name {there}")
            hub, secret = None, None  # what left the Hub neither gets its token nor leaves again
        here = there
    raise InputError(f"{url} redirects more than {MOST_REDIRECTS} times", fix="use the address of the file itself")


def _redirected(here: str, location: str) -> str:
    try:
        there = urljoin(here, location)
        parts = _split(there)
    except ValueError as error:
        message = f"{here} redirects to {location}, which is not a valid address: {error}"
        raise InputError(message, fix="use the address of the file itself") from error
    if "@" in parts.netloc or (parts.scheme == "http" and urlsplit(here).scheme == "https"):
        found = "with a user name or password" if "@" in parts.netloc else "without encryption"
        message = f"{here} redirects to an address {found}, {_without_user(there)}"
        raise InputError(message, fix="use the address of the file itself")
    return there


def _is_same_host(here: str, there: str) -> bool:
    (scheme, host, port), (new_scheme, new_host, new_port) = _origin(here), _origin(there)
    ports = {port, new_port}
    return host == new_host and (len(ports) == 1 or (scheme != new_scheme and ports == set(_PORTS.values())))


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def _get(url: str, secret: str | None, end: float) -> HTTPResponse:
    headers = {"User-Agent": "jobshelf", "Accept": "text/x-python, text/plain, */*", "Accept-Encoding": "identity"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    request = Request(quote(url, safe=string.punctuation), headers=headers)  # noqa: S310 - http(s) only, see `_split`
    opener = OpenerDirector()  # of urllib's handlers neither those that follow redirects nor those for ftp: and file:
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    with _explained(url):
        return opener.open(request, timeout=_left(end))


def _left(end: float) -> float:
    """Return the seconds until `end`; raise TimeoutError when it is over."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read(url: str, response: HTTPResponse, end: float) -> bytes:
    data = bytearray()
    with _explained(url):
        while len(data) <= MOST_BYTES and (piece := response.read1(min(_PIECE, MOST_BYTES + 1 - len(data)))):
            data += piece
            _left(end)
    declared = response.headers.get("Content-Length", "")
    if len(data) <= MOST_BYTES and declared.isdecimal() and len(data) < int(declared):
        raise _Away(f"{url} broke off after {len(data)} of {declared} bytes", fix="try again")
    return bytes(data)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Raise TimeoutError for whatever took too long, EnvironmentFault for any other failure of the network."""
    try:
        yield
    except (HTTPException, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            raise TimeoutError from error
        message = f"{url} could not be fetched: {reason or type(error).__name__}"
        raise _Away(message, fix="check the address and the network") from error


def _require_file(url: str, endpoint: str, response: HTTPResponse) -> None:
    status = response.status
    if status in {401, 403}:
        on_hub = _origin(url) == _origin(endpoint)
        fix = "check the address, or: hf auth login" if on_hub else "download the file, and name that"
        raise InputError(f"{url} is not public (status {status})", fix=fix)
    if status == 429 or status >= 500:
        raise _Away(f"{url} answered {status}", fix="try again later")
    if not 200 <= status < 300:
        fix = "check the address; a script of a shelf must have been published: jobshelf publish"
        raise InputError(f"{url} answered {status}: there is no script there that you may see", fix=fix)
    coding = response.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        message = f"{url} is compressed ({coding}), expected plain text"
        raise InputError(message, fix="download and unpack it, and name the file")
    if response.headers.get_content_type() == "text/html":
        raise _page(url)


def _page(url: str) -> InputError:
    return InputError(f"{url} is a web page, expected a Python file", fix="use the raw address of the file")


def _slow(url: str, seconds: float) -> EnvironmentFault:
    return EnvironmentFault(f"{url} took longer than {seconds:g} s", fix="try again, or download it and name the file")
