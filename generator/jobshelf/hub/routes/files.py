"""File contents: resolve and raw, with ranges."""

from __future__ import annotations

from starlette.responses import FileResponse, PlainTextResponse, Response

from jobshelf.hub import git
from jobshelf.hub.call import Call, route
from jobshelf.hub.lookup import require_open
from jobshelf.hub.refusal import entry_not_found
from jobshelf.hub.repos import Commit, File


def resolve(call: Call) -> Response:
    """A file's content; for a large file the way to it, a signed URL on another origin."""
    commit, path, file = _found(call)
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.sha256 if file.lfs else file.oid}"'}
    if not file.lfs:
        return _content(call, file, path, headers)
    url = call.core.signer.url(
        call.core.other_origin(call.origin), "read", file.sha256, size=file.size, filename=_last(path)
    )
    linked = {"Location": url, "X-Linked-Size": str(file.size), "X-Linked-ETag": headers["ETag"]}
    return PlainTextResponse(f"Found. Redirecting to {url}", 302, headers={**headers, **linked})


def raw(call: Call) -> Response:
    """A file as git has it: for a large one that is the pointer."""
    commit, path, file = _found(call)
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"'}
    if file.lfs:
        return PlainTextResponse(git.lfs_pointer(file.sha256, file.size), headers=headers)
    return _content(call, file, path, headers)


def _found(call: Call) -> tuple[Commit, str, File]:
    repo = call.readable_repo()
    require_open(call, repo)
    commit = call.core.repos.resolve(repo, call.params["revision"])
    path = call.params["path"]
    file = call.core.repos.file(commit, path)
    if file is None:
        raise entry_not_found(path)
    return commit, path, file


def _content(call: Call, file: File, path: str, headers: dict[str, str]) -> Response:
    return FileResponse(
        call.core.blobs.path(file.sha256), headers=headers, filename=_last(path), content_disposition_type="inline"
    )


def _last(path: str) -> str:
    return path.rpartition("/")[2]


_BELOW = "/{revision}/{path:path}"
ROUTES = [
    route(f"{prefix}/{{namespace}}/{{name}}/{verb}{_BELOW}", handler, "GET")
    for prefix in ("/{kinds}", "")
    for verb, handler in (("resolve", resolve), ("raw", raw))
]
