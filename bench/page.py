"""What the page costs with many scripts: `uv run python bench/page.py [SCRIPTS]` (default: 10000). It needs Debian's Chromium.

Varies the entries of index.json until there are so many, makes the page, opens it from disk in Chromium, and measures: making it;
loading it until it answers; typing a word and choosing a filter, from the event to the laid-out answer (the median of 20 and the
worst); opening a script. Exits with 1 when the median of a filter or a search is above the limit.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Page, sync_playwright

from jobshelf.index import load_index
from jobshelf.page import page
from jobshelf.shelf import find_shelf
from page_entries import varied

LIMIT_MS = 50.0
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TYPED = ("a", "am", "amb", "amber", "amber c", "amber cedar", "cedar", "--json", "token write", "00042")
# From the event to the end of layout; waiting for the next frame is the screen's share, not the page's.
MEASURE = """words => {
  const took = [], box = document.querySelector("#q");
  const timed = (act) => { const start = performance.now(); act(); document.body.offsetHeight; took.push(performance.now() - start); };
  for (const word of [...words, ...words]) timed(() => { box.value = word; box.dispatchEvent(new Event("input")); });
  const typed = took.splice(0);
  box.value = ""; box.dispatchEvent(new Event("input"));
  const boxes = [...document.querySelectorAll("#facets input")].slice(0, 10);
  for (const one of [...boxes, ...boxes]) timed(() => one.click());
  return [typed, took];
}"""


def main() -> int:
    """Measure, print one line each, and say whether the limit holds."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    start = time.perf_counter()
    text = page(varied(load_index(find_shelf()), count))
    print(f"{count} scripts: made in {time.perf_counter() - start:.1f} s, {len(text.encode()) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "shelf.html"
        path.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        medians = measure(browser.new_page(), path)
        browser.close()
    return int(max(medians) > LIMIT_MS)


def measure(shown: Page, path: Path) -> list[float]:
    """Print what the browser took; return the medians of searching and of filtering, in ms."""
    shown.set_default_timeout(120_000)
    shown.goto(path.as_uri(), wait_until="commit")
    shown.wait_for_selector("html.js #list")
    entry = shown.evaluate("performance.now()")
    shown.wait_for_load_state("load")
    loaded = shown.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
    heap = shown.evaluate("performance.memory.usedJSHeapSize") / 1e6
    print(f"answers after {entry / 1000:.1f} s, whole after {loaded / 1000:.1f} s; {heap:.0f} MB of JavaScript heap")
    typed, filtered = shown.evaluate(MEASURE, list(TYPED))
    for name, took in (("search", typed), ("filter", filtered)):
        print(
            f"{name}: median {statistics.median(took):.1f} ms, worst {max(took):.1f} ms (limit {LIMIT_MS:.0f} for the median)"
        )
    opened = shown.evaluate(
        """() => { const link = document.querySelector("#list a"), start = performance.now();
        location.hash = link.hash; return new Promise(done => addEventListener("hashchange",
        () => { document.body.offsetHeight; done(performance.now() - start); })); }"""
    )
    print(f"a script opened in {opened:.0f} ms")
    print(json.dumps({"filter_ms": statistics.median(filtered), "search_ms": statistics.median(typed)}))
    return [statistics.median(typed), statistics.median(filtered)]


if __name__ == "__main__":
    sys.exit(main())
