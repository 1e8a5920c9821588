"""Buckets: create, describe, list, change, read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import FileResponse, JSONResponse, Response

from jobshelf.hub import clock
from jobshelf.hub.account import can_read, require_account
from jobshelf.hub.buckets import Add, Bucket, BucketFile, Remove
from jobshelf.hub.call import Call, is_private, new_namespace, only, route, take
from jobshelf.hub.lookup import find_bucket, require_bucket_write
from jobshelf.hub.names import file_path, repo_name
from jobshelf.hub.paging import paged
from jobshelf.hub.refusal import Refusal, bad_request, conflict, entry_not_found
from jobshelf.hub.routes.xet import token_answer
from jobshelf.hub.xet import Content

_ME = "me"
_LATEST_MTIME = 253_402_300_799_000


def create(call: Call) -> Response:
    """Create a bucket."""
    namespace = new_namespace(call, _namespace(call), "create a bucket")
    name = repo_name(call.params["name"])
    url = f"{call.origin}/buckets/{namespace}/{name}"
    payload = call.json()
    only(payload, {"visibility"}, "creating a bucket with")
    if call.core.buckets.find(namespace, name) is not None:
        raise conflict(f"Bucket {namespace}/{name} already exists", url=url)
    call.core.buckets.create(namespace, name, private=is_private(payload))
    return JSONResponse({"url": url, "name": f"{namespace}/{name}"})


def info(call: Call) -> Response:
    """Describe a bucket."""
    return JSONResponse(_described(_readable(call)))


def list_all(call: Call) -> Response:
    """List the buckets of a namespace that the caller may see."""
    namespace, search = _namespace(call), call.query.get("search", "")
    found = [
        bucket
        for bucket in call.core.buckets.of(namespace)
        if search in bucket.name and can_read(call.caller, namespace=namespace, private=bucket.private)
    ]
    return paged(call, [_described(bucket) for bucket in found])


def delete(call: Call) -> Response:
    """Delete a bucket."""
    call.core.buckets.delete(_writable(call, "delete a bucket"))
    return JSONResponse({})


def settings(call: Call) -> Response:
    """Make a bucket private or public."""
    private = take(call.json(), "private", bool)
    call.core.buckets.set_private(_writable(call, "change the settings of a bucket"), private=private)
    return JSONResponse({"private": private})


def tree(call: Call) -> Response:
    """List the files whose path begins with a prefix; without `recursive`, deeper ones as their folder."""
    bucket, prefix = _readable(call), call.params.get("path", "")
    files = call.core.buckets.files(bucket, prefix)
    if call.flag("recursive"):
        return paged(call, [_described_file(file) for file in files])
    return paged(call, _one_level(files, prefix))


def paths_info(call: Call) -> Response:
    """Describe the given files; those that do not exist are left out."""
    wanted = set(map(str, take(call.json(), "paths", list)))
    files = call.core.buckets.files(_readable(call))
    return JSONResponse([_described_file(file) for file in files if file.path in wanted])


def batch(call: Call) -> Response:
    """Add, copy and delete files. What can be done is done; the rest is listed with its reason."""
    bucket = _writable(call, "write to a bucket")
    lines = call.lines()
    call.core.xet.receive(_xet_owner(bucket), {str(line.get("xetHash")) for line in lines})
    operations: list[Add | Remove] = []
    failed: list[dict[str, str]] = []
    for line in lines:
        try:
            operations.append(_operation(call, line))
        except Refusal as refusal:
            failed.append({"path": str(line.get("path")), "error": refusal.message})
    call.core.buckets.apply(bucket, operations)
    counts = {"processed": len(operations) + len(failed), "succeeded": len(operations)}
    status = 422 if failed and not operations else 200
    return JSONResponse({"success": not failed, **counts, "failed": failed}, status)


def write_token(call: Call) -> Response:
    """Where to upload files for a bucket."""
    bucket = _writable(call, "write to a bucket")
    return token_answer(call.core.xet.open_upload(_xet_owner(bucket)))


def read_token(call: Call) -> Response:
    """Where to download a bucket's files from."""
    files = call.core.buckets.files(_readable(call))
    return token_answer(call.core.xet.open_download([file.content for file in files]))


def resolve(call: Call) -> Response:
    """A file's content. The headers tell clients that speak Xet where to get it instead."""
    bucket, path = _readable(call), call.params["path"]
    found = [file for file in call.core.buckets.files(bucket, path) if file.path == path]
    if not found:
        raise entry_not_found(path)
    content = found[0].content
    refresh = f"{call.origin}/api/buckets/{bucket.full_name}/xet-read-token"
    headers = {"ETag": f'"{content.hash}"', "X-Xet-Hash": content.hash, "Link": f'<{refresh}>; rel="xet-auth"'}
    return FileResponse(
        call.core.blobs.path(content.sha256),
        headers=headers,
        filename=path.rpartition("/")[2],
        content_disposition_type="inline",
    )


def _namespace(call: Call) -> str:
    namespace = call.params["namespace"]
    return require_account(call.caller).name if namespace == _ME else namespace


def _readable(call: Call) -> Bucket:
    return find_bucket(call, _namespace(call), call.params["name"])


def _writable(call: Call, action: str) -> Bucket:
    bucket = _readable(call)
    require_bucket_write(call.caller, bucket, action)
    return bucket


def _xet_owner(bucket: Bucket) -> str:
    return f"bucket-{bucket.id}"


def _operation(call: Call, line: dict[str, Any]) -> Add | Remove:
    action, path = take(line, "type", str), file_path(take(line, "path", str))
    if action == "deleteFile":
        return Remove(path=path)
    if action not in {"addFile", "copyFile"}:
        raise bad_request(f"Unknown operation '{action}'")
    content = _content(call, line, copied=action == "copyFile")
    return Add(path=path, content=content, mtime=_moment(take(line, "mtime", int)))


def _content(call: Call, line: dict[str, Any], *, copied: bool) -> Content:
    xet_hash = take(line, "xetHash", str)
    content = call.core.xet.find(xet_hash)
    if copied and content not in {file.content for file in call.core.buckets.files(_copy_source(call, line))}:
        content = None
    if content is None:
        raise bad_request(f"The content {xet_hash} is not here: upload it first")
    return content


def _copy_source(call: Call, line: dict[str, Any]) -> Bucket:
    kind, (namespace, _, name) = take(line, "sourceRepoType", str), take(line, "sourceRepoId", str).partition("/")
    if kind != "bucket":
        raise bad_request(f"A file of a {kind} cannot be copied by its Xet hash: this Hub has none for it")
    return find_bucket(call, namespace, name)


def _moment(milliseconds: int) -> str:
    if not 0 <= milliseconds <= _LATEST_MTIME:
        raise bad_request(f"'mtime' must be milliseconds since 1970, found {milliseconds}")
    return clock.moment(milliseconds / 1000)


def _described(bucket: Bucket) -> dict[str, Any]:
    return {
        "id": bucket.full_name,
        "private": bucket.private,
        "createdAt": bucket.created_at,
        "size": bucket.size,
        "totalFiles": bucket.total_files,
    }


def _described_file(file: BucketFile) -> dict[str, Any]:
    return {
        "type": "file",
        "path": file.path,
        "size": file.content.size,
        "xetHash": file.content.hash,
        "mtime": file.mtime,
        "uploadedAt": file.uploaded_at,
    }


def _one_level(files: Sequence[BucketFile], prefix: str) -> list[dict[str, Any]]:
    """Show each folder right below the prefix once, in place of the files in it."""
    shown: dict[str, dict[str, Any]] = {}
    for file in files:
        below = file.path[len(prefix) :].lstrip("/")
        name, slash, _ = below.partition("/")
        path = file.path[: len(file.path) - len(below) + len(name)]
        folder = {"type": "directory", "path": path, "uploadedAt": file.uploaded_at}
        shown.setdefault(path, folder if slash else _described_file(file))
    return list(shown.values())


_BUCKET = "/api/buckets/{namespace}/{name}"
ROUTES = [
    route("/api/buckets/{namespace}", list_all, "GET"),
    route(_BUCKET, create, "POST"),
    route(_BUCKET, info, "GET"),
    route(_BUCKET, delete, "DELETE"),
    route(_BUCKET + "/settings", settings, "PUT"),
    route(_BUCKET + "/tree", tree, "GET"),
    route(_BUCKET + "/tree/{path:path}", tree, "GET"),
    route(_BUCKET + "/paths-info", paths_info, "POST"),
    route(_BUCKET + "/batch", batch, "POST"),
    route(_BUCKET + "/xet-write-token", write_token, "GET"),
    route(_BUCKET + "/xet-read-token", read_token, "GET"),
    route("/buckets/{namespace}/{name}/resolve/{path:path}", resolve, "GET"),
]
