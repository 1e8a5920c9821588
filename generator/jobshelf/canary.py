"""The canary: a Hub token made up for one stub run, and whether a text shows it or a part of it."""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Iterator

PART = 8
_LETTERS = string.ascii_letters + string.digits
_LENGTH = 34
_BASE64_PART = 10  # of the characters that PART bytes in a row decide, wherever a group of three begins


class Canary:
    """A token that is in no text by chance. `shows` also knows it in base64 and in hexadecimal."""

    def __init__(self, token: str) -> None:
        self.token = token
        self._plain = tuple(_parts(token, PART))
        self._base64 = tuple(part for text in _in_base64(token.encode()) for part in _parts(text, _BASE64_PART))
        self._hexadecimal = tuple(_parts(token.encode().hex(), 2 * PART))

    def find(self, text: str) -> int:
        """Return where eight characters in a row of the token begin; -1 where there are none."""
        if len(text) < PART:
            return -1
        found = _first(text, self._plain)
        found = found if found >= 0 else _first(text, self._base64)
        return found if found >= 0 else _first(text.lower(), self._hexadecimal)

    def shows(self, text: str) -> bool:
        """Tell whether `text` holds eight characters in a row of the token."""
        return self.find(text) >= 0


def new_canary() -> Canary:
    """Return one that nobody has seen, of the form of a Hub token."""
    return Canary("hf_" + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH)))


def _first(text: str, parts: tuple[str, ...]) -> int:
    return next((text.index(part) for part in parts if part in text), -1)


def _parts(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield what base64 makes of `data` behind other bytes, without the characters that those bytes, or the end, decide."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        last = -1 if (before + len(data)) % 3 else None
        yield text[-(-8 * before // 6) : last]
