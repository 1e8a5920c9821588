"""Hold what a repository serves against its own index: every owned file, every URL, every tag."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobshelf.client import explained
from jobshelf.errors import InputError
from jobshelf.forms import ENDPOINT
from jobshelf.index import Index
from jobshelf.publish import sums as sums_file
from jobshelf.publish.mirror import INDEX, Published, read_sums
from jobshelf.publish.remote import Remote, at_once, get
from jobshelf.publish.sums import SUMS, sha256

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_MADE_BY_THE_HUB = frozenset({".gitattributes"})
_URL = re.compile(
    rf"{re.escape(ENDPOINT)}/datasets/(?P<repo>[^/\s]+/[^/\s]+)/(?P<form>resolve|raw|blob)/(?P<revision>[^/\s]+)/(?P<path>[^\s\"'`<>)\\?#]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as the index says. `fix` is the command or step that corrects it."""

    where: str
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}. Fix: {self.fix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was looked at in `repo` at `commit`, and what was found wrong. `foreign` files are nobody's fault."""

    repo: str
    commit: str
    page: str
    files: int
    urls: int
    tags: tuple[str, ...]
    foreign: tuple[str, ...]
    findings: tuple[Finding, ...]


def verify(client: HfApi, repo: str) -> Verification:
    """Download everything that the shelf published to `repo`, and every URL that its index names, and compare by sha256.

    The URLs of a public repository are fetched as anybody would, without a token.
    Raises InputError when there is no such repository, or no shelf was published to it.
    """
    remote = Remote(client=client, repo=repo)
    with explained(client):
        known = read_sums(remote)
        if known.head is None or not known.sums:
            found = "does not exist, or is hidden from the token" if known.head is None else f"holds no {SUMS}"
            raise InputError(f"{repo} {found}: no shelf was published there", fix="jobshelf publish, or check the name")
        tree, tags = remote.tree(known.head.commit), remote.tags()
        read = _read_all(remote, known, sorted(known.sums.keys() & tree.keys()))
        index = _index(remote, known)
        urls = _urls(index, known.sums) if index else {}
        findings = [*_wrong_files(known.sums, read), *_wrong_entries(index, known.sums, repo)]
        findings += _wrong_names(read, index, repo)
        findings += [*_wrong_urls(remote, urls, anonymous=not known.head.private), *_wrong_tags(remote, tags)]
    foreign = tree.keys() - known.sums.keys() - {SUMS} - _MADE_BY_THE_HUB
    return Verification(
        repo=repo,
        commit=known.head.commit,
        page=remote.page,
        files=len(known.sums),
        urls=len(urls),
        tags=tuple(sorted(tags)),
        foreign=tuple(sorted(foreign)),
        findings=tuple(findings),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A published file: its digest, the addresses in it that name a published file as another dataset's, by dataset.

    `claims` are the datasets that a script names as its own: in a command that runs it, or in a constant.
    """

    sha256: str
    elsewhere: Mapping[str, str]
    claims: frozenset[str]


def _read_all(remote: Remote, known: Published, paths: Sequence[str]) -> dict[str, _Read]:
    commit = known.head.commit if known.head else ""

    def read(path: str) -> tuple[str, _Read]:
        data = remote.read(commit, path) or b""
        text = data.decode("utf-8", "replace")
        found = [match for match in _URL.finditer(text) if match["repo"] != remote.repo]
        claims = (match["repo"] for match in found if match["path"] == path and _runs(text, match.start()))
        elsewhere = {match["repo"]: match[0] for match in reversed(found) if match["path"] in known.sums}
        return path, _Read(sha256=sha256(data), elsewhere=elsewhere, claims=frozenset(claims))

    return dict(at_once(read, paths))


def _runs(text: str, start: int) -> bool:
    """Tell whether the address at `start` is what a command runs, or the value of a constant."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    return re.search(r"\buv run\b|=\s*f?[\"']$", before) is not None


def _index(remote: Remote, known: Published) -> Index | None:
    """Return the published index; None when it is none, which `_wrong_entries` reports."""
    text = (remote.read(known.commit or "", INDEX) or b"").decode("utf-8", "replace")
    try:
        return Index.from_text(text, INDEX)
    except InputError:
        return None


def _wrong_files(sums: Mapping[str, str], read: Mapping[str, _Read]) -> Iterator[Finding]:
    for path, expected in sorted(sums.items()):
        if path not in read:
            yield Finding(where=path, found=f"it is gone, and {SUMS} lists it", fix=_REPAIR)
        elif read[path].sha256 != expected:
            found = f"its bytes have sha256 {read[path].sha256[:12]}, {SUMS} lists {expected[:12]}"
            yield Finding(where=path, found=found, fix=_REPAIR)


def _wrong_names(read: Mapping[str, _Read], index: Index | None, repo: str) -> Iterator[Finding]:
    """Report texts that send people to another dataset for the files of this one."""
    claimed = {name for file in read.values() for name in file.claims} | ({index.dataset} if index else set())
    origins = {entry.data["source"]["urls"].get("repository") for entry in (index.entries if index else ())}
    for path, file in sorted(read.items()):
        wrong = [url for name, url in file.elsewhere.items() if name in claimed and url not in origins]
        if wrong:
            found = f"it names {wrong[0]} as its own address, and stands in {repo}"
            fix = f"name {repo} in the script, then: jobshelf index && {_PUBLISH} --repo {repo}"
            yield Finding(where=path, found=found, fix=fix)


def _wrong_entries(index: Index | None, sums: Mapping[str, str], repo: str) -> Iterator[Finding]:
    if index is None:
        yield Finding(where=INDEX, found="it is missing or not an index of this format", fix=_REPAIR)
        return
    if index.dataset != repo:
        found = f"it describes {index.dataset}, not this repository"
        yield Finding(where=INDEX, found=found, fix=f"jobshelf publish --repo {repo}")
    for entry in index.entries:
        if sums.get(entry.file) != entry.sha256:
            found = f"{INDEX} says sha256 {entry.sha256[:12]}, {SUMS} {sums.get(entry.file, 'nothing')[:12]}"
            yield Finding(where=entry.file, found=found, fix=_REPAIR)


def _urls(index: Index, sums: Mapping[str, str]) -> dict[str, str]:
    """Return every URL of a file of this repository that stands anywhere in the index, with the sha256 it must serve.

    A script has the bytes of its entry at every revision that is named; other files are named at `main` only.
    """
    expected = {**sums, **{entry.file: entry.sha256 for entry in index.entries}}
    own = (match for match in _URL.finditer(index.to_text()) if match["repo"] == index.dataset)
    return {match[0]: expected.get(match["path"], "") for match in own if match["form"] != "blob"}


def _wrong_urls(remote: Remote, urls: Mapping[str, str], *, anonymous: bool) -> Iterator[Finding]:
    def served(url: str) -> tuple[str, bytes | None]:
        here = remote.client.endpoint + url.removeprefix(ENDPOINT)
        return url, get(remote.client, here, anonymous=anonymous)

    for url, data in at_once(served, sorted(urls)):
        if data is None:
            yield Finding(where=url, found="nothing is there", fix=_REPAIR if "/main/" in url else _RELEASE)
        elif sha256(data) != urls[url]:
            found = f"it serves sha256 {sha256(data)[:12]}, expected {urls[url][:12] or 'a file of the shelf'}"
            yield Finding(where=url, found=found, fix=_REPAIR if "/main/" in url else _RELEASE)


def _wrong_tags(remote: Remote, tags: Mapping[str, str]) -> Iterator[Finding]:
    """Look into every release tag: it must hold a shelf of that version, as its own sums list it."""
    for tag, commit in sorted(tags.items()):
        if not re.fullmatch(r"v\d+(\.\d+)*", tag):
            continue
        sums = sums_file.parse(remote.read(commit, SUMS), f"{remote.repo} at {tag}")
        data = remote.read(commit, INDEX)
        text = (data or b"").decode("utf-8", "replace")
        if data is None or sums.get(INDEX) != sha256(data) or f'"version": "{tag[1:]}"' not in text:
            fix = f"if it was moved by hand: hf repos tag delete {remote.repo} {tag} --type dataset, then publish anew"
            yield Finding(where=f"tag {tag}", found=f"it does not hold the shelf of version {tag[1:]}", fix=fix)


_PUBLISH = "jobshelf publish"
_REPAIR = f"{_PUBLISH} --repair"
_RELEASE = "tag the commit that was released again, or raise the version and: jobshelf publish --release"
