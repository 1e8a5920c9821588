"""A real browser on files and on loopback: it is Debian's Chromium, and nothing outside this machine is asked."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from jobshelf.index import Index, load_index
from jobshelf.page import page
from jobshelf.shelf import find_shelf
from page_entries import SOURCE, changed, varied
from support import ROOT

CHROMIUM = Path("/usr/bin/chromium")
NOW = "2026-11-21T12:00:00Z"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing. Fix: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, which finds what keeps people from using a page."""
    folder = tmp_path_factory.mktemp("axe")
    argv = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "axe-core@4"]
    subprocess.run(argv, check=True, timeout=120)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def shelf() -> Index:
    """120 scripts, more than are listed at once; every facet has several values."""
    many = varied(load_index(find_shelf(ROOT)), 120)
    first = changed(many.entries[0], source={"sha256": hashlib.sha256(SOURCE).hexdigest(), "lines": 200})
    retired = changed(many.entries[1], status="deprecated", replaced_by=first.id)
    unknown = changed(many.entries[2], interface=None, rehearsal=None, vetting=None, cost=None)
    return replace(many, entries=(first, retired, unknown, *many.entries[3:]))


@pytest.fixture(scope="session")
def shelf_file(shelf: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `shelf`, with the source of its first script."""
    path = tmp_path_factory.mktemp("page") / "shelf.html"
    path.write_text(page(shelf, {shelf.entries[0].file: SOURCE}), encoding="utf-8")
    return path


@pytest.fixture
def visit(browser: Browser, shelf_file: Path) -> Iterator[Visit]:
    """`visit("#/id", width=320, color_scheme="dark")`: the page as somebody with a new browser sees it on the day NOW.

    At the end: nothing was asked for but the file, nothing was refused by its policy, no error, no dialog.
    """
    contexts, requests, trouble = [], [], []

    def visit(
        where: str = "#/", *, path: Path = shelf_file, width: int = 1280, height: int = 900, **options: Any
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.on("request", lambda request: requests.append((re.split("[?#]", request.url)[0], path.as_uri())))
        context.on("weberror", lambda error: trouble.append(str(error.error)))
        context.on("console", lambda line: trouble.append(line.text) if line.type == "error" else None)
        context.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        shown = context.new_page()
        shown.set_default_timeout(10_000)
        shown.clock.set_fixed_time(NOW)
        shown.goto(path.as_uri() + where)
        return shown

    yield visit
    for context in contexts:
        context.close()
    assert requests and all(asked == file for asked, file in requests), requests
    assert trouble == []
