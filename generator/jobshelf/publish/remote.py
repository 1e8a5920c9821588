"""One repository on the Hub, as far as publishing needs it: what is there, and one commit on a known parent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from jobshelf.client import is_keyless, proven, require_write
from jobshelf.errors import InputError, JobshelfError, NotPersisted
from jobshelf.publish.sums import sha256

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi

Kind = Literal["dataset", "space"]
ATTEMPTS: Final = 5
_MOVED: Final = (409, 412)
_READERS: Final = 8
_FIRST_COMMIT: Final = "initial commit"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the branch `main` stands; `sdk` is a Space's."""

    commit: str
    private: bool
    sdk: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file in a repository's tree: its git id (a large file's sha256), and its size in bytes."""

    oid: str
    size: int

    def holds(self, data: bytes) -> bool:
        """Whether the file has exactly these bytes."""
        return self.size == len(data) and self.oid in {git_id(data), sha256(data)}


class Moved(Exception):
    """The branch is no longer where the commit was planned on; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A repository and the client that talks to it. Every method may raise what `jobshelf.client.explained` explains."""

    client: HfApi
    repo: str
    kind: Kind = "dataset"

    @property
    def page(self) -> str:
        """The address of the repository for people."""
        return f"{self.client.endpoint}/{self.kind}s/{self.repo}"

    def url(self, revision: str, path: str) -> str:
        """Return the address from which a file is downloaded."""
        return f"{self.page}/resolve/{revision}/{path}"

    def head(self) -> Head | None:
        """Return where `main` stands, None when there is no such repository (or it is hidden from the token)."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.client.repo_info(self.repo, repo_type=self.kind)
        except RepositoryNotFoundError:
            return None
        return Head(commit=str(info.sha), private=bool(info.private), sdk=getattr(info, "sdk", None))

    def read(self, revision: str, path: str) -> bytes | None:
        """Return a file's bytes in one request, None when there is no such file at that revision."""
        return get(self.client, self.url(revision, path))

    def read_all(self, revision: str, paths: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read many files, several at a time; they come in the order of `paths`."""
        return at_once(lambda path: (path, self.read(revision, path)), paths)

    def tree(self, revision: str) -> dict[str, Blob]:
        """Return every file at a revision by path: one request a thousand."""
        from huggingface_hub.hf_api import RepoFile

        listed = self.client.list_repo_tree(self.repo, recursive=True, revision=revision, repo_type=self.kind)
        return {item.path: _blob(item) for item in listed if isinstance(item, RepoFile)}

    def tags(self) -> Mapping[str, str]:
        """Return the tags with the commits that they name."""
        refs = self.client.list_repo_refs(self.repo, repo_type=self.kind)
        return {tag.name: tag.target_commit for tag in refs.tags}

    def is_untouched(self) -> bool:
        """Whether nobody committed since the Hub itself made the repository, with what it puts into a new one."""
        commits = self.client.list_repo_commits(self.repo, repo_type=self.kind)
        return [commit.title for commit in commits] == [_FIRST_COMMIT]

    def require_write(self, *, exists: bool) -> None:
        """Raise TokenError unless the token may write here, before anything is sent.

        A keyless token is for one repository and knows no user: there the Hub is asked about the repository itself.
        """
        if not is_keyless():
            require_write(self.client, self.repo.partition("/")[0])
        elif exists:
            self.client.auth_check(self.repo, repo_type=self.kind, write=True)
        else:
            message = f"{self.repo} does not exist, and a keyless token cannot create it"
            fix = f"hf repos create {self.repo} --type {self.kind}, and name this workflow as its trusted publisher"
            raise InputError(message, fix=fix)

    def create(self, *, private: bool) -> Head:
        """Create the repository, unless somebody just did."""
        sdk = {"space_sdk": "static"} if self.kind == "space" else {}
        self.client.create_repo(self.repo, repo_type=self.kind, private=private or None, exist_ok=True, **sdk)
        head = self.head()
        if head is None:
            raise NotPersisted(f"{self.repo} was made and is gone", fix="run the same command again")
        return head

    def commit(
        self, parent: str, writes: Mapping[str, bytes], removes: Iterable[str], message: str, *, create_pr: bool = False
    ) -> CommitInfo:
        """Make one commit on `parent`. Raises Moved when `main` stands elsewhere, NotPersisted when the repository went."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        operations = [
            *(CommitOperationDelete(path, is_folder=False) for path in sorted(removes)),
            *(CommitOperationAdd(path, data) for path, data in sorted(writes.items())),
        ]
        try:
            return self.client.create_commit(
                self.repo,
                operations,
                commit_message=message,
                repo_type=self.kind,
                parent_commit=parent,
                create_pr=create_pr or None,
            )
        except RepositoryNotFoundError as error:
            message = f"{self.repo} was deleted, or hidden from the token, after it was read; nothing was written"
            raise NotPersisted(
                message, fix="run the same command again: it plans anew, and creates what is missing"
            ) from error
        except HfHubHTTPError as error:
            if error.response.status_code in _MOVED:
                raise Moved from error
            raise

    def read_back(self, commit: str, writes: Mapping[str, bytes]) -> None:
        """Raise NotPersisted unless every written file is seen to be there with the bytes that were sent."""
        with proven(self.client, f"{self.repo} took {commit[:12]}", fix=f"jobshelf verify {self.repo}"):
            for path, data in self.read_all(commit, sorted(writes)):
                if data != writes[path]:
                    message = f"{path} in {self.repo} at {commit[:12]} is not what was sent"
                    raise NotPersisted(message, fix="run the same command again")


def get(client: HfApi, url: str, *, anonymous: bool = False) -> bytes | None:
    """Return what a URL of the Hub serves, None when the repository has no such file or revision."""
    from huggingface_hub import get_session
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = build_hf_headers(token=False if anonymous else client.token, library_name=client.library_name)
    response = get_session().get(url, headers=headers)
    try:
        hf_raise_for_status(response)
    except (EntryNotFoundError, RevisionNotFoundError):
        return None
    return response.content


def at_once(work: Callable[[str], _T], items: Iterable[str]) -> Iterator[_T]:
    """Yield `work(item)` in the order of `items`, several at a time; after an error nothing new is begun."""
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="hub")
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def git_id(data: bytes) -> str:
    """Return the name that git gives to a file of these bytes."""
    return hashlib.sha1(b"blob %d\x00" % len(data) + data, usedforsecurity=False).hexdigest()


def never_stood_still(repo: str) -> JobshelfError:
    """Return the error of a commit that was planned `ATTEMPTS` times in vain."""
    message = f"{repo} moved under each of {ATTEMPTS} tries; nothing was written"
    return NotPersisted(message, fix="run the same command when the other publishers are done")


def _blob(item: object) -> Blob:
    lfs = getattr(item, "lfs", None)
    return Blob(oid=lfs.sha256 if lfs else item.blob_id, size=item.size)
