"""URLs that carry their own permission: where large files are read from and written to, without a token."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urlencode

from jobshelf.hub.refusal import Refusal

_LIFETIME_SECONDS = 3600
PREFIX = "/_lfs"

Action = Literal["read", "write", "part", "complete"]


class Signer:
    """Makes and checks signed URLs; the key is the Hub's own and survives a restart."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def url(self, origin: str, action: Action, sha256: str, *, size: int, filename: str = "") -> str:
        """A URL on `origin` that allows `action` on one blob for an hour.

        `filename` ends the path; for a part of a file it is the part's number, and signed too.
        """
        expires = int(time.time()) + _LIFETIME_SECONDS
        signature = self._signature(_signed(action, filename), sha256, str(size), str(expires))
        query = urlencode({"size": size, "expires": expires, "signature": signature})
        return f"{origin}{PREFIX}/{action}/{sha256}/{quote(filename, safe='')}?{query}"

    def check(self, action: Action, sha256: str, query: Mapping[str, str], *, filename: str = "") -> int:
        """Return the size that the URL was signed for. Raises Refusal (403) when it was not signed here, or expired."""
        size, expires = query.get("size", ""), query.get("expires", "")
        expected = self._signature(_signed(action, filename), sha256, size, expires)
        if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode()):
            raise Refusal(403, "This URL does not carry a valid signature")
        if int(expires) < time.time():
            raise Refusal(403, "This signed URL has expired: ask the Hub for a new one")
        return int(size)

    def _signature(self, action: str, sha256: str, size: str, expires: str) -> str:
        message = "\n".join((action, sha256, size, expires))
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()


def _signed(action: Action, filename: str) -> str:
    return f"part {filename}" if action == "part" else action
