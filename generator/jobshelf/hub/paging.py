"""Long answers in pages, the next one named by a `Link` header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse

from jobshelf.hub.call import Call
from jobshelf.hub.refusal import bad_request

PAGE_SIZE = 1000


def page_of(call: Call, items: Sequence[Any], *, size: int = PAGE_SIZE) -> tuple[Sequence[Any], dict[str, str]]:
    """The page of `items` that `?cursor=` names, and the headers that lead to the next one. Raises Refusal (400)."""
    size = min(_number(call, "limit", size), size) or size
    start = _number(call, "cursor", 0)
    if start + size >= len(items):
        return items[start : start + size], {}
    query = [(key, value) for key, value in call.query.multi_items() if key != "cursor"]
    url = f"{call.origin}{call.path}?{urlencode([*query, ('cursor', start + size)])}"
    return items[start : start + size], {"Link": f'<{url}>; rel="next"'}


def paged(call: Call, items: Sequence[Any]) -> JSONResponse:
    """Answer one page of ready-made JSON items."""
    page, headers = page_of(call, items)
    return JSONResponse(list(page), headers=headers)


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise bad_request(f"'{name}' must be a number, found '{text[:40]}'")
    return int(text)
