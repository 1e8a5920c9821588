"""Every link in every tracked text leads somewhere: files and anchors here, addresses of hosts that are known."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt

from jobshelf.index import load_index
from jobshelf.shelf import find_shelf
from support import ROOT

# Where texts may send a reader. There is no network in the tests: that an address answers is nobody's promise here.
HOSTS = {
    *("huggingface.co", "hf.co", "datasets-server.huggingface.co"),
    *("github.com", "raw.githubusercontent.com", "gist.githubusercontent.com", "git-scm.com", "git-lfs.github.com"),
    *("peps.python.org", "packaging.python.org", "docs.astral.sh", "pre-commit.com"),
    *("arxiv.org", "spdx.org", "json-schema.org", "json.schemastore.org", "schema.org"),
    *("docs.kernel.org", "datatracker.ietf.org", "example.org"),
}
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


def tracked(*suffixes: str) -> list[Path]:
    argv = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in sorted(names) if name.endswith(suffixes) and (ROOT / name).is_file()]


def links(path: Path) -> list[tuple[int, str]]:
    """Return (line, target) of every link and image of a Markdown file."""
    found = []
    for token in MARKDOWN.parse(path.read_text(encoding="utf-8")):
        for inner in token.children or ():
            target = inner.attrs.get("href") or inner.attrs.get("src")
            if target:
                found.append(((token.map or [0])[0] + 1, str(target)))
        if token.type in {"html_block", "html_inline"}:
            found += [((token.map or [0])[0] + 1, one) for one in re.findall(r'(?:href|src)="([^"]+)"', token.content)]
    return found


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives the headings of a Markdown file."""
    tokens = MARKDOWN.parse(path.read_text(encoding="utf-8"))
    titles = [tokens[number + 1].content for number, token in enumerate(tokens) if token.type == "heading_open"]
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain)


def trouble(path: Path, target: str) -> str | None:
    """Return why a link leads nowhere."""
    address = urlsplit(target)
    if address.scheme in {"http", "https"}:
        return _address(target)
    if address.scheme:
        return None if address.scheme == "mailto" else f"the scheme {address.scheme}"
    file = (path.parent / address.path).resolve() if address.path else path
    if not file.is_relative_to(ROOT):
        return "it leads out of the repository"
    if not file.exists():
        return "there is no such file"
    if address.fragment and file.suffix == ".md" and address.fragment not in anchors(file):
        return f"{file.name} has no heading {address.fragment}"
    return None


def _address(target: str) -> str | None:
    address = urlsplit(target)
    if address.scheme != "https":
        return "it is not https"
    if address.hostname not in HOSTS:
        return f"{address.hostname} is not among the known hosts"
    own = re.fullmatch(r"/jobshelf/jobshelf/(?:blob|tree)/main/(.+)", address.path)
    if address.hostname == "github.com" and own:
        return trouble(ROOT / "README.md", own[1] + (f"#{address.fragment}" if address.fragment else ""))
    published = re.fullmatch(r"/datasets/jobshelf/scripts/resolve/main/([\w-]+\.py)", address.path)
    if address.hostname == "huggingface.co" and published:
        return None if (ROOT / "catalog" / published[1]).is_file() else f"there is no script {published[1]}"
    return None


@pytest.mark.parametrize("path", tracked(".md"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path):
    assert [(line, target, why) for line, target in links(path) if (why := trouble(path, target))] == []


def test_every_address_in_code_is_one():
    """Strings and comments name known hosts only: none is left from an experiment."""
    pattern = re.compile(r"https://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[a-z]{2,})(?![\w.{-])")
    wrong = [
        (path.relative_to(ROOT).as_posix(), found)
        for path in tracked(".py", ".toml", ".yml", ".yaml")
        if path.is_relative_to(ROOT / "generator")
        or path.parent == ROOT
        or path.is_relative_to(ROOT / "catalog")
        or path.is_relative_to(ROOT / ".github")
        for found in pattern.findall(path.read_text(encoding="utf-8"))
        if found not in HOSTS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("docs/gone.md", "no such file"),
        ("docs/scale.md#no-such-heading", "no heading"),
        ("../outside.md", "out of the repository"),
        ("http://huggingface.co/x", "not https"),
        ("https://evil.example/x", "not among the known hosts"),
        ("https://github.com/jobshelf/jobshelf/blob/main/docs/gone.md", "no such file"),
        ("https://huggingface.co/datasets/jobshelf/scripts/resolve/main/gone.py", "no script gone.py"),
        ("javascript:alert(1)", "the scheme javascript"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(target, said):
    assert said in (trouble(ROOT / "README.md", target) or "nothing")


def test_each_index_entry_names_files_that_are_here():
    for entry in load_index(find_shelf(ROOT)).entries:
        repository = entry.data["source"]["urls"]["repository"]
        assert trouble(ROOT / "README.md", repository) is None, repository
