"""Index, publish, verify and roll back a shelf."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jobshelf.cli.parser import Verbs, repo_id
from jobshelf.cli.printing import say
from jobshelf.errors import UsageError

if TYPE_CHECKING:
    from jobshelf.shelf import Shelf


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    index = verbs.add(
        "index", _index, "rebuild index.json and everything generated from it", example="jobshelf index --check"
    )
    index.add_argument("--check", action="store_true", help="write nothing; fail if a committed file is out of date")
    publish = verbs.add(
        "publish",
        _publish,
        "publish the shelf to its Hub dataset in one commit",
        example="jobshelf publish --repo me/scripts --dry-run",
    )
    own = "default: the shelf's own dataset"
    publish.add_argument("--repo", metavar="OWNER/NAME", type=repo_id, help=own)
    publish.add_argument("--release", action="store_true", help="also tag it v<version>; fail if the tag exists")
    publish.add_argument("--dry-run", action="store_true", help="print the changes, write nothing")
    publish.add_argument("--prune", action="store_true", help="delete published files that are no longer on the shelf")
    publish.add_argument("--repair", action="store_true", help="compare with the published files, not with SHA256SUMS")
    publish.add_argument("--private", action="store_true", help="create a private repository")
    publish.add_argument("--create-pr", action="store_true", help="open a pull request")
    publish.add_argument(
        "--space", metavar="OWNER/NAME", type=repo_id, nargs="?", const=True, help="also publish the page as a Space"
    )
    verify = verbs.add(
        "verify", _verify, "check a published shelf against its index", example="jobshelf verify jobshelf/scripts"
    )
    verify.add_argument("repo", metavar="OWNER/NAME", type=repo_id, nargs="?", help=own)
    rollback = verbs.add(
        "rollback", _rollback, "restore the published shelf from a tag", example="jobshelf rollback v1.2.0"
    )
    rollback.add_argument("tag", metavar="TAG", help="for example v1.2.0")
    rollback.add_argument("--repo", metavar="OWNER/NAME", type=repo_id, help=own)


def _index(arguments: argparse.Namespace) -> int:
    from jobshelf.derive import check_derived, has_derived, write_derived
    from jobshelf.index import check_index, load_index, write_index
    from jobshelf.shelf import own_shelf

    shelf = own_shelf()
    if arguments.check:
        index = check_index(shelf)
        check_derived(shelf, index)
        say(f"{shelf.index_file.name} is what the catalogue says ({len(index.entries)} scripts)")
        return 0
    built = write_index(shelf)
    written = write_derived(shelf, load_index(shelf)) if has_derived(shelf) else ()
    say("\n".join([f"wrote {shelf.index_file.name}: {built.count} scripts", *built.notes]))
    say("".join(f"wrote {path.relative_to(shelf.root).as_posix()}\n" for path in written), end="")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.publish import changes_of, preview, preview_page, publish, publish_page, to_text
    from jobshelf.shelf import own_shelf

    shelf, client = own_shelf(), open_client()
    wish = {key: getattr(arguments, key) for key in ("repo", "release", "prune", "repair", "private", "create_pr")}
    space = _space(shelf) if arguments.space is True else arguments.space
    if arguments.dry_run:
        step = preview(shelf, client, **wish)
        say(to_text(changes_of(step, client)) or "unchanged\n", end="")
        _print_kept(step.kept)
        if space:
            page = to_text(changes_of(preview_page(client, step, space), client)) or "unchanged\n"
            say(f"{client.endpoint}/spaces/{space}:\n{page}", end="")
        return 0
    done = publish(shelf, client, **wish)
    where = done.pull_request or f"{client.endpoint}/datasets/{done.repo}"
    counts = f"published {len(done.written)} files to" + (
        f" and removed {len(done.removed)} from" if done.removed else ""
    )
    what = counts if done.written or done.removed else "unchanged:"
    say(f"{what} {where} at {done.commit[:12]}" + (f", tagged {done.tag}" if done.tag else ""))
    _print_kept(done.kept)
    if space:
        page = publish_page(client, done.repo, space, private=arguments.private)
        say(f"{f'published {len(page.written)} files to' if page.written else 'unchanged:'} {page.page}")
    return 0


def _space(shelf: Shelf) -> str:
    if shelf.space is None:
        message = f"{shelf.root / 'pyproject.toml'} names no Space in [tool.jobshelf.shelf]"
        raise UsageError(message, fix=f"jobshelf publish --space {shelf.dataset}")
    return shelf.space


def _verify(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.publish import verify
    from jobshelf.shelf import own_shelf

    repo = arguments.repo or own_shelf().dataset
    seen = verify(open_client(token_needed=False), repo)
    for finding in seen.findings:
        say(finding)
    for path in seen.foreign:
        say(f"foreign: {path} (no shelf published it; left alone)")
    verdict = f"{len(seen.findings)} findings" if seen.findings else "as the index says"
    counts = f"{seen.files} files, {seen.urls} URLs, {len(seen.tags)} tags"
    say(f"{seen.repo} at {seen.commit[:12]}: {counts}: {verdict}. Pinned: {seen.page}/resolve/{seen.commit}/")
    return 1 if seen.findings else 0


def _rollback(arguments: argparse.Namespace) -> int:
    from jobshelf.client import open_client
    from jobshelf.publish import rollback
    from jobshelf.shelf import own_shelf

    repo = arguments.repo or own_shelf().dataset
    client = open_client()
    done = rollback(client, repo, arguments.tag)
    where = f"{client.endpoint}/datasets/{done.repo} at {done.commit[:12]}"
    if not (done.written or done.removed):
        say(f"unchanged: {where} is as at {done.tag}")
        return 0
    say(f"rolled back {where} to {done.tag}")
    say(
        "".join([*(f"wrote {path}\n" for path in done.written), *(f"removed {path}\n" for path in done.removed)]),
        end="",
    )
    say("A catalogue that still holds later versions brings them back with its next publish: mend it there too.")
    return 0


def _print_kept(kept: dict[str, str]) -> None:
    for name, reason in sorted(kept.items()):
        say(f"kept {name} as it is there: {reason}")
