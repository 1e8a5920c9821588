# /// script
# requires-python = ">=3.11"
# dependencies = ["playwright"]
# ///
"""Needs a browser: `uv run --with playwright playwright install chromium`."""

import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch()
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    for number, url in enumerate(sys.argv[1:]):
        page.goto(url)
        page.screenshot(path=f"shot-{number}.png", full_page=True)
    browser.close()
