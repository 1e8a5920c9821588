"""Discussions and pull requests: open, list, comment, close, merge."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from jobshelf.hub.account import Account, require_account
from jobshelf.hub.call import Call, route, take, take_or
from jobshelf.hub.discussions import Discussion, Event
from jobshelf.hub.happenings import Happening, RefChange
from jobshelf.hub.lookup import require_repo_write
from jobshelf.hub.refusal import Refusal, bad_request
from jobshelf.hub.repos import DEFAULT_BRANCH, Repo, full_ref

_PAGE = 50
_SHORTEST_TITLE, _LONGEST_TITLE = 3, 200


def create(call: Call) -> Response:
    """Open a discussion, or a draft of a pull request with a branch `refs/pr/N` of its own."""
    repo, account = _contributor(call)
    payload = call.json()
    title = _title(payload)
    base = call.core.repos.resolve(repo, DEFAULT_BRANCH) if take_or(payload, "pullRequest", False) else None
    opened = call.core.discussions.open(
        repo, title=title, text=take_or(payload, "description", ""), author=account.name, base=base
    )
    call.core.happenings.tell(Happening(repo=repo, action="create", scope="discussion", discussion=opened))
    return JSONResponse({"num": opened.num, "url": f"{call.origin}{call.path.removeprefix('/api')}/{opened.num}"})


def listed(call: Call) -> Response:
    """A page of the discussions, newest first."""
    repo = call.readable_repo()
    page = call.query.get("p", "0")
    if not (page.isascii() and page.isdigit() and len(page) < 10):
        raise bad_request(f"'p' must be a number, found '{page[:40]}'")
    found = [item for item in call.core.discussions.of(repo) if _is_asked_for(call, item)]
    start = int(page) * _PAGE
    shown = [_described(repo, item) for item in found[start : start + _PAGE]]
    return JSONResponse({"discussions": shown, "count": len(found), "start": start})


def details(call: Call) -> Response:
    """A discussion and what happened in it."""
    repo = call.readable_repo()
    found = _find(call, repo)
    events = [_described_event(event) for event in call.core.discussions.events(repo, found.num)]
    answer = {**_described(repo, found), "events": events}
    if found.is_pull:
        changes = {"base": DEFAULT_BRANCH, **({"mergeCommitId": found.merged_as} if found.merged_as else {})}
        answer |= {"changes": changes, "filesWithConflicts": call.core.discussions.conflicts(repo, found)}
    return JSONResponse(answer)


def comment(call: Call) -> Response:
    """Say something."""
    repo, account = _contributor(call)
    found, text = _find(call, repo), take(call.json(), "comment", str)
    event = call.core.discussions.comment(repo, found.num, author=account.name, text=text)
    call.core.happenings.tell(
        Happening(repo=repo, action="create", scope="discussion.comment", discussion=found, comment=event)
    )
    return JSONResponse({"newMessage": _described_event(event)})


def rename(call: Call) -> Response:
    """Change the title."""
    repo, account, found = _own(call, "rename a discussion")
    event = call.core.discussions.rename(repo, found, author=account.name, title=_title(call.json()))
    return JSONResponse({"newTitle": _described_event(event)})


def set_status(call: Call) -> Response:
    """Open or close."""
    repo, account, found = _own(call, "open or close a discussion")
    payload = call.json()
    event = call.core.discussions.set_status(repo, found, author=account.name, status=take(payload, "status", str))
    _add_comment(call, repo, found, account, payload)
    now = call.core.discussions.get(repo, found.num)
    call.core.happenings.tell(Happening(repo=repo, action="update", scope="discussion", discussion=now))
    return JSONResponse({"newStatus": _described_event(event)})


def merge(call: Call) -> Response:
    """Put a pull request's changes on top of `main`."""
    repo = call.writable_repo("merge a pull request")
    account, found, payload = require_account(call.caller), _find(call, repo), call.json()
    merged = call.core.discussions.merge(repo, found, author=account.name)
    _add_comment(call, repo, found, account, payload)
    moved = RefChange(ref=full_ref(DEFAULT_BRANCH), old=merged.parent, new=merged.oid)
    call.core.happenings.tell(Happening(repo=repo, action="update", scope="repo.content", refs=[moved]))
    return JSONResponse({"mergeCommitId": merged.oid})


def _contributor(call: Call) -> tuple[Repo, Account]:
    return call.contributable_repo("write in a discussion"), require_account(call.caller)


def _own(call: Call, action: str) -> tuple[Repo, Account, Discussion]:
    """A discussion that the caller began, or that is in a repo of theirs."""
    repo, account = _contributor(call)
    found = _find(call, repo)
    if found.author != account.name:
        require_repo_write(account, repo, action)
    return repo, account, found


def _find(call: Call, repo: Repo) -> Discussion:
    num = call.params["num"]
    if not (num.isascii() and num.isdigit() and len(num) < 10):
        raise Refusal(404, f"No discussion {num[:40]} in {repo.full_name}")
    return call.core.discussions.get(repo, int(num))


def _title(payload: dict[str, Any]) -> str:
    title = take(payload, "title", str).strip()
    if not _SHORTEST_TITLE <= len(title) <= _LONGEST_TITLE:
        raise bad_request(f"A title has {_SHORTEST_TITLE} to {_LONGEST_TITLE} letters, found {len(title)}")
    return title


def _add_comment(call: Call, repo: Repo, found: Discussion, account: Account, payload: dict[str, Any]) -> None:
    text = take_or(payload, "comment", "")
    if text:
        call.core.discussions.comment(repo, found.num, author=account.name, text=text)


def _is_asked_for(call: Call, found: Discussion) -> bool:
    kind, status = call.query.get("type", "all"), call.query.get("status", "all")
    return (
        kind in ("all", "pull_request" if found.is_pull else "discussion")
        and status in ("all", "open" if found.status in ("open", "draft") else "closed")
        and call.query.get("author", found.author) == found.author
    )


def _described(repo: Repo, found: Discussion) -> dict[str, Any]:
    return {
        "num": found.num,
        "title": found.title,
        "author": {"name": found.author},
        "status": found.status,
        "isPullRequest": found.is_pull,
        "createdAt": found.created_at,
        "repo": {"name": repo.full_name, "type": repo.kind},
    }


def _described_event(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "author": {"name": event.author},
        "createdAt": event.created_at,
        "data": dict(event.data),
    }


_DISCUSSIONS = "/api/{kinds}/{namespace}/{name}/discussions"
ROUTES = [
    route(_DISCUSSIONS, create, "POST"),
    route(_DISCUSSIONS, listed, "GET"),
    route(_DISCUSSIONS + "/{num}", details, "GET"),
    route(_DISCUSSIONS + "/{num}/comment", comment, "POST"),
    route(_DISCUSSIONS + "/{num}/title", rename, "POST"),
    route(_DISCUSSIONS + "/{num}/status", set_status, "POST"),
    route(_DISCUSSIONS + "/{num}/merge", merge, "POST"),
]
