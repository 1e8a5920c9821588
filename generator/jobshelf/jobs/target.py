"""What is to be started: a script of the shelf, a file, a text on standard input, or a URL."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from jobshelf.client import LOG_IN, endpoint
from jobshelf.errors import EnvironmentFault, InputError, UsageError
from jobshelf.forms import Forms, forms, script_url
from jobshelf.index import Entry, Index
from jobshelf.launch import Launch
from jobshelf.script import Script, parse_script, read_script
from jobshelf.shelf import Shelf

if TYPE_CHECKING:
    from huggingface_hub import HfApi

STDIN = "-"
MAX_BYTES = 1 << 20
_SECONDS = 30
_GIST = re.compile(r"https://gist\.github\.com/(?P<owner>[\w-]+)/(?P<id>[0-9a-f]+)/?")
_COMMIT = re.compile("[0-9a-f]{40}")
_ON_HUB = re.compile(
    r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo>[^/]+/[^/]+)/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<file>.+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A script that can be started, with its launch table.

    `url` is where a Job can read it without a token, None when it cannot: then `data` goes with the Job. `word` is what
    stands for the script on a command line. `data` is None while nobody has read it. `commit_url` is the address at which the
    very bytes that were read stay for good, where the Hub said of which commit they are.
    """

    name: str
    word: str
    url: str | None
    local: Path | None
    data: bytes | None
    launch: Mapping[str, Any]
    example: tuple[str, ...]
    commit_url: str | None = None

    @property
    def script(self) -> Script | None:
        """The script parsed, None while nobody has read it."""
        return None if self.data is None else parse_script(self.data, self.word)

    @property
    def is_hidden(self) -> bool:
        """Whether it is at a URL that the Job itself cannot read."""
        return self.url is None and "://" in self.word


def find_target(name: str, shelf: Shelf, index: Index) -> Target:
    """Return what `name` stands for; a URL is not read yet (`read_target` does).

    Raises UsageError for an unknown name and for the page of a file, InputError or ScriptError for a file that is none.
    """
    if name == STDIN:
        data = sys.stdin.buffer.read()
        launch = parse_script(data, "<stdin>").require().tool("hf-jobs")
        return Target(name="script", word=STDIN, url=None, local=None, data=data, launch=launch, example=())
    if "://" in name:
        url = plain_url(name)
        stem = unquote(urlsplit(url).path).rpartition("/")[2].removesuffix(".py")
        return Target(name=stem, word=url, url=url, local=None, data=None, launch={}, example=())
    if "/" in name or (name.endswith(".py") and Path(name).is_file()):
        script = read_script(Path(name))
        launch = script.require().tool("hf-jobs")
        return Target(
            name=script.name, word=name, url=None, local=Path(name), data=script.data, launch=launch, example=()
        )
    return _from_shelf(index.find(name), shelf)


def read_target(target: Target, client: HfApi | None = None) -> Target:
    """Return the target with the bytes that its URL serves and the launch table in them; others as they are.

    With a `client`, what the Hub hides from strangers is read with its token, and travels with the Job. Raises
    InputError for an answer that is no script, EnvironmentFault when there is none.
    """
    if target.url is None:
        return target
    got = _get(target.url, {})
    url: str | None = target.url
    if got.status in {401, 403, 404} and client is not None and _is_on(client.endpoint, target.url):
        got = _get(target.url, {"Authorization": f"Bearer {client.token}"})
        url = None
    if got.status >= 400:
        raise _not_served(target.url, got.status, has_token=client is not None)
    data = got.body
    if len(data) > MAX_BYTES or re.match(rb"\s*<(!doctype|html)", data, re.IGNORECASE):
        found = "a web page" if len(data) <= MAX_BYTES else f"more than {MAX_BYTES:,} bytes"
        raise InputError(f"{target.url} is {found}, expected a Python file", fix="use the raw address of the file")
    header = parse_script(data, target.url).header
    launch = header.tool("hf-jobs") if header else {}
    return replace(target, url=url, data=data, launch=launch, commit_url=_at_commit(url, got.commit))


def pinned(target: Target) -> Target:
    """Return a target that was read, at the address of the commit that was read. Raises UsageError where there is none."""
    if target.commit_url is None:
        message = f"{target.word} has no address that stays for good"
        raise UsageError(message, fix="leave --pin out, or name a script that the Hub serves to everybody")
    return replace(target, word=target.commit_url, url=target.commit_url)


def _at_commit(url: str | None, commit: str | None) -> str | None:
    match = _ON_HUB.fullmatch(urlsplit(url).path) if url else None
    if url is None or match is None or commit is None:
        return None
    kind = f"{match['kind']}/" if match["kind"] else ""
    path = f"/{kind}{match['repo']}/resolve/{commit}/{match['file']}"
    return urlunsplit((*urlsplit(url)[:2], path, "", ""))


def plain_url(url: str) -> str:
    """Return the address of the file itself: a Gist's page becomes its raw text.

    Raises UsageError for the page of a file (`/blob/`), with the address of the file.
    """
    from jobshelf.vet.fetch import raw_url

    if gist := _GIST.fullmatch(url.partition("#")[0]):
        return f"https://gist.githubusercontent.com/{gist['owner']}/{gist['id']}/raw"
    if raw := raw_url(url):
        raise UsageError(f"{url} is the page about a file (/blob/), not the file", fix=f"use {raw}")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise UsageError(f"{url} is no http(s) address", fix="write https://host/path/script.py, a name or a path")
    return url


def command(target: Target, arguments: Sequence[str], asked: Launch | None = None) -> Forms:
    """Return the forms that start `target`; without `arguments`, those of the script's own example."""
    words = tuple(arguments) or target.example
    if target.url is not None:
        return forms(target.url, target.launch, words, asked=asked)
    text = (target.data or b"").decode("utf-8")
    saved_as = None if target.local else f"./{target.name}.py"
    made = forms(target.word, target.launch, words, asked=asked, text=text, saved_as=saved_as)
    return replace(made, notes=(*_how_to_save(target, saved_as), *made.notes))


def _how_to_save(target: Target, saved_as: str | None) -> list[tuple[str, str]]:
    if saved_as is None:
        return []
    if target.word == STDIN:
        return [("local", "give it the script on standard input")] + [
            (form, f"save the script as {saved_as} first") for form in ("jobs", "python")
        ]
    match = _ON_HUB.fullmatch(urlsplit(target.word).path)
    if match is None:
        return [(form, f"save the script as {saved_as} first") for form in ("jobs", "python")]
    kind = (match["kind"] or "models").removesuffix("s")
    save = (
        f"hf download {match['repo']} {match['file']} --repo-type {kind} --revision {match['revision']} --local-dir ."
    )
    return [(form, f"a Job cannot read this address; first: {save}") for form in ("jobs", "python")]


def _from_shelf(entry: Entry, shelf: Shelf) -> Target:
    url = script_url(shelf.dataset, entry.file, endpoint=endpoint())
    return Target(
        name=entry.id,
        word=url,
        url=url,
        local=shelf.catalog / entry.file,
        data=None,
        launch=entry.launch,
        example=entry.arguments,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: bytes
    commit: str | None


def _get(url: str, headers: Mapping[str, str]) -> _Answer:
    """Return what a URL answers; a redirect to another host is followed without the token."""
    import httpx2

    try:
        with (
            httpx2.Client(follow_redirects=True, timeout=_SECONDS) as http,
            http.stream("GET", url, headers=dict(headers)) as response,
        ):
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    break
            # the Hub itself names the commit; a store that it sends us on to knows of none
            named = (one.headers.get("X-Repo-Commit") for one in (*response.history, response))
            commit = next((one for one in named if one and _COMMIT.fullmatch(one)), None)
            return _Answer(status=response.status_code, body=body, commit=commit)
    except (httpx2.TransportError, httpx2.TooManyRedirects, httpx2.InvalidURL) as error:
        message = f"{url} could not be fetched ({type(error).__name__})"
        raise EnvironmentFault(message, fix="check the address and the network") from error


def _is_on(hub: str, url: str) -> bool:
    return urlsplit(hub)[:2] == urlsplit(url)[:2]


def _not_served(url: str, status: int, *, has_token: bool) -> InputError:
    if status in {401, 403} and not has_token:
        return InputError(f"{url} is not public (status {status})", fix=LOG_IN)
    fix = "check the address; a script of a shelf must have been published: jobshelf publish"
    return InputError(f"{url} answered {status}: there is no script there that you may see", fix=fix)
