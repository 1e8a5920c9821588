"""Writing to a repo: which way each file is to be sent, then the commit."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from pathspec import GitIgnoreSpec
from starlette.responses import JSONResponse, Response

from jobshelf.hub import git
from jobshelf.hub.account import require_account
from jobshelf.hub.call import Call, route, take, take_or
from jobshelf.hub.card import front_matter
from jobshelf.hub.happenings import Happening, RefChange
from jobshelf.hub.names import file_path, sha256_hex
from jobshelf.hub.refusal import bad_request, not_implemented
from jobshelf.hub.repos import PULLS, Change, Commit, Delete, File, Put, Repo, full_ref
from jobshelf.hub.routes.xet import xet_owner

_REGULAR_LIMIT = 10 * 1024 * 1024
# fmt: off
_LFS_SUFFIXES = frozenset((
    "7z", "arrow", "avi", "bin", "bz2", "ckpt", "flac", "gguf", "gif", "gz", "h5", "jpeg", "jpg", "joblib", "mp3", "mp4",
    "model", "msgpack", "npy", "npz", "onnx", "ogg", "orc", "parquet", "pdf", "pickle", "pkl", "png", "pt", "pth",
    "safetensors", "tar", "tflite", "tgz", "tiff", "wav", "webm", "webp", "whl", "xz", "zip", "zst",
))
# fmt: on


def preupload(call: Call) -> Response:
    """Say for each file whether it goes into the commit itself (`regular`) or is sent ahead (`lfs`).

    With the id of the content that is there now, by which clients leave out what did not change.
    """
    repo = call.committable_repo()
    payload = call.json()
    commit = call.core.repos.resolve(repo, call.params["revision"])
    ignored = _ignored(call, commit, take_or(payload, "gitIgnore", ""))
    known = {item.name: item.oid for item in call.core.repos.tree(commit) if not item.is_tree}
    sent = [_object(item) for item in take(payload, "files", list)]
    paths = [file_path(take(item, "path", str)) for item in sent]
    files = call.core.repos.files(known[path] for path in paths if path in known)
    answers = []
    for path, item in zip(paths, sent, strict=True):
        mode = _upload_mode(path, size=take(item, "size", int), sample=_decoded(take_or(item, "sample", "")))
        there = files.get(known.get(path, ""))
        oid = {} if there is None else {"oid": there.sha256 if mode == "lfs" else there.oid}
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": ignored(path), **oid})
    return JSONResponse({"files": answers})


def commit(call: Call) -> Response:
    """Make one commit of the operations in the body, or none."""
    repo, revision = call.committable_repo(), call.params["revision"]
    header, operations = _header_and_operations(call)
    parent = take_or(header, "parentCommit", "") or None
    # a stale request must not leave blobs behind
    head = _start_of_pull(call, repo, parent) if call.flag("create_pr") else None
    if head is None:
        call.core.repos.require_parent(repo, revision, parent)
    call.core.limits.commits.count(repo.entity)
    change = Change(
        operations=_stored(call, repo, operations),
        title=take(header, "summary", str),
        message=take_or(header, "description", ""),
        author=require_account(call.caller).name,
        parent=None if head else parent,
    )
    return _committed(call, repo, revision, change, head)


def _start_of_pull(call: Call, repo: Repo, parent: str | None) -> Commit:
    """The commit on which a new pull request stands: the one asked for, else the revision in the path."""
    return call.core.repos.resolve(repo, parent or call.params["revision"])


def _committed(call: Call, repo: Repo, revision: str, change: Change, head: Commit | None) -> Response:
    core, pull = call.core, {}
    if head is not None:
        opened, made = core.discussions.propose(repo, change, head)
        core.happenings.tell(Happening(repo=repo, action="create", scope="discussion", discussion=opened))
        pull = {"pullRequestUrl": f"{repo_url(call, repo)}/discussions/{opened.num}"}
    else:
        made = core.repos.commit(repo, revision, change)
        if revision.startswith(PULLS):
            core.discussions.note_commit(repo, int(revision.removeprefix(PULLS)), made)
        moved = RefChange(ref=full_ref(revision), old=made.parent, new=made.oid)
        core.happenings.tell(Happening(repo=repo, action="update", scope="repo.content", refs=[moved]))
    url = f"{repo_url(call, repo)}/commit/{made.oid}"
    return JSONResponse({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": "", **pull})


def repo_url(call: Call, repo: Repo) -> str:
    """The address of a repo's page."""
    return f"{call.origin}/{'' if repo.kind == 'model' else f'{repo.kind}s/'}{repo.full_name}"


def _ignored(call: Call, commit: Commit, sent: str) -> Callable[[str], bool]:
    """Whether a path is to be left out by the .gitignore that comes with the upload, else by the repo's own."""
    there = None if sent else call.core.repos.file(commit, ".gitignore")
    text = sent or (call.core.blobs.read(there.sha256).decode(errors="replace") if there else "")
    try:
        return GitIgnoreSpec.from_lines(text.splitlines()).match_file
    except ValueError as error:
        raise bad_request(f"Malformed .gitignore: {error}") from error


def _upload_mode(path: str, *, size: int, sample: bytes) -> str:
    suffix = path.rpartition(".")[2].lower()
    large = size >= _REGULAR_LIMIT or suffix in _LFS_SUFFIXES or b"\x00" in sample
    return "lfs" if large and size > 0 else "regular"


def _header_and_operations(call: Call) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    lines = [(take(line, "key", str), take(line, "value", dict)) for line in call.lines()]
    headers = [value for key, value in lines if key == "header"]
    if len(headers) != 1:
        raise bad_request(f"A commit has one header line, found {len(headers)}")
    return headers[0], [line for line in lines if line[0] != "header"]


def _stored(call: Call, repo: Repo, operations: Iterable[tuple[str, dict[str, Any]]]) -> list[Put | Delete]:
    """Store the contents that a commit carries, and check those that were sent ahead; all are checked before any is kept."""
    contents: dict[str, bytes] = {}
    parsed: list[Put | Delete] = []
    for key, value in operations:
        path = file_path(take(value, "path", str).rstrip("/") if key == "deletedFolder" else take(value, "path", str))
        if key in {"deletedFile", "deletedFolder"}:
            parsed.append(Delete(path=path, is_folder=key == "deletedFolder"))
        elif key == "file":
            content = _content(path, value)
            contents[path] = content
            parsed.append(Put(path=path, file=_regular(content)))
        elif key == "lfsFile":
            parsed.append(Put(path=path, file=_large(call, repo, path, value)))
        else:
            raise not_implemented(f"the commit operation '{key}'")
    call.core.blobs.require_room(sum(len(content) for content in contents.values()))
    for content in contents.values():
        call.core.blobs.add(content)
    return parsed


def _content(path: str, value: dict[str, Any]) -> bytes:
    text = take(value, "content", str)
    content = _decoded(text) if take_or(value, "encoding", "utf-8") == "base64" else text.encode()
    if path == "README.md":
        try:
            front_matter(content.decode(errors="replace"))
        except ValueError as error:
            raise bad_request(str(error)) from error
    return content


def _regular(content: bytes) -> File:
    return File(
        oid=git.object_id("blob", content), sha256=hashlib.sha256(content).hexdigest(), size=len(content), lfs=False
    )


def _large(call: Call, repo: Repo, path: str, value: dict[str, Any]) -> File:
    sha256 = sha256_hex(take(value, "oid", str))
    if call.core.blobs.size(sha256) is None:
        call.core.xet.receive(xet_owner(repo), [sha256])
    size = call.core.blobs.size(sha256)
    if size is None:
        raise bad_request(f"The content of '{path}' ({sha256}) was not uploaded: send it ahead, then commit")
    if take_or(value, "size", size) != size:
        raise bad_request(f"'{path}' is {size} bytes, the commit says {value['size']}")
    return File(oid=git.object_id("blob", git.lfs_pointer(sha256, size)), sha256=sha256, size=size, lfs=True)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request(f"Content is not base64: {error}") from error


def _object(item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise bad_request(f"Expected an object, found {type(item).__name__}")
    return item


_REPO = "/api/{kinds}/{namespace}/{name}"
ROUTES = [
    route(_REPO + "/preupload/{revision}", preupload, "POST"),
    route(_REPO + "/commit/{revision}", commit, "POST"),
]
