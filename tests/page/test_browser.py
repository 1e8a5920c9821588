"""The page in a real browser: found, filtered, opened, copied, by mouse and by keyboard, large and small, light and dark."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Page, expect

from jobshelf.index import Entry, Index, load_index
from jobshelf.page import page, page_files
from jobshelf.publish import publish, publish_page
from jobshelf.shelf import find_shelf
from page_entries import SOURCE
from support import ROOT

pytestmark = [pytest.mark.heavy, pytest.mark.page, pytest.mark.timeout(170)]
PICTURES = ROOT / "build" / "screenshots"  # ignored by git; for people to look at
Visit = Callable[..., Page]
AWKWARD = 'it\'s "my" data/$HOME `x` \\ ünï'


def listed(shown: Page) -> list[str]:
    """The ids in the list of results."""
    return [link.removeprefix("#/") for link in shown.locator("#list a").evaluate_all("all => all.map(a => a.hash)")]


def found(shown: Page) -> int:
    return int(shown.locator("#count").inner_text().split()[0])


def matching(shelf: Index, *words: str) -> set[str]:
    return {entry.id for entry in shelf.search(words)}


def test_search_finds_what_the_command_line_finds(visit: Visit, shelf: Index):
    shown = visit()
    assert found(shown) == 120 and len(listed(shown)) == 50
    box = shown.get_by_role("searchbox")
    for words in (("amber",), ("amber", "cedar"), ("--commit-every",), ("HF_TOKEN", "ledge"), ("00042",)):
        box.fill(" ".join(words))
        assert set(listed(shown)) == set(list(matching(shelf, *words))[:50]) or found(shown) > 50
        assert found(shown) == len(matching(shelf, *words)), words
    box.fill("birch of the")
    expect(shown.locator("#list b").first).to_have_text(re.compile("^Birch of the"))
    box.fill("no such thing anywhere")
    expect(shown.get_by_text("No script has all of that")).to_be_visible()
    assert found(shown) == 0 and listed(shown) == []


def test_more_shows_the_next_ones_and_goes_there(visit: Visit):
    shown = visit()
    before = listed(shown)
    shown.get_by_role("button", name="Show more").click()
    after = listed(shown)
    assert after[:50] == before and len(after) == 100
    assert shown.evaluate("document.activeElement.hash") == f"#/{after[50]}"


def test_filters_count_combine_and_come_off(visit: Visit, shelf: Index):
    shown = visit()
    task = shown.get_by_role("group", name="Task")
    token = shown.get_by_role("group", name="Token")
    task.get_by_label("embedding").check()
    embedding = [entry for entry in shelf.entries if entry.task == "embedding"]
    assert found(shown) == len(embedding)
    task.get_by_label("conversion").check()  # either of one group
    either = [entry for entry in shelf.entries if entry.task in ("embedding", "conversion")]
    assert found(shown) == len(either)
    counts = {box.inner_text().split()[0]: int(box.inner_text().split()[-1]) for box in token.locator("label").all()}
    expected = {kind: sum(entry.token == kind for entry in either) for kind in ("none", "read", "write")}
    assert counts == expected
    assert token.get_by_label("none").is_disabled() and expected["none"] == 0  # shown, and not to be chosen
    token.get_by_label("write").check()  # and all groups
    assert found(shown) == expected["write"]
    shown.get_by_role("button", name="Remove the filter Task: embedding").click()
    assert not task.get_by_label("embedding").is_checked()
    assert "task=conversion" in shown.url and "token=write" in shown.url and "embedding" not in shown.url
    shown.go_back()
    expect(task.get_by_label("embedding")).to_be_checked()
    assert found(shown) == expected["write"]


def test_a_proof_counts_for_what_it_is_and_how_old_it_is(visit: Visit, shelf: Index):
    stale = next(entry for entry in shelf.entries if entry.rehearsed == "stale")
    old = next(entry for entry in shelf.entries if entry.rehearsed == "passed" and entry.rehearsal["date"] < "2026-03")
    fresh = next(
        entry for entry in shelf.entries if entry.rehearsed == "passed" and entry.rehearsal["date"] > "2026-11"
    )
    shown = visit(f"#/{stale.id}")
    text = shown.locator("article.open").inner_text()
    assert "changed since its rehearsal" in text and stale.rehearsal["sha256"] in text
    shown.goto(shown.url.partition("#")[0] + f"#/{old.id}")
    expect(shown.locator("article.open .trust .aged")).to_contain_text("months ago, prove it again")
    shown.goto(shown.url.partition("#")[0] + f"#/{fresh.id}")
    expect(shown.locator("article.open .trust .age")).to_have_text(re.compile(r"^ \((today|\d+ days? ago)\)$"))
    for step in fresh.rehearsal["steps"]:
        if step["verdict"] == "not applicable":
            assert f"{step['name']} ({step['reason']})" in shown.locator("article.open").inner_text()
    shown.goto(shown.url.partition("#")[0] + "#/")
    proven = shown.get_by_role("group", name="Proven")
    proven.get_by_label("changed since").check()
    assert found(shown) == sum(entry.rehearsed == "stale" for entry in shelf.entries)


def test_sorting_by_cost_and_by_proof(visit: Visit, shelf: Index):
    shown = visit()
    costs = {entry.id: entry.cost["usd_at_timeout"] if entry.cost else 1e9 for entry in shelf.entries}
    shown.get_by_label("Sort by").select_option("cost")
    assert [costs[one] for one in listed(shown)] == sorted(costs.values())[:50]
    dates = {entry.id: entry.rehearsal["date"] if entry.rehearsal else "" for entry in shelf.entries}
    shown.get_by_label("Sort by").select_option("last proven")
    assert [dates[one] for one in listed(shown)] == sorted(dates.values(), reverse=True)[:50]


def test_deep_links_back_and_old_names(visit: Visit, shelf: Index):
    entry = shelf.entries[3]
    shown = visit(f"#/{entry.id}/arguments")
    expect(shown.get_by_role("heading", name="Arguments", exact=True)).to_be_in_viewport()
    assert shown.title() == f"{entry.title} - jobshelf: 120 scripts"
    shown.get_by_role("link", name="All scripts").click()
    shown.get_by_role("searchbox").fill("grove islet")
    (only,) = [one for one in listed(shown) if one.endswith("00102")]
    shown.locator(f'#list a[href="#/{only}"]').click()
    expect(shown.locator("article.open h2")).to_be_focused()
    shown.go_back()
    expect(shown.get_by_role("searchbox")).to_have_value("grove islet")
    expect(shown.locator(f'#list a[href="#/{only}"]')).to_be_focused()
    shown.go_forward()
    expect(shown.locator("article.open")).to_have_attribute("id", f"/{only}")
    shown.get_by_role("link", name="All scripts").click()  # back to what was searched
    expect(shown.get_by_role("searchbox")).to_have_value("grove islet")
    for name in (f"old-{entry.id}", f"{entry.id.replace('-', '_')}.py", entry.id.upper()):
        shown.goto(shown.url.partition("#")[0] + f"#/{name}")
        expect(shown.locator("article.open")).to_have_attribute("id", f"/{entry.id}")
    shown.goto(shown.url.partition("#")[0] + "#/nothing-of-the-kind")
    expect(shown.locator("#said")).to_contain_text("No script is called nothing-of-the-kind")


def test_a_retired_script_points_to_its_successor(visit: Visit, shelf: Index):
    shown = visit(f"#/{shelf.entries[1].id}")
    note = shown.locator("article.open .note.bad")
    expect(note).to_contain_text("This script is deprecated.")
    note.get_by_role("link").click()
    expect(shown.locator("article.open")).to_have_attribute("id", f"/{shelf.entries[0].id}")


def test_what_is_not_known_is_said(visit: Visit, shelf: Index):
    text = visit(f"#/{shelf.entries[2].id}").locator("article.open").inner_text()
    assert "not rehearsed" in text and "Nothing yet" in text and "no listed price" in text
    assert "could not be captured" in text and "not recorded" in text


def words_of(shown: Page, form: str) -> list[str]:
    """The example's words as a machine reads them from the command that is shown in this form."""
    text = shown.locator(f'article.open [data-form="{form}"] code').text_content() or ""
    if form == "mcp":
        return json.loads(text)["args"]["script_args"]
    if form == "python":
        (call,) = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.keywords]
        return next(ast.literal_eval(word.value) for word in call.keywords if word.arg == "script_args")
    words = shlex.split(text)
    return words[len(words) - 4 :]


def test_values_are_edited_once_and_stand_in_every_form(visit: Visit, shelf: Index):
    entry = next(one for one in shelf.entries if one.arguments[:1] == ("user/prompts",))
    shown = visit(f"#/{entry.id}")
    fields = shown.locator("article.open .fields")
    fields.get_by_label("--model").fill(AWKWARD)
    fields.get_by_label("INPUT").fill("me/mine")
    expected = ["me/mine", "user/answers", "--model", AWKWARD]
    for form in ("jobs", "local", "pinned", "python", "mcp"):
        assert words_of(shown, form) == expected, form
    shown.reload()
    assert words_of(shown, "jobs") == expected  # remembered
    for label in ("--model", "INPUT"):
        shown.locator("article.open .fields").get_by_label(label).fill("")
    assert words_of(shown, "mcp") == list(entry.arguments)  # empty is the example again


def test_each_form_is_copied_as_it_is_shown(visit: Visit, shelf: Index):
    entry = next(one for one in shelf.entries if one.arguments[:1] == ("user/prompts",))
    shown = visit(f"#/{entry.id}")
    shown.locator("article.open .fields").get_by_label("INPUT").fill("me/my own")
    for label, key in (
        ("Jobs", "jobs"),
        ("Local", "local"),
        ("Pinned", "pinned"),
        ("Python", "python"),
        ("MCP", "mcp"),
    ):
        shown.get_by_role("tab", name=label).click()
        shown.get_by_role("button", name=f"Copy the command: {label}").click()
        expect(shown.locator("#said")).to_have_text(f"Copied: {label}")
        copied = shown.evaluate("navigator.clipboard.readText()")
        assert copied == shown.locator(f'article.open [data-form="{key}"] code').text_content()
        assert "me/my own" in copied
    untouched = entry.commands["jobs"]["text"].replace("user/prompts", "'me/my own'")
    assert shown.locator('article.open [data-form="jobs"] code').text_content() == untouched
    shown.goto(shown.url.partition("#")[0] + f"#/{shelf.entries[5].id}")
    expect(shown.get_by_role("tab", name="MCP")).to_have_attribute("aria-selected", "true")  # the way last chosen


def test_a_script_is_copied_as_markdown(visit: Visit, shelf: Index):
    """A parser of Markdown finds what the article shows: the commands with the values filled in, the arguments, no source."""
    entry = next(one for one in shelf.entries if one.arguments[:1] == ("user/prompts",))
    shown = visit(f"#/{entry.id}")
    shown.locator("article.open .fields").get_by_label("INPUT").fill("me/my own")
    shown.get_by_role("button", name="Copy as Markdown").click()
    expect(shown.locator("#said")).to_have_text("Copied: the script as Markdown")
    text = shown.evaluate("navigator.clipboard.readText()")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    titles = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    for title in (
        entry.title,
        "Run it",
        "Jobs",
        "Pinned",
        "MCP",
        "What it does",
        "Arguments",
        "Cost and needs",
        "What was proven",
    ):
        assert title in titles, titles
    blocks = [token.content.rstrip("\n") for token in tokens if token.type == "fence"]
    for form in ("jobs", "local", "pinned", "python", "mcp"):
        assert shown.locator(f'article.open [data-form="{form}"] code').text_content() in blocks
    assert sum("me/my own" in block for block in blocks) == 5
    cells = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type in ("td_open", "th_open")]
    for one in entry.interface["arguments"]:
        for flag in one.get("flags", ()):
            assert any(flag in cell for cell in cells), flag
    assert len(cells) == 3 * sum(token.type == "tr_open" for token in tokens)
    first = visit(f"#/{shelf.entries[0].id}")
    first.get_by_role("button", name="Copy as Markdown").click()
    expect(first.locator("#said")).to_have_text("Copied: the script as Markdown")
    assert SOURCE.decode().splitlines()[0] not in first.evaluate("navigator.clipboard.readText()")


def test_copying_without_the_clipboard_api(visit: Visit, shelf: Index):
    shown = visit()
    shown.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    shown.goto(shown.url.partition("#")[0] + f"?#/{shelf.entries[0].id}")
    shown.get_by_role("button", name="Copy the command: Jobs").click()
    expect(shown.locator("#said")).to_have_text("Copied: Jobs")
    reader = visit()
    reader.get_by_role("searchbox").focus()
    reader.keyboard.press("Control+V")
    expect(reader.get_by_role("searchbox")).to_have_value(shelf.entries[0].commands["jobs"]["text"])


def test_storage_that_refuses_is_lived_without(visit: Visit, shelf: Index):
    shown = visit()
    shown.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no') }})")
    shown.reload()
    shown.get_by_role("button", name="Theme: auto").click()
    assert shown.evaluate("document.documentElement.dataset.theme") == "light"


def test_all_of_it_by_keyboard(visit: Visit):
    shown = visit()
    keys = shown.keyboard
    keys.press("Tab")
    expect(shown.get_by_role("link", name="Skip to the scripts")).to_be_focused()
    keys.press("/")
    expect(shown.get_by_role("searchbox")).to_be_focused()
    keys.type("jetty")
    first = listed(shown)[0]
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("ArrowUp")
    assert shown.evaluate("document.activeElement.hash") == f"#/{first}"
    keys.press("Enter")
    expect(shown.locator("article.open h2")).to_be_focused()
    while not shown.evaluate("document.activeElement.role === 'tab'"):
        keys.press("Tab")
    keys.press("ArrowRight")
    expect(shown.get_by_role("tab", name="Local")).to_be_focused()
    keys.press("End")
    keys.press("Home")
    keys.press("ArrowRight")
    while "Copy" not in (shown.evaluate("document.activeElement.ariaLabel") or ""):
        keys.press("Tab")
    keys.press("Enter")
    expect(shown.locator("#said")).to_have_text("Copied: Local")
    assert shown.evaluate("navigator.clipboard.readText()").startswith(("uv run ", "env "))
    keys.press("Control+k")
    expect(shown.get_by_role("searchbox")).to_be_focused()
    expect(shown.get_by_role("searchbox")).to_have_value("jetty")
    keys.press("Escape")
    expect(shown.get_by_role("searchbox")).to_have_value("")
    assert found(shown) == 120
    keys.type("knoll")
    keys.press("Enter")
    expect(shown.locator("article.open")).to_be_visible()


def test_the_source_is_read_and_linked_by_line(visit: Visit, shelf: Index):
    shown = visit(f"#/{shelf.entries[0].id}/L120")
    line = shown.locator("article.open .lines .here")
    expect(line).to_have_text("print(120)\n")
    expect(line).to_be_in_viewport()
    assert shown.locator("article.open .source code").text_content() == SOURCE.decode()
    shown.goto(shown.url.partition("#")[0] + f"#/{shelf.entries[4].id}")
    assert shown.locator("article.open .source").count() == 0
    expect(shown.locator("article.open").get_by_role("link", name="in its repository")).to_be_visible()


def colour(shown: Page, name: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", shown.evaluate(f"getComputedStyle(document.body).{name}"))[:3]]


def test_dark_by_the_system_and_by_hand(visit: Visit):
    dark = visit(color_scheme="dark")
    assert max(colour(dark, "backgroundColor")) < 60 and min(colour(dark, "color")) > 200
    dark.get_by_role("button", name="Theme: auto").click()
    assert min(colour(dark, "backgroundColor")) > 200
    dark.reload()
    expect(dark.get_by_role("button", name="Theme: light")).to_be_visible()
    assert min(colour(dark, "backgroundColor")) > 200
    dark.get_by_role("button", name="Theme: light").click()
    dark.get_by_role("button", name="Theme: dark").click()
    expect(dark.get_by_role("button", name="Theme: auto")).to_be_visible()
    assert max(colour(dark, "backgroundColor")) < 60


def test_on_paper_every_form_stands_and_no_button(visit: Visit, shelf: Index):
    shown = visit(f"#/{shelf.entries[3].id}")
    shown.emulate_media(media="print")
    forms = shown.locator("article.open .form")
    assert [form.locator("h4").inner_text() for form in forms.all()] == ["Jobs", "Local", "Pinned", "Python", "MCP"]
    assert shown.locator("button:visible, input:visible, .tabs:visible").count() == 0


def test_with_colours_of_the_system_the_chosen_tab_and_the_values_show(visit: Visit, shelf: Index):
    entry = next(one for one in shelf.entries if one.arguments[:1] == ("user/prompts",))
    shown = visit(f"#/{entry.id}", forced_colors="active")
    style = "one => { const it = getComputedStyle(one); return [it.outlineStyle, it.borderBottomColor] }"
    assert shown.locator("article.open .form:visible mark").first.evaluate(style)[0] == "solid"
    chosen, other = (shown.get_by_role("tab", name=name).evaluate(style)[1] for name in ("Jobs", "MCP"))
    assert chosen != other


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(visit: Visit, shelf: Index, tmp_path: Path, axe: str, width: int, scheme: str):
    path = tmp_path / "few.html"
    path.write_text(page(replace(shelf, entries=shelf.entries[:8]), {shelf.entries[0].file: SOURCE}), encoding="utf-8")
    for name, where in (("list", "#/"), *((f"script-{at}", f"#/{shelf.entries[at].id}") for at in (0, 1, 2, 3))):
        shown = visit(where, path=path, width=width, color_scheme=scheme)
        for closed in shown.locator("article.open details, #filters").all():
            closed.evaluate("one => { one.open = true }")
        violations = shown.evaluate(f"{axe}; axe.run().then(result => result.violations)")
        assert [(one["id"], one["nodes"][0]["html"], one["help"]) for one in violations] == []
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        PICTURES.mkdir(parents=True, exist_ok=True)
        shown.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=name == "list")


def test_targets_are_large_enough_for_a_thumb(visit: Visit, shelf: Index):
    for where in ("#/", f"#/{shelf.entries[0].id}"):
        shown = visit(where, width=320, has_touch=True)
        small = shown.locator("button:visible, select:visible, input[type=text]:visible, input[type=search]:visible")
        assert min(box["height"] for one in small.all() if (box := one.bounding_box())) >= 44


def test_everything_is_there_without_javascript(visit: Visit, shelf: Index):
    shown = visit(java_script_enabled=False)
    for entry in (*shelf.entries[:3], shelf.entries[60], shelf.entries[-1]):
        article = shown.locator(f'[id="/{entry.id}"]')
        commands = article.locator(".form code").all_text_contents()
        assert {entry.commands[form]["text"] for form in ("jobs", "local", "python", "mcp")} <= set(commands)
        assert all(
            box and box["height"] > 0 for box in (one.bounding_box() for one in article.locator(".form pre").all())
        )
        text = article.text_content() or ""
        assert entry.sha256 in text and entry.summary in text and all(flag in text for flag in flags(entry))
    assert shown.get_by_role("button").count() == shown.get_by_role("searchbox").count() == 0
    entry = shelf.entries[60]
    shown.locator(f'#list a[href="#/{entry.id}"]').click()
    expect(shown.get_by_role("heading", name=entry.title)).to_be_in_viewport()
    shown.goto(shown.url.partition("#")[0] + f"#/{entry.id}/proof")
    expect(shown.locator(f'[id="/{entry.id}/proof"]')).to_be_in_viewport()


def flags(entry: Entry) -> list[str]:
    return [flag for one in (entry.interface or {}).get("arguments", ()) for flag in one.get("flags", ())]


HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</mark></code></pre><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }} ${alert(1)} &lt;b&gt;",
    "\x00\x1b[31m\u202egnp\u2028\u2029\ud83d\ude00",
)


def test_an_address_opened_while_typing_stays(visit: Visit, shelf: Index):
    """What is typed is written into the address a moment later, but not over an address opened in the meantime."""
    shown = visit()
    shown.get_by_role("searchbox").fill("grove")
    address = f"#/{shelf.entries[0].id}"
    shown.evaluate(
        """async (address) => {
        document.querySelector("[type=search]").dispatchEvent(new Event("input"));
        location.hash = address;
        await new Promise((resume) => setTimeout(resume, 250));
    }""",
        address,
    )
    expect(shown.locator("article.open h2")).to_be_visible()
    assert shown.url.endswith(address)


def test_what_scripts_say_of_themselves_is_text(visit: Visit, tmp_path: Path):
    index = load_index(find_shelf(ROOT))
    shapes = []
    for text in ("plain words", *HOSTILE):
        path = tmp_path / "hostile.html"
        path.write_text(page(told(index, text), {}), encoding="utf-8")
        shown = visit(path=path)
        for typed in (text[:12], ""):
            shown.get_by_role("searchbox").fill(typed)
        shown.goto(shown.url.partition("#")[0] + f"#/{index.entries[0].id}")
        for field in shown.locator("article.open .fields input").all():
            field.fill(text)
        for tab in shown.get_by_role("tab").all():
            tab.click()
        for place in shown.locator("article.open td, article.open mark, article.open p").all():
            place.dispatch_event("mouseover")
        hrefs = shown.locator("[href], [src]").evaluate_all("all => all.map(one => [one.href ?? '', one.src ?? ''])")
        assert all(re.match(r"https?://|file:|data:,$|$", address) for pair in hrefs for address in pair), hrefs
        assert shown.locator("article.open h2").inner_text().split()[:2] == readable(text).split()[:2]
        shapes.append(
            shown.evaluate("[...document.querySelectorAll(':not(mark)')].map(one => one.tagName).sort().join()")
        )
    assert shapes == shapes[:1] * len(shapes)


def readable(text: str) -> str:
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def told(index: Index, text: str) -> Index:
    """Return the index with `text` wherever its first script speaks of itself."""
    entry = json.loads(json.dumps(index.entries[0].data))
    entry |= {
        "title": text,
        "summary": text,
        "description": text,
        "license": text,
        "aliases": [text],
        "arguments": [text],
    }
    entry |= {"classification": {"task": text, "tags": [text]}, "status": text, "cost": None, "replaced_by": None}
    entry["io"] = {"inputs": [text], "outputs": [text], "persists": text}
    entry["runtime"] |= {"requires_python": text, "dependencies": [text]}
    entry["needs"] |= {"token": text, "secrets": [text]}
    entry["needs"]["hardware"] = {"flavor": text, "timeout": text, "image": text}
    entry["source"]["urls"] |= {"latest": text, "repository": "javascript:alert(2)", "markdown": text, "json": text}
    for one in entry["interface"]["arguments"]:
        named = {"flags": [text]} if "flags" in one else {"name": text}
        one.update(named, help=text, default=text, choices=[text], metavar=text)
    entry["rehearsal"] = {**entry["rehearsal"], "date": text}
    for step in entry["rehearsal"]["steps"]:
        step |= {"name": text, "reason": text, "figures": {text: text}}
    entry["vetting"] |= {"ignored": [{"rule": text, "reason": text}]}
    for form, tail in (("jobs", shlex.quote(text)), ("local", shlex.quote(text)), ("python", f"[{text!r}]")):
        entry["commands"][form]["text"] = f"{text} {tail}"
    entry["commands"]["mcp"]["text"] = json.dumps({"script_args": [text]}, ensure_ascii=False)
    entry["commands"]["notes"] = [{"form": "mcp", "note": text}]
    made = type(index.entries[0])(data=entry)
    return Told(
        **{key: getattr(index, key) for key in ("name", "version", "repository", "dataset")},
        description=text,
        entries=(made, *index.entries[1:]),
    )


class Told(Index):
    """An index whose entries are taken as they are: one that somebody else serves."""

    def __post_init__(self) -> None:
        pass


def test_a_space_tells_its_frame_where_the_reader_is(browser, shelf: Index):
    """The addresses are answered here: the Hub's page, and the static Space in its frame."""
    context = browser.new_context()
    frame = "https://jobshelf-shelf.static.hf.space/index.html"
    outer = f"<script>seen = []; onmessage = e => seen.push(e.data)</script><iframe src='{frame}#/'></iframe>"
    html = page_files(shelf)["index.html"]
    pages = {"https://huggingface.co/spaces/jobshelf/shelf": outer.encode(), frame: html}
    context.route(
        "**/*", lambda route: route.fulfill(body=pages[route.request.url.partition("#")[0]], content_type="text/html")
    )
    shown = context.new_page()
    shown.goto("https://huggingface.co/spaces/jobshelf/shelf")
    inner = shown.frame_locator("iframe")
    inner.get_by_role("searchbox").fill("grove islet")
    inner.locator("#list a").first.click()
    expect(inner.locator("article.open")).to_be_visible()
    seen = shown.evaluate("seen")
    assert {"queryString": "", "hash": "#/?q=grove+islet"} in seen
    assert re.fullmatch(r"#/grove-islet-\d+|#/[\w-]+", seen[-1]["hash"])
    inner.get_by_role("button", name="Copy the command: Jobs").click()
    expect(inner.locator("#said")).to_have_text(re.compile("Copied|Selected"))
    context.close()


def test_from_the_embedded_hub(browser, make_shelf, hub, client):
    publish(make_shelf({"a": "1", "b": "1"}), client)
    publish_page(client, "jobshelf/scripts", "jobshelf/shelf")
    shown = browser.new_page()
    shown.goto(hub.endpoint)
    shown.get_by_role("link", name="jobshelf/shelf").click()
    shown.get_by_role("searchbox").fill("say b")
    assert listed(shown)[0] == "b"  # the other says so somewhere else
    shown.get_by_role("link", name="Say b").click()
    expect(shown.get_by_role("heading", name="Say b")).to_be_visible()
    shown.close()
