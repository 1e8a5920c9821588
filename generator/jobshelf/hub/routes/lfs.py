"""Large files: the git-lfs batch call and the signed URLs that it hands out.

Protocol: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md (transfer `basic`);
the Hub's `multipart` adds a URL for each part, and one to call when all have arrived.
"""

from __future__ import annotations

import math
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from jobshelf.hub import signing
from jobshelf.hub.call import Call, parse, route, take, take_or
from jobshelf.hub.names import sha256_hex
from jobshelf.hub.parts import PART_BYTES
from jobshelf.hub.refusal import Refusal, bad_request, not_implemented

_MOST_PARTS = 10_000


def batch(call: Call) -> Response:
    """Say for each object where to send it; an object that is here needs no action."""
    call.contributable_repo("write to a repo")
    payload = call.json()
    operation = take(payload, "operation", str)
    if operation != "upload":
        raise not_implemented(f"the LFS operation '{operation}'")
    in_parts = "multipart" in take_or(payload, "transfers", [])
    objects = [_upload(call, item, in_parts=in_parts) for item in take(payload, "objects", list)]
    return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")


def verify(call: Call) -> Response:
    """Confirm that an object arrived whole."""
    call.contributable_repo("write to a repo")
    payload = call.json()
    sha256, size = sha256_hex(take(payload, "oid", str)), take(payload, "size", int)
    if call.core.blobs.size(sha256) != size:
        raise Refusal(404, f"Object {sha256} of {size} bytes is not here")
    return JSONResponse({})


def read(call: Call) -> Response:
    """A large file's content, for whoever holds the signed URL."""
    _refuse_token(call)
    sha256 = sha256_hex(call.params["sha256"])
    call.core.signer.check("read", sha256, call.query)
    if call.core.blobs.size(sha256) is None:
        raise Refusal(404, f"Object {sha256} is not here")
    return FileResponse(
        call.core.blobs.path(sha256),
        headers={"ETag": f'"{sha256}"'},
        filename=call.params["filename"],
        content_disposition_type="inline",
    )


async def write(request: Request) -> Response:
    """Receive a large file's content from whoever holds the signed URL."""
    call = parse(request, b"")
    _refuse_token(call)
    sha256 = sha256_hex(call.params["sha256"])
    size = call.core.signer.check("write", sha256, call.query)
    with call.core.blobs.incoming() as incoming:
        async for chunk in request.stream():
            incoming.write(chunk)
            if incoming.size > size:
                raise bad_request(f"More than the {size} bytes that the URL was signed for")
        if (incoming.sha256, incoming.size) != (sha256, size):
            raise bad_request(
                f"Received {incoming.size} bytes with sha256 {incoming.sha256}, expected {size}, {sha256}"
            )
        await run_in_threadpool(incoming.keep)
    return Response(headers={"ETag": f'"{sha256}"'})


async def write_part(request: Request) -> Response:
    """Receive one part of a large file from whoever holds the signed URL."""
    call = parse(request, b"")
    _refuse_token(call)
    sha256, number = sha256_hex(call.params["sha256"]), call.params["number"]
    call.core.signer.check("part", sha256, call.query, filename=number)
    etag = await call.core.parts.receive(sha256, int(number), request.stream())
    return Response(headers={"ETag": f'"{etag}"'})


def complete(call: Call) -> Response:
    """Put the parts of a large file together."""
    sha256 = sha256_hex(call.params["sha256"])
    size = call.core.signer.check("complete", sha256, call.query)
    if call.core.blobs.size(sha256) is None:
        call.core.parts.join(sha256, size, _etags(take(call.json(), "parts", list)))
    return JSONResponse({"oid": sha256, "size": size})


def _etags(parts: list[Any]) -> list[str]:
    """The parts' ETags, in the order of their numbers."""
    if not all(isinstance(part, dict) for part in parts):
        raise bad_request("A part must be a JSON object")
    found = {take(part, "partNumber", int): sha256_hex(take(part, "etag", str).strip('"')) for part in parts}
    return [etag for _, etag in sorted(found.items())]


def _upload(call: Call, item: object, *, in_parts: bool) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise bad_request("An LFS object must be a JSON object")
    sha256, size = sha256_hex(take(item, "oid", str)), take(item, "size", int)
    answer: dict[str, Any] = {"oid": sha256, "size": size}
    if call.core.blobs.size(sha256) == size:
        return answer
    if size > _MOST_PARTS * PART_BYTES:
        raise bad_request(f"A file has at most {_MOST_PARTS * PART_BYTES} bytes, found {size}")
    call.core.blobs.require_room(size)
    verify_url = f"{call.origin}{call.path.removesuffix('/objects/batch')}/verify"
    upload = _parts(call, sha256, size) if in_parts and size > PART_BYTES else _whole(call, sha256, size)
    return {**answer, "actions": {"upload": upload, "verify": {"href": verify_url}}}


def _whole(call: Call, sha256: str, size: int) -> dict[str, Any]:
    return {"href": call.core.signer.url(call.core.other_origin(call.origin), "write", sha256, size=size)}


def _parts(call: Call, sha256: str, size: int) -> dict[str, Any]:
    origin, signer = call.core.other_origin(call.origin), call.core.signer
    numbers = [f"{number:05d}" for number in range(1, math.ceil(size / PART_BYTES) + 1)]
    urls = {number: signer.url(origin, "part", sha256, size=PART_BYTES, filename=number) for number in numbers}
    completion = signer.url(origin, "complete", sha256, size=size)
    return {"href": completion, "header": {"chunk_size": str(PART_BYTES), **urls}}


def _refuse_token(call: Call) -> None:
    """The signature is the permission; a token here has leaked to another origin (object stores refuse it too)."""
    if "authorization" in call.headers:
        raise bad_request(
            "Only one way to authenticate is allowed: this URL is signed, so send no Authorization header"
        )


ROUTES = [
    *(
        made
        for prefix in ("/{kinds}", "")
        for made in (
            route(prefix + "/{namespace}/{name}.git/info/lfs/objects/batch", batch, "POST"),
            route(prefix + "/{namespace}/{name}.git/info/lfs/verify", verify, "POST"),
        )
    ),
    route(signing.PREFIX + "/read/{sha256}/{filename}", read, "GET"),
    route(signing.PREFIX + "/complete/{sha256}/", complete, "POST"),
    Route(signing.PREFIX + "/write/{sha256}/", write, methods=["PUT"]),
    Route(signing.PREFIX + "/part/{sha256}/{number}", write_part, methods=["PUT"]),
]
