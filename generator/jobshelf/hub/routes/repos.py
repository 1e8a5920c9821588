"""Repos: create, describe, refs, settings, move, delete."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from jobshelf.hub import git
from jobshelf.hub.account import require_account
from jobshelf.hub.call import Call, is_private, new_namespace, only, route, take, take_or
from jobshelf.hub.card import front_matter
from jobshelf.hub.happenings import Happening, RefChange
from jobshelf.hub.lookup import readable_repo, require_open, require_repo_write
from jobshelf.hub.names import ref_name, repo_name
from jobshelf.hub.paging import PAGE_SIZE, page_of, paged
from jobshelf.hub.refusal import Refusal, bad_request, conflict, entry_not_found
from jobshelf.hub.repos import DEFAULT_BRANCH, Change, Commit, File, Kind, Put, Ref, Repo, repo_kind

_URL_PREFIX: dict[Kind, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_EXPANDED_PAGE = 50
_VISIBILITY = {"visibility", "private"}
_CREATED_WITH = _VISIBILITY | {"name", "organization", "type", "sdk", "gated"}
_GITATTRIBUTES = b"".join(
    b"*.%s filter=lfs diff=lfs merge=lfs -text\n" % suffix
    for suffix in (b"arrow", b"bin", b"gguf", b"gz", b"jpg", b"npy", b"parquet", b"png", b"safetensors", b"zip")
)


def create(call: Call) -> Response:
    """Create a repo with a first commit."""
    payload = call.json()
    only(payload, _CREATED_WITH, "creating a repo with")
    kind = repo_kind(take_or(payload, "type", "model"))
    name = repo_name(take(payload, "name", str))
    namespace = new_namespace(call, take_or(payload, "organization", ""), f"create a {kind}")
    sdk = take(payload, "sdk", str) if kind == "space" else None
    url = f"{call.origin}/{_URL_PREFIX[kind]}{namespace}/{name}"
    oid = git.object_id("blob", _GITATTRIBUTES)
    blob = File(oid=oid, sha256=call.core.blobs.add(_GITATTRIBUTES), size=len(_GITATTRIBUTES), lfs=False)
    first = Change(
        operations=(Put(path=".gitattributes", file=blob),),
        title="initial commit",
        message="",
        author=require_account(call.caller).name,
    )
    private, gated = is_private(payload), _gated(payload)
    try:
        repo = call.core.repos.create(kind, namespace, name, private=private, sdk=sdk, gated=gated, first=first)
    except Refusal as refusal:
        raise conflict(refusal.message, url=url) from refusal
    call.core.happenings.tell(Happening(repo=repo, action="create", scope="repo"))
    return JSONResponse({"url": url, "name": repo.full_name, "id": str(repo.id)})


def delete(call: Call) -> Response:
    """Delete a repo."""
    payload = call.json()
    kind = repo_kind(take_or(payload, "type", "model"))
    namespace = take_or(payload, "organization", "") or (call.caller.name if call.caller else "")
    repo = readable_repo(call, kind, namespace, take(payload, "name", str))
    require_repo_write(call.caller, repo, f"delete a {kind}")
    call.core.repos.delete(repo)
    call.core.happenings.tell(Happening(repo=repo, action="delete", scope="repo"))
    return JSONResponse({})


def move(call: Call) -> Response:
    """Rename a repo, or give it to another namespace of the caller."""
    payload = call.json()
    kind = repo_kind(take_or(payload, "type", "model"))
    old, new = (take(payload, key, str).partition("/") for key in ("fromRepo", "toRepo"))
    repo = readable_repo(call, kind, old[0], old[2])
    require_repo_write(call.caller, repo, f"move a {kind}")
    call.core.repos.move(repo, new_namespace(call, repo_name(new[0]), f"create a {kind}"), repo_name(new[2]))
    return JSONResponse({})


def settings(call: Call) -> Response:
    """Make a repo private or public, gate or open it."""
    repo = call.writable_repo("change the settings of a repo")
    payload = call.json()
    only(payload, _VISIBILITY | {"gated"}, "the repo setting")
    private = is_private(payload) if payload.keys() & _VISIBILITY else repo.private
    gated = _gated(payload) if "gated" in payload else repo.gated
    call.core.repos.set_private(repo, private=private)
    call.core.repos.set_gated(repo, gated)
    call.core.happenings.tell(Happening(repo=repo, action="update", scope="repo.config"))
    return JSONResponse({"private": private, "gated": gated or False})


def info(call: Call) -> Response:
    """Describe a repo at a revision."""
    repo, commit = _repo_and_commit(call)
    return JSONResponse(described_repo(call, repo, commit, blobs=call.flag("blobs")))


def described_repo(call: Call, repo: Repo, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
    """A repo at a revision, as the Hub describes it; `blobs` adds size and ids to its files."""
    core = call.core
    items = [item for item in core.repos.tree(commit) if not item.is_tree]
    files = core.repos.files(item.oid for item in items)
    card = read_card(call, commit)
    return {
        "_id": str(repo.id),
        "id": repo.full_name,
        "author": repo.namespace,
        "sha": commit.oid,
        "createdAt": repo.created_at,
        "lastModified": core.repos.resolve(repo, DEFAULT_BRANCH).date,
        "private": repo.private,
        "gated": repo.gated or False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": _tags(card),
        "cardData": card,
        "usedStorage": sum(file.size for file in files.values()),
        "siblings": [_sibling(item.name, files[item.oid], detailed=blobs) for item in items],
        **({"sdk": repo.sdk} if repo.kind == "space" else {}),
    }


def tree(call: Call) -> Response:
    """List a folder, or everything below it, a page at a time."""
    repo, commit = _repo_and_commit(call)
    items = call.core.repos.tree(commit)
    folder = call.params.get("path", "").strip("/")
    if folder and folder not in {item.name for item in items if item.is_tree}:
        raise entry_not_found(folder)
    inside = folder + "/" if folder else ""
    shown = [item for item in items if item.name.startswith(inside)]
    if not call.flag("recursive"):
        shown = [item for item in shown if "/" not in item.name[len(inside) :]]
    expand = call.flag("expand")
    page, headers = page_of(call, shown, size=_EXPANDED_PAGE if expand else PAGE_SIZE)
    return JSONResponse(_described(call, repo, commit, page, expand=expand), headers=headers)


def paths_info(call: Call) -> Response:
    """Describe the given paths; those that do not exist are left out."""
    repo, commit = _repo_and_commit(call)
    form = _form(call)
    known = call.core.repos.index(commit)
    items = [known[path] for path in (path.strip("/") for path in form.get("paths", [])) if path in known]
    expand = form.get("expand", ["false"])[-1].lower() in {"true", "1"}
    return JSONResponse(_described(call, repo, commit, items, expand=expand))


def refs(call: Call) -> Response:
    """List branches and tags."""
    listed = call.core.repos.refs(call.readable_repo())
    pulls, tags = [ref for ref in listed if ref.is_pull], [ref for ref in listed if ref.is_tag]
    branches = [ref for ref in listed if not ref.is_pull and not ref.is_tag]
    answer = {"branches": _described_refs(branches), "tags": _described_refs(tags), "converts": []}
    if call.flag("include_prs"):
        answer["pullRequests"] = _described_refs(pulls)
    return JSONResponse(answer)


def _described_refs(refs: Sequence[Ref]) -> list[dict[str, str]]:
    return [{"name": ref.name, "ref": ref.ref, "targetCommit": ref.target} for ref in refs]


def commits(call: Call) -> Response:
    """List the commits that lead to a revision, newest first."""
    repo, commit = _repo_and_commit(call)
    history = call.core.repos.history(repo, commit)
    items = [
        {
            "id": past.oid,
            "title": past.title,
            "message": past.message,
            "date": past.date,
            "authors": [{"user": past.author}],
        }
        for past in history
    ]
    return paged(call, items)


def create_branch(call: Call) -> Response:
    """Create a branch from a revision, `main` by default."""
    repo = call.writable_repo("create a branch")
    start = call.core.repos.resolve(repo, take_or(call.json(), "startingPoint", DEFAULT_BRANCH))
    call.core.repos.create_branch(repo, ref_name(call.params["ref"]), start)
    return JSONResponse({})


def delete_branch(call: Call) -> Response:
    """Delete a branch."""
    call.core.repos.delete_branch(call.writable_repo("delete a branch"), call.params["ref"])
    return JSONResponse({})


def create_tag(call: Call) -> Response:
    """Tag a revision."""
    repo = call.writable_repo("create a tag")
    name = ref_name(take(call.json(), "tag", str))
    target = call.core.repos.resolve(repo, call.params["ref"])
    call.core.repos.create_tag(repo, name, target)
    made = RefChange(ref=f"refs/tags/{name}", old=None, new=target.oid)
    call.core.happenings.tell(Happening(repo=repo, action="update", scope="repo.content", refs=[made]))
    return JSONResponse({})


def delete_tag(call: Call) -> Response:
    """Delete a tag."""
    call.core.repos.delete_tag(call.writable_repo("delete a tag"), call.params["ref"])
    return JSONResponse({})


def super_squash(call: Call) -> Response:
    """Replace the history of a branch by one commit."""
    repo = call.writable_repo("squash a branch")
    author, title = require_account(call.caller).name, take(call.json(), "message", str)
    call.core.repos.squash(repo, call.params["ref"], Change(operations=(), title=title, message="", author=author))
    return JSONResponse({})


def auth_check(call: Call) -> Response:
    """Whether the caller may read the repo and its files."""
    require_open(call, call.readable_repo())
    return JSONResponse({})


def auth_check_write(call: Call) -> Response:
    """Whether the caller may write to the repo."""
    call.writable_repo("write")
    return JSONResponse({})


def _gated(payload: Mapping[str, Any]) -> str:
    gated = payload.get("gated") or ""
    if gated not in ("", "auto", "manual"):
        raise bad_request("'gated' must be 'auto', 'manual' or false")
    return gated


def _repo_and_commit(call: Call) -> tuple[Repo, Commit]:
    repo = call.readable_repo()
    return repo, call.core.repos.resolve(repo, call.params.get("revision", DEFAULT_BRANCH))


def _form(call: Call) -> dict[str, list[str]]:
    try:
        return parse_qs(call.body.decode(), max_num_fields=2 * PAGE_SIZE)
    except ValueError as error:
        raise bad_request(f"Malformed form: {error}") from error


def read_card(call: Call, commit: Commit) -> dict[str, Any] | None:
    """The metadata of a README.md; None where there is none that can be read."""
    readme = call.core.repos.file(commit, "README.md")
    if readme is None:
        return None
    try:
        metadata = front_matter(call.core.blobs.read(readme.sha256).decode(errors="replace"))
    except ValueError:
        return None
    # YAML knows dates, JSON does not
    return json.loads(json.dumps(metadata, default=str, skipkeys=True))


def _tags(card: dict[str, Any] | None) -> list[str]:
    tags = (card or {}).get("tags") or []
    return [str(tag) for tag in tags] if isinstance(tags, list) else [str(tags)]


def _sibling(path: str, file: File, *, detailed: bool) -> dict[str, Any]:
    if not detailed:
        return {"rfilename": path}
    lfs = {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": _pointer_size(file)}} if file.lfs else {}
    return {"rfilename": path, "size": file.size, "blobId": file.oid, **lfs}


def _pointer_size(file: File) -> int:
    return len(git.lfs_pointer(file.sha256, file.size))


def _described(
    call: Call, repo: Repo, commit: Commit, items: Sequence[git.TreeItem], *, expand: bool
) -> list[dict[str, Any]]:
    files = call.core.repos.files(item.oid for item in items if not item.is_tree)
    described = [_tree_item(item, files) for item in items]
    if expand:
        changes = call.core.repos.last_changes(repo, commit, items)
        for entry in described:
            last = changes[entry["path"]]
            entry["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return described


def _tree_item(item: git.TreeItem, files: dict[str, File]) -> dict[str, Any]:
    if item.is_tree:
        return {"type": "directory", "path": item.name, "oid": item.oid, "size": 0}
    file = files[item.oid]
    lfs = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": _pointer_size(file)}} if file.lfs else {}
    return {"type": "file", "path": item.name, "oid": item.oid, "size": file.size, **lfs}


_REPO = "/api/{kinds}/{namespace}/{name}"
ROUTES = [
    route("/api/repos/create", create, "POST"),
    route("/api/repos/delete", delete, "DELETE"),
    route("/api/repos/move", move, "POST"),
    route(_REPO + "/settings", settings, "PUT"),
    route(_REPO, info, "GET"),
    route(_REPO + "/revision/{revision}", info, "GET"),
    route(_REPO + "/tree/{revision}", tree, "GET"),
    route(_REPO + "/tree/{revision}/{path:path}", tree, "GET"),
    route(_REPO + "/paths-info/{revision}", paths_info, "POST"),
    route(_REPO + "/refs", refs, "GET"),
    route(_REPO + "/commits/{revision}", commits, "GET"),
    route(_REPO + "/branch/{ref}", create_branch, "POST"),
    route(_REPO + "/branch/{ref}", delete_branch, "DELETE"),
    route(_REPO + "/tag/{ref}", create_tag, "POST"),
    route(_REPO + "/tag/{ref}", delete_tag, "DELETE"),
    route(_REPO + "/super-squash/{ref}", super_squash, "POST"),
    route(_REPO + "/auth-check", auth_check, "GET"),
    route(_REPO + "/auth-check/write", auth_check_write, "GET"),
]
