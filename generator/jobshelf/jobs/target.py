"""What is to be started: a script of the shelf, a file, a text on standard input, or a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from jobshelf.client import endpoint
from jobshelf.errors import UsageError
from jobshelf.forms import Forms, forms, script_url
from jobshelf.index import Entry, Index
from jobshelf.launch import Launch
from jobshelf.script import Script, parse_script, read_script
from jobshelf.scripts.files import is_path, is_url, read_stdin, refuse_oversized
from jobshelf.shelf import Shelf

if TYPE_CHECKING:
    from huggingface_hub import HfApi

STDIN = "-"
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
    def called(self) -> str:
        """What a person types for it: the name of a script of the shelf, else the file or URL."""
        return self.name if self.url and self.local else self.word

    @property
    def is_hidden(self) -> bool:
        """Whether it is at a URL that the Job itself cannot read."""
        return self.url is None and "://" in self.word


def find_target(name: str, shelf: Shelf, index: Index) -> Target:
    """Return what `name` stands for; a URL is not read yet (`read_target` does).

    Raises UsageError for an unknown name and for the page of a file, ScriptError for a file that is no script, and what
    `read_file` and `read_stdin` raise.
    """
    if name == STDIN:
        data = read_stdin()
        launch = parse_script(data, "<stdin>").require().tool("hf-jobs")
        return Target(name="script", word=STDIN, url=None, local=None, data=data, launch=launch, example=())
    if is_url(name):
        from jobshelf.scripts.download import file_address

        url = file_address(name)
        stem = unquote(urlsplit(url).path).rpartition("/")[2].removesuffix(".py")
        return Target(name=stem, word=url, url=url, local=None, data=None, launch={}, example=())
    if is_path(name):
        script = read_script(Path(name))
        launch = script.require().tool("hf-jobs")
        return Target(
            name=script.name, word=name, url=None, local=Path(name), data=script.data, launch=launch, example=()
        )
    try:
        return _from_shelf(index.find(name), shelf)
    except UsageError as error:
        if not name.endswith(".py"):
            raise
        found = f"there is no file {name} here, and no script of the shelf is called that"
        raise UsageError(found, fix=error.fix) from error


def read_target(target: Target, client: HfApi | None = None) -> Target:
    """Return the target with the bytes that its URL serves and the launch table in them; others as they are.

    With a `client`, what the Hub hides from strangers is read with its token, and travels with the Job. Raises what
    `download` raises.
    """
    if target.url is None:
        return target
    from jobshelf.scripts.download import download

    hub = client.endpoint if client else endpoint()
    got = download(target.url, endpoint=hub, token=lambda: client.token if client else None)
    url = target.url if got.is_public else None
    refuse_oversized(got.data, target.url)
    header = parse_script(got.data, target.url).header
    launch = header.tool("hf-jobs") if header else {}
    return replace(target, url=url, data=got.data, launch=launch, commit_url=_at_commit(url, got.commit))


def read_local(target: Target) -> Target:
    """Return a target with the bytes of its file on this machine, for a shelf's script those of the copy in its catalogue."""
    return target if target.data is not None else replace(target, data=read_script(cast(Path, target.local)).data)


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
