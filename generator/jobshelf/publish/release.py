"""What a release needs before anything is committed, and its tag afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobshelf.client import explained, proven
from jobshelf.errors import JobshelfError, NotPersisted
from jobshelf.index import Index
from jobshelf.publish.remote import Remote

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_WHY: Final = {"never": "has no record", "stale": "changed since its record", "failed": "failed"}


def require_releasable(index: Index, client: HfApi) -> str:
    """Return the version to release.

    Raises JobshelfError for a development version, for a script without a passing rehearsal record of its present bytes,
    and for a tag that exists.
    """
    if index.release is None:
        message = f"{index.version} in pyproject.toml is a development version"
        raise JobshelfError(message, fix="set a release version such as 1.2.0, then: jobshelf index")
    require_rehearsed(index)
    tag = f"v{index.release}"
    with explained(client):
        remote = Remote(client=client, repo=index.dataset)
        if remote.head() and tag in remote.tags():
            message = f"{index.dataset} already has the tag {tag}"
            raise JobshelfError(message, fix="raise the version in pyproject.toml, then: jobshelf index")
    return index.release


def make_tag(client: HfApi, repo: str, commit: str, version: str) -> str:
    """Tag the commit `v<version>` and return the tag. Raises NotPersisted when somebody else made the tag meanwhile."""
    from huggingface_hub.errors import HfHubHTTPError

    tag = f"v{version}"
    with proven(client, f"{repo} took {commit[:12]}", fix="run the same command: it makes the tag"):
        try:
            client.create_tag(repo, tag=tag, revision=commit, repo_type="dataset")
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
            message = f"somebody else made the tag {tag} in {repo} meanwhile"
            raise NotPersisted(message, fix="raise the version in pyproject.toml, then: jobshelf index") from error
    return tag


def require_rehearsed(index: Index) -> None:
    """Raise JobshelfError unless a rehearsal of every script, as it now is, passed and is on record."""
    lacking = [entry for entry in index.entries if entry.rehearsed != "passed"]
    if lacking:
        told = ", ".join(f"{entry.id} {_WHY[entry.rehearsed]}" for entry in lacking)
        message = f"a release needs a rehearsal that passed with the present bytes of every script: {told}"
        names = " ".join(f"catalog/{entry.file}" for entry in lacking)
        raise JobshelfError(message, fix=f"jobshelf rehearse {names} --record, then: jobshelf index")
