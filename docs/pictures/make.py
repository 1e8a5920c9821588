"""Make the README's pictures anew: the demo as it prints, and the page of a script in Chromium.

    uv run python docs/pictures/make.py

Both are pictures of a run, with its times and port, so they are not the same bytes twice.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from playwright.sync_api import sync_playwright

from jobshelf.index import load_index
from jobshelf.page import page, read_sources
from jobshelf.shelf import find_shelf

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
COLUMNS, LINE, MARGIN, CHARACTER = 108, 17, 18, 7.2
SHOWN = "finepdfs-stats"
# Of the inspector's verdict the first lines are enough.
MOST_OUTPUT_LINES = 9


def main() -> int:
    """Write demo.svg and page.png beside this file."""
    photograph(HERE / "page.png")
    done = subprocess.run(
        [sys.executable, "-m", "jobshelf", "demo"], capture_output=True, text=True, check=True, cwd=HERE
    )
    lines = ["$ uv run jobshelf demo", *shortened(impersonal(done.stdout).splitlines())]
    (HERE / "demo.svg").write_text(terminal(lines), encoding="utf-8")
    return 0


def impersonal(text: str) -> str:
    """Return the output without the folders of this machine."""
    return re.sub(r"/\S*/jobshelf-demo-\w+/", "/tmp/demo/", text).replace(f"{find_shelf(HERE).root}/", "")  # noqa: S108


def shortened(lines: Sequence[str]) -> list[str]:
    """Return the lines with long outputs and long lines cut."""
    kept: list[str] = []
    run = 0
    for line in lines:
        run = run + 1 if line.lstrip().startswith("|") else 0
        if run <= MOST_OUTPUT_LINES:
            kept.append(line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…")
        elif run == MOST_OUTPUT_LINES + 1:
            kept.append("      | …")
    return kept


def terminal(lines: Sequence[str]) -> str:
    """Return an SVG of a terminal that shows `lines`."""
    height = LINE * len(lines) + 2 * MARGIN
    width = round(COLUMNS * CHARACTER + 2 * MARGIN)
    rows = "".join(
        f'<text x="{MARGIN}" y="{MARGIN + LINE * number + 12}" class="{kind(line)}" xml:space="preserve">{escape(line)}</text>\n'
        for number, line in enumerate(lines)
        if line.strip()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        "<title>What jobshelf demo prints</title>\n"
        "<style>text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d5dbe3 }\n"
        ".command { fill: #8fd0ff } .output { fill: #9aa6b2 } .step { fill: #ffffff; font-weight: 600 }</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#14181d"/>\n{rows}</svg>\n'
    )


def kind(line: str) -> str:
    """Return the class of a line: a step's title, a command, output, or what the demo says."""
    text = line.lstrip()
    marks = {"[": "step", "$": "command", "|": "output"}
    return marks.get(text[:1], "said")


def photograph(path: Path) -> None:
    """Write a picture of the page that shows one script."""
    shelf = find_shelf(HERE)
    index = load_index(shelf)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "shelf.html"
        file.write_text(page(index, read_sources(index, shelf.catalog)), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page(viewport={"width": 1180, "height": 800}, color_scheme="light")
        shown.goto(f"{file.as_uri()}#/{SHOWN}")
        shown.wait_for_selector("article.open .tabs")
        shown.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    raise SystemExit(main())
