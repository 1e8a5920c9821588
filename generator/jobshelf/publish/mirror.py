"""Mirror a shelf to its Hub dataset repository: plan, one commit on a known parent, read back.

Three promises hold whatever happens in between: the repository is left as it was or as planned, a file that no shelf
published is never touched, and nobody's newer script is replaced by an older one.

The bytes that belong to the shelf are those the published `SHA256SUMS` lists. Several shelves or checkouts may publish to
one repository: scripts are merged one by one (see `lineage`), and everything derived from them is derived from the merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from jobshelf.client import explained
from jobshelf.errors import InputError, UsageError
from jobshelf.index import Index, check_index
from jobshelf.publish import sums as sums_file
from jobshelf.publish.lineage import merge, require_newest, with_releases
from jobshelf.publish.release import make_tag, require_rehearsed, require_releasable
from jobshelf.publish.remote import ATTEMPTS, Blob, Head, Moved, Remote, never_stood_still
from jobshelf.publish.sources import files_of, render_index
from jobshelf.publish.sums import SUMS, sums_of
from jobshelf.shelf import Shelf

if TYPE_CHECKING:
    from huggingface_hub import HfApi

INDEX = "index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to publish.

    `release` is the version that the commit will be tagged as. `prune` removes what this shelf published and no longer has.
    `repair` compares with the files themselves, not with what `SHA256SUMS` says of them. `private` creates the repository
    hidden from others. `create_pr` proposes the commit instead of making it.
    """

    release: str | None = None
    prune: bool = False
    repair: bool = False
    private: bool = False
    create_pr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a shelf left in the repository whose head is `head`; None and empty where there is nothing yet."""

    head: Head | None
    sums: Mapping[str, str]
    index: Index | None

    @property
    def commit(self) -> str | None:
        """The commit at the head."""
        return self.head.commit if self.head else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one commit on `parent` would change in `repo`.

    `seen` is the index that stands there (None: none, or the very same). `owned` are the files that a shelf published.
    `kept` says why a published script stays as it is.
    """

    kind: ClassVar[str] = "dataset"
    repo: str
    parent: str | None
    seen: Index | None
    owned: frozenset[str]
    writes: Mapping[str, bytes]
    removes: tuple[str, ...]
    kept: Mapping[str, str]

    @property
    def unchanged(self) -> bool:
        """True when the repository already holds every byte, and nothing is to go."""
        return not self.writes and not self.removes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a publish did. `commit` holds the shelf; `tag` is the release tag made, `pull_request` the address of one."""

    repo: str
    commit: str
    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: Mapping[str, str]
    tag: str | None
    pull_request: str | None


def publish(
    shelf: Shelf,
    client: HfApi,
    *,
    repo: str | None = None,
    release: bool = False,
    prune: bool = False,
    repair: bool = False,
    private: bool = False,
    create_pr: bool = False,
) -> Outcome:
    """Bring the Hub dataset `repo` (default: the shelf's own) to the state of `shelf`; `Options` says what the rest means.

    Unchanged costs two requests (after a release three). Otherwise: at most `ATTEMPTS` tries of plan and one commit on the
    head that was planned against, then every written file is read back and compared. With `release`, every script needs a
    fresh rehearsal record, and the result is tagged `v<version>`.

    Raises JobshelfError for a stale index, a record that is missing or stale, or an existing tag; TokenError; InputError
    for a source that cannot be published or a foreign file in the way; NotPersisted when others keep moving the
    repository or when what is read back differs.
    """
    index = index_for(shelf, repo)
    options = Options(prune=prune, repair=repair, private=private, create_pr=create_pr)
    if not release:
        return _commit(shelf, index, client, options)
    options = replace(options, release=_release(index, client, options))
    outcome = _commit(shelf, index, client, options)
    return replace(outcome, tag=make_tag(client, outcome.repo, outcome.commit, options.release or ""))


def preview(
    shelf: Shelf,
    client: HfApi,
    *,
    repo: str | None = None,
    release: bool = False,
    prune: bool = False,
    repair: bool = False,
    private: bool = False,
    create_pr: bool = False,
) -> Plan:
    """Return what `publish` with the same arguments would commit now; write nothing. Raises what it would raise so far."""
    index = index_for(shelf, repo)
    options = Options(prune=prune, repair=repair, private=private, create_pr=create_pr)
    if release:
        options = replace(options, release=_release(index, client, options))
    with explained(client):
        return plan(shelf, index, client, options=options)


def _release(index: Index, client: HfApi, options: Options) -> str:
    if options.create_pr:
        raise UsageError("a release is tagged on main, and a pull request is not there yet", fix="drop --create-pr")
    return require_releasable(index, client)


def index_for(shelf: Shelf, repo: str | None) -> Index:
    """Return the shelf's index as it is published to `repo` (default: the shelf's own dataset).

    Raises InputError for a source that cannot be published, JobshelfError when the committed index is stale.
    """
    if repo is not None and repo.count("/") != 1:
        raise InputError(f"'{repo}' is not a name the Hub takes for a dataset", fix="use owner/name")
    index = check_index(shelf)
    return render_index(shelf, index, repo) if repo else index


def plan(
    shelf: Shelf, index: Index, client: HfApi, *, base: Index | None = None, options: Options | None = None
) -> Plan:
    """Compare the shelf with the head of `index.dataset`. `base` is the index that an earlier try of this publish saw."""
    options = options or Options()
    remote = Remote(client=client, repo=index.dataset)
    known = read_sums(remote)
    _require_privacy(remote, known.head, options)
    target = with_releases(index, None, options.release)
    if known.sums and not options.repair and known.sums == sums_of(files_of(shelf, target)):
        return _nothing(remote, known)
    published = read_index(remote, known)
    if options.prune:
        require_newest(index, published.index)
    merged, kept = merge(index, published.index, base, prune=options.prune)
    if options.release:
        require_rehearsed(merged)
    target = with_releases(merged, published.index, options.release)
    return _difference(remote, published, target, files_of(shelf, target), kept, options)


def read_sums(remote: Remote) -> Published:
    """Return the head and what `SHA256SUMS` lists there: two requests."""
    head = remote.head()
    if head is None:
        return Published(head=None, sums={}, index=None)
    return Published(head=head, sums=sums_file.parse(remote.read(head.commit, SUMS), remote.repo), index=None)


def read_index(remote: Remote, known: Published) -> Published:
    """Return `known` with the published index, if there is one.

    Raises InputError when it is not the one that `SHA256SUMS` lists, or of a format that this tool does not know.
    """
    if INDEX not in known.sums or known.head is None:
        return known
    data = remote.read(known.head.commit, INDEX) or b""
    if sums_file.sha256(data) != known.sums[INDEX]:
        message = f"{INDEX} in {remote.repo} was changed by hand: it is not the one that {SUMS} lists"
        raise InputError(message, fix=f"undo that change at {remote.page}/commits/main, or: jobshelf rollback TAG")
    try:
        return replace(known, index=Index.from_text(data.decode("utf-8", "replace"), f"{INDEX} in {remote.repo}"))
    except InputError as error:
        raise InputError(error.message, fix="publish with the jobshelf that wrote it, or a newer one") from error


def refuse_foreign(remote: Remote, owned: Iterable[str], writes: Iterable[str], tree: Iterable[str]) -> None:
    """Refuse to write over a file that is there and that no shelf published, unless the Hub itself put it there."""
    foreign = sorted({*tree} & {*writes} - {*owned})
    if foreign and not remote.is_untouched():
        message = f"{remote.repo} already holds {', '.join(foreign)}, which no shelf published"
        raise InputError(message, fix="rename or delete it there, or publish elsewhere: --repo owner/name")


def _difference(
    remote: Remote,
    published: Published,
    target: Index,
    files: Mapping[str, bytes],
    kept: Mapping[str, str],
    options: Options,
) -> Plan:
    """Plan the commit that makes of what is there what `files` and the kept scripts are."""
    sums = published.sums
    staying = {*files, *(entry.file for entry in target.entries)}
    gone = sums.keys() - staying if options.prune else set()
    changed = {path for path, data in files.items() if sums.get(path) != sums_file.sha256(data)}
    tree: Mapping[str, Blob] = {}
    if published.head and (changed or gone or options.repair):
        tree = remote.tree(published.head.commit)
    if options.repair:
        changed |= {path for path, data in files.items() if not tree.get(path, _ABSENT).holds(data)}
    writes = {path: files[path] for path in changed}
    text = sums_file.to_text({path: digest for path, digest in (sums | sums_of(files)).items() if path not in gone})
    if changed or gone or (options.repair and not tree.get(SUMS, _ABSENT).holds(text)):
        writes[SUMS] = text
    owned = frozenset({*sums, SUMS}) if sums else frozenset()
    refuse_foreign(remote, owned, writes, tree)
    return Plan(
        repo=remote.repo,
        parent=published.commit,
        seen=published.index,
        owned=owned,
        writes=writes,
        removes=tuple(sorted(gone & tree.keys())),
        kept=kept,
    )


_ABSENT = Blob(oid="", size=-1)


def _nothing(remote: Remote, known: Published) -> Plan:
    owned = frozenset({*known.sums, SUMS})
    return Plan(repo=remote.repo, parent=known.commit, seen=None, owned=owned, writes={}, removes=(), kept={})


def _require_privacy(remote: Remote, head: Head | None, options: Options) -> None:
    if head and options.private and not head.private:
        message = f"{remote.repo} is public, and what was published there stays known"
        raise InputError(message, fix=f"hf repos settings {remote.repo} --type dataset --private, or drop --private")


def _commit(shelf: Shelf, index: Index, client: HfApi, options: Options) -> Outcome:
    remote, base = Remote(client=client, repo=index.dataset), None
    with explained(client):
        for _ in range(ATTEMPTS):
            step = plan(shelf, index, client, base=base, options=options)
            if step.unchanged and step.parent:
                return _outcome(step, step.parent)
            parent = _writable(remote, step, options)
            try:
                made = remote.commit(parent, step.writes, step.removes, _message(step), create_pr=options.create_pr)
            except Moved:
                base = base or step.seen or replace(index, entries=())
                continue
            remote.read_back(made.oid, step.writes)
            return replace(_outcome(step, made.oid), pull_request=made.pr_url, **_changes(step))
    raise never_stood_still(remote.repo)


def _writable(remote: Remote, step: Plan, options: Options) -> str:
    """Return the commit to build on, of a repository that the token may write to; create it where there is none."""
    if step.parent is None:
        _refuse_other_kind(remote)
        if options.create_pr:
            message = f"{remote.repo} does not exist, and a pull request needs something to change"
            raise InputError(message, fix="jobshelf publish, without --create-pr")
    if not options.create_pr:
        remote.require_write(exists=step.parent is not None)
    return step.parent or remote.create(private=options.private).commit


def _refuse_other_kind(remote: Remote) -> None:
    """Refuse to make a dataset beside a model or Space of the same name: most likely the name is a slip."""
    for kind in ("model", "space"):
        if remote.client.repo_exists(remote.repo, repo_type=kind):
            message = f"{remote.repo} is a {kind}, and a shelf is published to a dataset"
            fix = f"--repo with another name; if both are meant: hf repos create {remote.repo} --type dataset"
            raise InputError(message, fix=fix)


def _outcome(step: Plan, commit: str) -> Outcome:
    return Outcome(repo=step.repo, commit=commit, written=(), removed=(), kept=step.kept, tag=None, pull_request=None)


def _changes(step: Plan) -> dict[str, tuple[str, ...]]:
    return {"written": tuple(sorted(step.writes)), "removed": step.removes}


def _message(step: Plan) -> str:
    scripts = [path for path in sorted(step.writes) if path.endswith(".py")]
    gone = [path for path in step.removes if path.endswith(".py")]
    said = [*_listed("Publish", scripts), *_listed("Remove", gone)]
    return "; ".join(said) or "Publish the index"


def _listed(verb: str, scripts: list[str]) -> list[str]:
    if not scripts:
        return []
    return [f"{verb} {', '.join(scripts)}" if len(scripts) < 4 else f"{verb} {len(scripts)} scripts"]
