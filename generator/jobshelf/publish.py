"""Mirror the shelf to its Hub dataset repository: plan, one commit on a known parent, read back, tag.

Three promises hold whatever happens in between: the repository is left as it was or as planned, a file that no shelf
published is never touched, and nobody's newer script is replaced by an older one.

The bytes that belong to the shelf are those the published `SHA256SUMS` lists. Several shelves or checkouts may publish to
one repository: scripts are merged one by one (see `merge`), and everything derived from them is derived from the merge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from jobshelf.client import explained, require_write
from jobshelf.errors import InputError, JobshelfError, NotPersisted
from jobshelf.forms import forms, script_url
from jobshelf.index import Entry, Index, check_index
from jobshelf.render import render
from jobshelf.shelf import Shelf

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SUMS: Final = "SHA256SUMS"
ATTEMPTS: Final = 5
_MOVED: Final = (409, 412)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What stands in the repository at commit `head`; None and empty where there is nothing yet."""

    head: str | None
    sums: Mapping[str, str]
    index: Index | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one commit on `parent` would change.

    `seen` is the index that stands there (None: none, or the very same). `kept` says why a published script stays as is.
    """

    repo: str
    parent: str | None
    seen: Index | None
    writes: Mapping[str, bytes]
    kept: Mapping[str, str]

    @property
    def unchanged(self) -> bool:
        """True when the repository already holds every byte."""
        return not self.writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a publish did. `commit` is the head that holds the shelf; `tag` the release tag made, if any."""

    repo: str
    commit: str
    written: tuple[str, ...]
    kept: Mapping[str, str]
    tag: str | None


def publish(shelf: Shelf, client: HfApi, *, repo: str | None = None, release: bool = False) -> Outcome:
    """Bring the Hub dataset `repo` (default: the shelf's own) to the state of `shelf`.

    Unchanged costs two requests. Otherwise: at most `ATTEMPTS` tries of plan and one commit on the head that was planned
    against, then every written file is read back and compared. With `release`, the result is tagged `v<version>`.

    Raises JobshelfError for a stale index or an existing tag, TokenError, InputError for a foreign file in the way,
    NotPersisted when others keep moving the repository or when what is read back differs.
    """
    index = index_for(shelf, repo)
    if release:
        _require_new_tag(client, index)
    outcome = _commit(shelf, index, client)
    return replace(outcome, tag=_tag(client, outcome, index)) if release else outcome


def index_for(shelf: Shelf, repo: str | None) -> Index:
    """Return the shelf's index with the URLs of `repo` (default: the shelf's own). Raises when the file is stale."""
    index = check_index(shelf)
    return replace(index, dataset=repo) if repo else index


def plan(shelf: Shelf, index: Index, client: HfApi, *, base: Index | None = None) -> Plan:
    """Compare the shelf with the head of `index.dataset`. `base` is the index that an earlier try of this publish saw."""
    repo = index.dataset
    known = _head_and_sums(client, repo)
    files = _files(shelf, index)
    if known.sums and known.sums == _sums(files):
        return Plan(repo=repo, parent=known.head, seen=None, writes={}, kept={})
    published = _with_index(client, repo, known)
    merged, kept = merge(index, published.index, base)
    files = _files(shelf, merged)
    sums = {**published.sums, **_sums(files)}
    writes = {path: data for path, data in files.items() if published.sums.get(path) != _sha256(data)}
    if writes:
        writes[SUMS] = _sums_text(sums)
    if writes and published.head:
        _refuse_foreign(client, published, repo, writes)
    return Plan(repo=repo, parent=published.head, seen=published.index, writes=writes, kept=kept)


def merge(ours: Index, published: Index | None, base: Index | None) -> tuple[Index, dict[str, str]]:
    """Return the index to publish, and for each script that stays as published the reason.

    A published script stays when it is not in our catalogue, when its version is newer than ours, or when it moved since
    `base` and ours did not. Raises NotPersisted when both moved under the same version.
    """
    if published is None:
        return ours, {}
    here = {entry.id: entry for entry in ours.entries}
    before = {entry.id: entry for entry in base.entries} if base else {}
    kept: dict[str, str] = {}
    for there in published.entries:
        if reason := _why_keep(here.get(there.id), there, before.get(there.id) if base else there):
            kept[there.id] = reason
            here[there.id] = there
    entries = tuple(here[name] for name in sorted(here))
    return replace(ours, entries=entries), kept


def _why_keep(ours: Entry | None, there: Entry, before: Entry | None) -> str | None:
    """Say why the published entry stays; `before` is what this publish first saw of it (None: it was not there)."""
    if ours is None:
        return "it is not in this catalogue"
    if ours.sha256 == there.sha256:
        return None
    if _version(there) > _version(ours):
        return f"version {there.version} there is newer than {ours.version} here"
    moved = before is None or before.sha256 != there.sha256
    if not moved or _version(ours) > _version(there):
        return None
    if before is not None and before.sha256 == ours.sha256:
        return "somebody else published it meanwhile"
    message = f"{ours.file} was changed here and, since this publish began, by somebody else, both as {ours.version}"
    raise NotPersisted(message, fix="merge their change, raise the script's version, jobshelf index, jobshelf publish")


def _version(entry: Entry) -> tuple[int, ...]:
    """Return the version as PEP 440 orders it: 1.10 is after 1.9, and 1.0 is 1."""
    parts = [int(part) for part in entry.version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _commit(shelf: Shelf, index: Index, client: HfApi) -> Outcome:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError

    repo, base = index.dataset, None
    for _ in range(ATTEMPTS):
        with explained(client):
            step = plan(shelf, index, client, base=base)
            if step.unchanged and step.parent:
                return Outcome(repo=repo, commit=step.parent, written=(), kept=step.kept, tag=None)
            parent = step.parent or _create(client, repo)
            require_write(client, repo.partition("/")[0])
            try:
                made = client.create_commit(
                    repo,
                    [CommitOperationAdd(path, data) for path, data in sorted(step.writes.items())],
                    commit_message=_message(step),
                    repo_type="dataset",
                    parent_commit=parent,
                )
            except HfHubHTTPError as error:
                if error.response.status_code not in _MOVED:
                    raise
                base = base or step.seen or replace(index, entries=())
                continue
            _read_back(client, repo, made.oid, step.writes)
            return Outcome(repo=repo, commit=made.oid, written=tuple(sorted(step.writes)), kept=step.kept, tag=None)
    message = f"{repo} moved under each of {ATTEMPTS} tries; nothing was written"
    raise NotPersisted(message, fix="run the same command when the other publishers are done")


def _create(client: HfApi, repo: str) -> str:
    require_write(client, repo.partition("/")[0])
    client.create_repo(repo, repo_type="dataset", exist_ok=True)
    return str(client.repo_info(repo, repo_type="dataset").sha)


def _head_and_sums(client: HfApi, repo: str) -> Published:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        head = str(client.repo_info(repo, repo_type="dataset").sha)
    except RepositoryNotFoundError:
        return Published(head=None, sums={}, index=None)
    return Published(head=head, sums=_parse_sums(_get(client, repo, head, SUMS), repo), index=None)


def _with_index(client: HfApi, repo: str, known: Published) -> Published:
    if "index.json" not in known.sums or known.head is None:
        return known
    text = (_get(client, repo, known.head, "index.json") or b"").decode("utf-8", "replace")
    return replace(known, index=Index.from_text(text, f"index.json in {repo}"))


def _get(client: HfApi, repo: str, revision: str, path: str) -> bytes | None:
    """Return a file's bytes in one request, None when the repository has no such file."""
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = script_url(repo, path, revision=revision, endpoint=client.endpoint)
    response = get_session().get(url, headers=build_hf_headers(token=client.token))
    try:
        hf_raise_for_status(response)
    except EntryNotFoundError:
        return None
    return response.content


def _files(shelf: Shelf, index: Index) -> dict[str, bytes]:
    """Return the bytes that the shelf has to offer for `index`: the scripts that lie here, and what is derived."""
    local = {path.name: path.read_bytes() for path in shelf.scripts()}
    files = {entry.file: local[entry.file] for entry in index.entries if _is_local(entry, local)}
    files["index.json"] = index.to_text().encode()
    files["README.md"] = card(index).encode()
    return files


def _is_local(entry: Entry, local: Mapping[str, bytes]) -> bool:
    return entry.file in local and _sha256(local[entry.file]) == entry.sha256


def card(index: Index) -> str:
    """Return the dataset card: what the shelf is, a table of its scripts, and their commands."""
    commands = {
        entry.id: forms(script_url(index.dataset, entry.file), entry.launch, entry.arguments).to_json()
        for entry in index.entries
    }
    return render("card.md.jinja", index=index, commands=commands)


def _sums(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: _sha256(data) for path, data in files.items()}


def _sums_text(sums: Mapping[str, str]) -> bytes:
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items())).encode()


def _parse_sums(data: bytes | None, repo: str) -> dict[str, str]:
    lines = (data or b"").decode("utf-8", "replace").splitlines()
    pairs = [line.split("  ", 1) for line in lines]
    if not all(len(pair) == 2 and len(pair[0]) == 64 for pair in pairs):
        message = f"{SUMS} in {repo} is not one that a shelf published"
        raise InputError(message, fix="publish to another repository: --repo owner/name")
    return {path: digest for digest, path in pairs}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse_foreign(client: HfApi, published: Published, repo: str, writes: Mapping[str, bytes]) -> None:
    """Refuse to write over a file that is there and that no shelf published."""
    tree = client.list_repo_tree(repo, repo_type="dataset", revision=published.head)
    ours = {*published.sums, SUMS} if published.sums else set()
    foreign = sorted({item.path for item in tree} & writes.keys() - ours)
    if foreign:
        message = f"{repo} already holds {', '.join(foreign)}, which no shelf published"
        raise InputError(message, fix="rename or delete it there, or publish elsewhere: --repo owner/name")


def _read_back(client: HfApi, repo: str, commit: str, writes: Mapping[str, bytes]) -> None:
    for path, data in sorted(writes.items()):
        if _get(client, repo, commit, path) != data:
            message = f"{path} in {repo} at {commit[:12]} is not what was sent"
            raise NotPersisted(message, fix="run the same command again")


def _message(step: Plan) -> str:
    scripts = [path for path in sorted(step.writes) if path.endswith(".py")]
    return f"Publish {', '.join(scripts) or 'the index'}" if len(scripts) < 4 else f"Publish {len(scripts)} scripts"


def _require_new_tag(client: HfApi, index: Index) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    if index.release is None:
        message = f"{index.version} in pyproject.toml is a development version"
        raise JobshelfError(message, fix="set a release version such as 1.2.0, then: jobshelf index")
    with explained(client):
        try:
            refs = client.list_repo_refs(index.dataset, repo_type="dataset")
        except RepositoryNotFoundError:
            return
    if f"v{index.release}" in {tag.name for tag in refs.tags}:
        message = f"{index.dataset} already has the tag v{index.release}"
        raise JobshelfError(message, fix="raise the version in pyproject.toml, then: jobshelf index")


def _tag(client: HfApi, outcome: Outcome, index: Index) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    tag = f"v{index.release}"
    with explained(client):
        try:
            client.create_tag(outcome.repo, tag=tag, revision=outcome.commit, repo_type="dataset")
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
            message = f"somebody else made the tag {tag} in {outcome.repo} meanwhile"
            raise NotPersisted(message, fix="raise the version in pyproject.toml, then: jobshelf index") from error
    return tag
