"""What the Hub says when it does not do what was asked: status, error code, message.

Clients read the error from the headers `X-Error-Code` and `X-Error-Message`; the body repeats the message. API routes
answer JSON. Everything else answers plain text, because `uv run <URL>` executes whatever body comes back: a JSON object
is a valid Python expression and would end with exit code 0, a sentence is a SyntaxError.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

_VIEWER_PATHS = {
    *("/splits", "/rows", "/first-rows", "/size", "/parquet", "/is-valid"),
    *("/info", "/search", "/filter", "/statistics"),
}
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class Refusal(Exception):
    """A request that is answered with an HTTP error.

    `code` is the Hub's machine-readable code (`RepoNotFound`, `RevisionNotFound`, `EntryNotFound`, `GatedRepo`); `headers`
    are sent along; `extra` goes into the JSON body next to `error`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})
        self.extra = extra

    def response(self, *, as_json: bool) -> Response:
        """The HTTP answer, as JSON for the API and as plain text for files."""
        headers = {**self.headers, "X-Error-Message": _header_safe(self.message)}
        if self.code is not None:
            headers["X-Error-Code"] = self.code
        if as_json:
            return JSONResponse({"error": self.message, **self.extra}, self.status, headers)
        return PlainTextResponse(self.message, self.status, headers)


def bad_request(message: str) -> Refusal:
    """The request itself is malformed."""
    return Refusal(400, message)


def forbidden(message: str) -> Refusal:
    """The caller is known and may not do this."""
    return Refusal(403, message)


def conflict(message: str, **extra: object) -> Refusal:
    """What is to be created exists."""
    return Refusal(409, message, **extra)


def repo_not_found() -> Refusal:
    """The repo is missing, or private and none of this caller's business."""
    return Refusal(404, "Repository not found", code="RepoNotFound")


def login_needed() -> Refusal:
    """An anonymous caller asked for something that is nobody's without a name."""
    return Refusal(401, "Invalid username or password.")


def not_authenticated() -> Refusal:
    """An anonymous caller asked for something that is private or missing: the Hub does not tell which."""
    return Refusal(401, "Invalid username or password.", code="RepoNotFound")


def gated(full_name: str, *, anonymous: bool) -> Refusal:
    """The repo is there to be seen, its files are for those who were given access."""
    if anonymous:
        return Refusal(
            401,
            f"Access to {full_name} is restricted. You must have access to it and be authenticated to access it."
            " Please log in.",
            code="GatedRepo",
        )
    return Refusal(
        403,
        f"Access to {full_name} is restricted and you are not in the authorized list. Ask its owner for access.",
        code="GatedRepo",
    )


def revision_not_found(revision: str) -> Refusal:
    """No branch, tag or commit of that name."""
    return Refusal(404, f"Invalid rev id: {revision}", code="RevisionNotFound")


def entry_not_found(path: str) -> Refusal:
    """No file or folder of that path at that revision."""
    return Refusal(404, f"Entry not found: {path}", code="EntryNotFound")


def not_implemented(endpoint: str) -> Refusal:
    """The real Hub has this endpoint and the embedded one does not."""
    return Refusal(501, f"The embedded Hub does not implement {endpoint}")


def no_space() -> Refusal:
    """The store is full, by its configured capacity or by the disk under it."""
    return Refusal(507, "No space left on the Hub")


def from_disk_error(error: OSError | sqlite3.Error) -> Refusal | None:
    """Return `no_space()` when `error` says that the disk or the quota is full, else None."""
    full = isinstance(error, OSError) and error.errno in _DISK_FULL
    full = full or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return no_space() if full else None


def wants_json(request: Request) -> bool:
    """Whether the client of this route parses JSON errors."""
    path: str = request.scope["path"]
    return path.startswith(("/api/", "/_hub/", "/oauth/")) or "/info/lfs/" in path or path in _VIEWER_PATHS


def _header_safe(message: str) -> str:
    words = " ".join(message.split())
    return "".join(letter if " " <= letter <= "~" else "?" for letter in words)
