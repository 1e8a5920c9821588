"""Repos: what exists, what their refs point at, what a commit contains and how the next one is made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Literal, get_args

from jobshelf.hub import clock, git
from jobshelf.hub.database import Database
from jobshelf.hub.refusal import Refusal, bad_request, conflict, entry_not_found, forbidden, revision_not_found

Kind = Literal["model", "dataset", "space"]
DEFAULT_BRANCH = "main"
_HEADS, _TAGS, PULLS = "refs/heads/", "refs/tags/", "refs/pr/"
_SHORT_SHA = 7
_VARIABLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Repo:
    """A model, dataset or Space; `gated` is `auto`, `manual`, or empty."""

    id: int
    kind: Kind
    namespace: str
    name: str
    private: bool
    sdk: str | None
    creator: str
    gated: str
    created_at: str

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def entity(self) -> str:
        """What a token's scope calls it: `dataset/namespace/name`."""
        return f"{self.kind}/{self.full_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit; `tree` is the id of its root folder, `parent` is None for the first."""

    oid: str
    parent: str | None
    tree: str
    title: str
    message: str
    author: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """The content of a file: git's id for it, the blob that holds it, its size in bytes.

    For a large file (`lfs`) the id is that of the pointer, the sha256 and size are those of the real content.
    """

    oid: str
    sha256: str
    size: int
    lfs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write a file at a path."""

    path: str
    file: File


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove a file, or a folder and all that is in it."""

    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A commit to be made: operations apply in order; `parent` is what the branch must still point at, if given."""

    operations: Sequence[Put | Delete]
    title: str
    message: str
    author: str
    parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A branch (`refs/heads/..`), a tag (`refs/tags/..`) or the head of a pull request (`refs/pr/..`)."""

    ref: str
    target: str

    @property
    def is_tag(self) -> bool:
        """Whether this is a tag."""
        return self.ref.startswith(_TAGS)

    @property
    def is_pull(self) -> bool:
        """Whether this is a pull request's."""
        return self.ref.startswith(PULLS)

    @property
    def name(self) -> str:
        """The short name."""
        return self.ref.removeprefix(_HEADS).removeprefix(_TAGS).removeprefix(PULLS)


class Repos:
    """The repos of one Hub. Every method that writes is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # trees are immutable and named by content: what was read once stays true
        self._read_tree = lru_cache(maxsize=256)(self._load_tree)
        self._read_index = lru_cache(maxsize=64)(lambda oid: _by_path(self._read_tree(oid)))

    def create(
        self, kind: Kind, namespace: str, name: str, *, private: bool, sdk: str | None, gated: str, first: Change
    ) -> Repo:
        """Create a repo whose branch `main` holds the commit `first`, whose author is its creator.

        Raises Refusal (409) when it exists.
        """
        with self._database.transaction():
            self._require_free(kind, namespace, name)
            repo_id = self._database.insert(
                "INSERT INTO repos (kind, namespace, name, private, sdk, creator, gated, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                *(kind, namespace, name, private, sdk, first.author, gated, clock.now()),
            )
            commit = self._write_commit(repo_id, None, first)
            self._database.execute("INSERT INTO refs VALUES (?, ?, ?)", repo_id, _HEADS + DEFAULT_BRANCH, commit.oid)
            return self.all(kind)[repo_id]

    def find(self, kind: Kind, namespace: str, name: str) -> Repo | None:
        """The repo of that kind and name, if there is one."""
        row = self._database.row(
            "SELECT * FROM repos WHERE kind = ? AND namespace = ? AND name = ?", kind, namespace, name
        )
        return None if row is None else _repo(row)

    def all(self, kind: Kind) -> dict[int, Repo]:
        """All repos of a kind by id, newest first."""
        rows = self._database.rows("SELECT * FROM repos WHERE kind = ? ORDER BY created_at DESC, id DESC", kind)
        return {row["id"]: _repo(row) for row in rows}

    def delete(self, repo: Repo) -> None:
        """Remove a repo with its refs and commits."""
        self._database.execute("DELETE FROM repos WHERE id = ?", repo.id)

    def set_private(self, repo: Repo, *, private: bool) -> None:
        """Make a repo private or public."""
        self._database.execute("UPDATE repos SET private = ? WHERE id = ?", private, repo.id)

    def set_gated(self, repo: Repo, gated: str) -> None:
        """Gate a repo (`auto`, `manual`) or open it (empty)."""
        self._database.execute("UPDATE repos SET gated = ? WHERE id = ?", gated, repo.id)

    def move(self, repo: Repo, namespace: str, name: str) -> None:
        """Rename a repo. Raises Refusal (409) when the name is taken."""
        with self._database.transaction():
            self._require_free(repo.kind, namespace, name)
            self._database.execute("UPDATE repos SET namespace = ?, name = ? WHERE id = ?", namespace, name, repo.id)

    def refs(self, repo: Repo) -> list[Ref]:
        """All branches, tags and heads of pull requests, by name."""
        rows = self._database.rows("SELECT name, target FROM refs WHERE repo = ? ORDER BY name", repo.id)
        return [Ref(ref=row["name"], target=row["target"]) for row in rows]

    def resolve(self, repo: Repo, revision: str) -> Commit:
        """The commit behind a branch, tag, full ref, or commit id (whole or its first 7 digits and more).

        Raises Refusal (404 RevisionNotFound).
        """
        for ref in (_HEADS + revision, _TAGS + revision, revision):
            target = self._target(repo.id, ref)
            if target is not None:
                return self._commit(repo.id, target)
        return self._commit_by_prefix(repo, revision)

    def history(self, repo: Repo, start: Commit) -> list[Commit]:
        """`start` and its ancestors, newest first."""
        rows = self._database.rows(
            "WITH RECURSIVE line(oid, depth) AS (SELECT ?, 0 UNION ALL SELECT commits.parent, depth + 1 FROM commits"
            " JOIN line ON commits.oid = line.oid WHERE commits.repo = ? AND commits.parent IS NOT NULL)"
            " SELECT commits.* FROM line JOIN commits ON commits.oid = line.oid AND commits.repo = ? ORDER BY depth",
            *(start.oid, repo.id, repo.id),
        )
        return [_commit(row) for row in rows]

    def last_changes(self, repo: Repo, commit: Commit, items: Sequence[git.TreeItem]) -> dict[str, Commit]:
        """For each item of a commit's tree, by path, the commit that gave it its present content."""
        found: dict[str, Commit] = {}
        current = {item.name: item.oid for item in items}
        for past in self.history(repo, commit):
            known = self.index(past)
            current = {path: oid for path, oid in current.items() if path in known and known[path].oid == oid}
            found.update(dict.fromkeys(current, past))
            if not current:
                break
        return found

    def create_branch(self, repo: Repo, name: str, target: Commit) -> None:
        """Raises Refusal (409) when the branch exists."""
        self._create_ref(repo, _HEADS + name, target, f"Reference already exists: {name}")

    def create_tag(self, repo: Repo, name: str, target: Commit) -> None:
        """Raises Refusal (409) when the tag exists: tags do not move."""
        self._create_ref(repo, _TAGS + name, target, f"Tag reference exists already: {name}")

    def create_pull(self, repo: Repo, num: int, target: Commit) -> None:
        """Give a new pull request its head."""
        self._create_ref(repo, f"{PULLS}{num}", target, f"Reference already exists: {PULLS}{num}")

    def delete_branch(self, repo: Repo, name: str) -> None:
        """Raises Refusal: 403 for `main`, 404 when there is no such branch."""
        if name == DEFAULT_BRANCH:
            raise forbidden(f"Cannot delete the default branch '{name}'")
        self._delete_ref(repo, _HEADS + name)

    def delete_tag(self, repo: Repo, name: str) -> None:
        """Raises Refusal (404) when there is no such tag."""
        self._delete_ref(repo, _TAGS + name)

    def tree(self, commit: Commit) -> tuple[git.TreeItem, ...]:
        """Every folder and file of a commit, with whole paths as names; a folder comes before what is in it."""
        return self._read_tree(commit.tree)

    def index(self, commit: Commit) -> Mapping[str, git.TreeItem]:
        """The items of `tree()` by their path."""
        return self._read_index(commit.tree)

    def file(self, commit: Commit, path: str) -> File | None:
        """The file at a path of a commit; None when there is none (or a folder)."""
        item = self.index(commit).get(path)
        return None if item is None or item.is_tree else self.files([item.oid])[item.oid]

    def files(self, oids: Iterable[str]) -> dict[str, File]:
        """The files of these ids, by id."""
        wanted, found = list(set(oids)), {}
        for start in range(0, len(wanted), _VARIABLES):
            part = wanted[start : start + _VARIABLES]
            marks = ",".join("?" * len(part))
            rows = self._database.rows(f"SELECT * FROM files WHERE oid IN ({marks})", *part)  # noqa: S608 only marks
            found.update({row["oid"]: File(**{**row, "lfs": bool(row["lfs"])}) for row in rows})
        return found

    def require_parent(self, repo: Repo, branch: str, parent: str | None) -> Commit:
        """The head of a branch (or `refs/pr/N`). Raises Refusal: 404 without such a branch, 412 when it is not `parent`.

        A parent may be shortened, as everywhere, to its first 7 digits.
        """
        target = self._target(repo.id, full_ref(branch))
        if target is None:
            raise revision_not_found(branch)
        if parent is not None and not (len(parent) >= _SHORT_SHA and target.startswith(parent)):
            raise Refusal(412, f"A commit has happened since {parent}: '{branch}' is at {target}. Please refresh")
        return self._commit(repo.id, target)

    def commit(self, repo: Repo, branch: str, change: Change) -> Commit:
        """Apply a change to a branch: the check of the parent and the move of the ref are one transaction.

        Raises Refusal: 404 without such a branch or for a deletion of what is not there, 412 when the branch is no
        longer at `change.parent`, 400 when a path would be both a file and a folder.
        """
        with self._database.transaction():
            head = self.require_parent(repo, branch, change.parent)
            commit = self._write_commit(repo.id, head, change)
            self._database.execute(
                "UPDATE refs SET target = ? WHERE repo = ? AND name = ?", commit.oid, repo.id, full_ref(branch)
            )
        return commit

    def squash(self, repo: Repo, branch: str, change: Change) -> Commit:
        """Replace the history of a branch by one commit with its present files."""
        with self._database.transaction():
            head = self.require_parent(repo, branch, None)
            commit = self._write_commit(repo.id, None, replace(change, operations=self.changes(None, head)))
            self._database.execute(
                "UPDATE refs SET target = ? WHERE repo = ? AND name = ?", commit.oid, repo.id, full_ref(branch)
            )
        return commit

    def changes(self, old: Commit | None, new: Commit) -> list[Put | Delete]:
        """The operations that make the files of `new` out of those of `old` (None: of nothing)."""
        before = {} if old is None else self._paths(old)
        after = self._paths(new)
        changed = {path: oid for path, oid in after.items() if before.get(path) != oid}
        files = self.files(changed.values())
        gone: list[Put | Delete] = [Delete(path=path, is_folder=False) for path in before if path not in after]
        return gone + [Put(path=path, file=files[oid]) for path, oid in changed.items()]

    def _paths(self, commit: Commit) -> dict[str, str]:
        return {item.name: item.oid for item in self.tree(commit) if not item.is_tree}

    def _require_free(self, kind: Kind, namespace: str, name: str) -> None:
        if self.find(kind, namespace, name) is not None:
            raise conflict(f"You already created this {kind} repo")

    def _write_commit(self, repo_id: int, head: Commit | None, change: Change) -> Commit:
        paths = {} if head is None else self._paths(head)
        for operation in change.operations:
            _apply(paths, operation)
        try:
            tree, objects = git.write_tree(paths)
        except git.PathClash as error:
            raise bad_request(str(error)) from error
        self._database.execute_many("INSERT OR IGNORE INTO trees VALUES (?, ?)", list(objects.items()))
        files = [operation.file for operation in change.operations if isinstance(operation, Put)]
        self._database.execute_many(
            "INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)", [(f.oid, f.sha256, f.size, f.lfs) for f in files]
        )
        commit = _new_commit(tree, head, change)
        self._database.execute(
            "INSERT OR IGNORE INTO commits VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(repo_id, commit.oid, commit.parent, tree, commit.title, commit.message, commit.author, commit.date),
        )
        return commit

    def _load_tree(self, oid: str) -> tuple[git.TreeItem, ...]:
        row = self._database.row("SELECT body FROM trees WHERE oid = ?", oid)
        if row is None:
            raise LookupError(f"tree {oid} is not in the database")
        items: list[git.TreeItem] = []
        for item in git.parse_tree(row["body"]):
            items.append(item)
            if item.is_tree:
                items.extend(_inside(item.name, below) for below in self._read_tree(item.oid))
        return tuple(items)

    def _target(self, repo_id: int, ref: str) -> str | None:
        row = self._database.row("SELECT target FROM refs WHERE repo = ? AND name = ?", repo_id, ref)
        return None if row is None else row["target"]

    def _commit(self, repo_id: int, oid: str) -> Commit:
        row = self._database.row("SELECT * FROM commits WHERE repo = ? AND oid = ?", repo_id, oid)
        if row is None:
            raise revision_not_found(oid)
        return _commit(row)

    def _commit_by_prefix(self, repo: Repo, revision: str) -> Commit:
        if len(revision) < _SHORT_SHA or not revision.isalnum():
            raise revision_not_found(revision)
        rows = self._database.rows(
            "SELECT * FROM commits WHERE repo = ? AND oid LIKE ? LIMIT 2", repo.id, revision.lower() + "%"
        )
        if len(rows) != 1:
            raise revision_not_found(revision)
        return _commit(rows[0])

    def _create_ref(self, repo: Repo, ref: str, target: Commit, message: str) -> None:
        try:
            self._database.execute("INSERT INTO refs VALUES (?, ?, ?)", repo.id, ref, target.oid)
        except sqlite3.IntegrityError as error:
            raise conflict(message) from error

    def _delete_ref(self, repo: Repo, ref: str) -> None:
        if not self._database.execute("DELETE FROM refs WHERE repo = ? AND name = ?", repo.id, ref):
            raise revision_not_found(ref)


def _apply(paths: dict[str, str], operation: Put | Delete) -> None:
    if isinstance(operation, Put):
        paths[operation.path] = operation.file.oid
        return
    inside = operation.path + "/"
    gone = [path for path in paths if path.startswith(inside)] if operation.is_folder else [operation.path]
    if not gone or gone[0] not in paths:
        raise entry_not_found(operation.path)
    for path in gone:
        del paths[path]


def _new_commit(tree: str, head: Commit | None, change: Change) -> Commit:
    date = clock.now()
    seconds = int(datetime.fromisoformat(date).timestamp())
    parent = None if head is None else head.oid
    lines = [
        f"tree {tree}",
        *([] if parent is None else [f"parent {parent}"]),
        f"author {change.author} <{change.author}> {seconds} +0000",
        f"committer {change.author} <{change.author}> {seconds} +0000",
        "",
        f"{change.title}\n\n{change.message}".rstrip() + "\n",
    ]
    return Commit(
        oid=git.object_id("commit", "\n".join(lines).encode()),
        parent=parent,
        tree=tree,
        title=change.title,
        message=change.message,
        author=change.author,
        date=date,
    )


def _commit(row: sqlite3.Row) -> Commit:
    return Commit(**{key: row[key] for key in Commit.__slots__})


def _repo(row: sqlite3.Row) -> Repo:
    return Repo(**{**row, "private": bool(row["private"])})


def full_ref(branch: str) -> str:
    """The whole name of a branch, or of the head of a pull request."""
    return branch if branch.startswith(PULLS) else _HEADS + branch


def _inside(folder: str, item: git.TreeItem) -> git.TreeItem:
    return git.TreeItem(name=f"{folder}/{item.name}", oid=item.oid, is_tree=item.is_tree)


def repo_kind(text: str) -> Kind:
    """The repo type of that name. Raises Refusal (400)."""
    for kind in get_args(Kind):
        if kind == text:
            return kind
    raise bad_request(f"Unknown repo type '{text}': expected one of {', '.join(get_args(Kind))}")


def _by_path(items: Sequence[git.TreeItem]) -> Mapping[str, git.TreeItem]:
    """The items of a tree by their path."""
    return {item.name: item for item in items}
