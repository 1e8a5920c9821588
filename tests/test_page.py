"""The page as text: whole, the same every time, within its budget, with commands that a shell, Python and JSON read."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import shlex
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jobshelf.index import Entry, Index, load_index
from jobshelf.page import PROVEN, form_parts, machine_class, page, page_files, read_sources
from jobshelf.rehearse.steps import STEPS
from jobshelf.shelf import find_shelf
from page_entries import changed, varied
from support import ROOT

VOID = {"meta", "link", "input"}
BUDGET = 30_000
PAGES = ROOT / "generator" / "jobshelf" / "pages"


class Document(HTMLParser):
    """Ids, targets, attributes and texts of a page; `stray` are ends of elements that were not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.codes: list[str] = []
        self.open: list[str] = []
        self.stray: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [given["href"]] if tag == "a" else []
        self.loads += [given[key] for key in ("src", "srcset", "action", "data", "poster", "style") if given.get(key)]
        self.codes += [""] if tag == "code" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.stray.append(tag)

    def handle_data(self, data: str) -> None:
        if "code" in self.open:
            self.codes[-1] += data


@pytest.fixture(scope="module")
def index() -> Index:
    return load_index(find_shelf(ROOT))


def test_it_is_the_same_every_time_and_holds_no_clock(index):
    made = page_files(index)
    assert list(made) == ["index.html"] and made == page_files(Index.from_text(index.to_text(), "a copy"))


def test_each_element_ends_each_id_is_one_and_each_link_leads_somewhere(index):
    document = Document(page(varied(index, 30)))
    assert document.stray == document.open == [] and document.loads == []
    assert len(document.ids) == len(set(document.ids))
    inside = {link[1:] for link in document.links if link.startswith("#")} - {"/"}
    assert inside <= set(document.ids)
    outside = [urlsplit(link) for link in document.links if not link.startswith("#")]
    assert {(link.scheme, link.netloc) for link in outside} == {("https", "huggingface.co"), ("https", "github.com")}


def test_own_style_and_script_stay_small_and_are_the_only_ones_that_may_run(index):
    texts = [(PAGES / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")]
    assert sum(len(text.encode()) for text in texts) < BUDGET
    made = page(index)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', made)[1].replace("&#39;", "'")
    for text, kind in zip(texts, ("style", "script"), strict=True):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy and f"<{kind}>{text}</{kind}>" in made
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert not re.search(r"\b(fetch|XMLHttpRequest|innerHTML|outerHTML|insertAdjacentHTML|eval|import)\b", texts[1])


def test_programs_find_the_index_and_what_the_scripts_are(index):
    text = page(index)
    base = f"https://huggingface.co/datasets/{index.dataset}/resolve/main/"
    alternates = re.findall(r'<link rel="alternate" type="([^"]+)" href="([^"]+)"', text)
    assert alternates == [("application/json", f"{base}index.json"), ("text/plain", f"{base}llms.txt")]
    linked = json.loads(re.search(r'<script type="application/ld\+json">(.*?)</script>', text)[1])
    assert [part["identifier"] for part in linked["hasPart"]] == [entry.id for entry in index.entries]
    assert {part["@type"] for part in linked["hasPart"]} == {"SoftwareSourceCode"}


def test_what_was_not_asked_or_decided_is_said_with_its_reason_and_rule(index):
    vetting = {
        **index.entries[0].vetting,
        "ignored": [{"rule": "UVS202", "reason": "held by the image"}],
        "inconclusive": [{"rule": "UVS401", "reason": "the stubs could not follow"}],
    }
    text = page(replace(index, entries=(changed(index.entries[0], vetting=vetting),)))
    assert 'docs/rules/UVS202.md">UVS202</a>: held by the image' in text
    assert 'docs/rules/UVS401.md">UVS401</a>, undecided: the stubs could not follow' in text


def test_nothing_moves():
    assert not re.search(r"transition|animation|scroll-behavior", (PAGES / "page.css").read_text(encoding="utf-8"))


def test_the_commands_are_those_of_the_index(index):
    for entry in index.entries:
        shown = Document(page(replace(index, entries=(entry,)))).codes
        for form in ("jobs", "local", "python", "mcp"):
            assert entry.commands[form]["text"] in shown


def test_a_release_is_what_is_pinned_else_the_digest(index):
    entry = index.find("dataset-inspector")
    released = replace(index, entries=(entry.pinned("1.2.0"),))
    codes = Document(page(released)).codes
    assert released.entries[0].commands["pinned"]["jobs"]["text"] in codes and "/resolve/v1.2.0/" in " ".join(codes)
    unreleased = " ".join(Document(page(replace(index, entries=(entry,)))).codes)
    assert f"echo '{entry.sha256}  {entry.file}' | sha256sum --check && uv run {entry.file}" in unreleased


@pytest.mark.parametrize("right", [True, False])
def test_the_pinned_command_runs_those_bytes_only(index, tmp_path, right):
    """Executed by a shell; curl and uv stand for themselves by files of that name."""
    entry = index.entries[0]
    served = (ROOT / "catalog" / entry.file).read_bytes() + (b"" if right else b"#")
    entry = changed(entry, source={"sha256": hashlib.sha256((ROOT / "catalog" / entry.file).read_bytes()).hexdigest()})
    (line,) = [one for one in Document(page(replace(index, entries=(entry,)))).codes if one.startswith("curl ")]
    (tmp_path / "served").write_bytes(served)
    for name, body in (("curl", f'cp "$(dirname "$0")/served" {entry.file}'), ("uv", 'echo "ran $*"')):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        tool.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    expected = f"ran run {entry.file} {shlex.join(entry.arguments)}"
    assert (done.returncode == 0, expected in done.stdout) == (right, right)


AWKWARD = ["--model", 'it\'s "my" data', "--note", "a, b]", "x"]


@pytest.mark.parametrize(
    ("quoting", "text"),
    [
        ("shell", "uv run https://x.example/s.py " + shlex.join(AWKWARD)),
        ("python", f"run_uv_job('s.py', script_args={AWKWARD!r}, labels={{'a': 'x'}})"),
        ("json", json.dumps({"args": {"script_args": AWKWARD, "flavor": "x"}})),
        ("json", json.dumps({"args": {"command": ["uv", "run", "s.py", *AWKWARD], "flavor": "x"}})),
    ],
)
def test_the_words_of_the_example_are_found_in_each_form(quoting, text):
    parts = form_parts(text, AWKWARD, quoting, (1, 3, 4))
    assert "".join(part.text for part in parts) == text
    read = {"shell": lambda word: shlex.split(word)[0], "python": ast.literal_eval, "json": json.loads}[quoting]
    assert [(part.value, read(part.text)) for part in parts if part.value is not None] == [
        (number, AWKWARD[number]) for number in (1, 3, 4)
    ]


def test_a_command_without_its_example_stays_whole():
    assert [part.text for part in form_parts("uv run s.py other", ["word"], "shell", (0,))] == ["uv run s.py other"]
    assert [part.value for part in form_parts("uv run s.py", [], "shell", ())] == [None]


def test_only_bytes_that_the_index_describes_are_shown_as_the_source(index):
    source = b'print("<b>&amp;")\n'
    entry = changed(index.entries[0], source={"sha256": hashlib.sha256(source).hexdigest()})
    shelf = replace(index, entries=(entry,))
    assert 'print("<b>&amp;")\n' in Document(page(shelf, {entry.file: source})).codes
    assert page(shelf, {entry.file: source + b"#"}) == page(shelf)


def test_the_machine_is_named_by_what_it_has(index):
    def named(flavor: str) -> str:
        return machine_class(changed(index.entries[0], needs={"hardware": {"flavor": flavor, "timeout": "1h"}}))

    assert [named(flavor) for flavor in ("cpu-basic", "t4-small", "l4x1", "l40sx1", "a100-large", "h200", "new")] == [
        "CPU",
        "GPU up to 16 GB",
        "GPU up to 24 GB",
        "GPU up to 48 GB",
        *["GPU of 80 GB and more"] * 2,
        "other",
    ]


def test_each_step_of_a_rehearsal_has_words():
    assert list(PROVEN) == [step.name for step in STEPS]


@pytest.mark.parametrize("text", ["\ud800", "\x00\x1b[2J", "\u202egnp", "a\u2028b"])
def test_what_hides_or_breaks_text_is_made_visible(index, text):
    entry: Entry = changed(index.entries[0], title=text, aliases=[text], classification={"task": text, "tags": [text]})
    made = page(replace(index, description=text, entries=(entry,)))
    assert text not in made and "\ufffd" in made.encode().decode()


def test_the_command_writes_it_with_the_sources_at_hand(jobshelf, index, tmp_path: Path):
    done = jobshelf("page", "--output", str(tmp_path / "x.html"))
    assert (done.returncode, done.stdout) == (0, f"wrote {tmp_path / 'x.html'}: {len(index.entries)} scripts\n")
    sources = read_sources(index, ROOT / "catalog")
    assert set(sources) == {entry.file for entry in index.entries}
    assert (tmp_path / "x.html").read_text(encoding="utf-8") == page(index, sources)
    missing = jobshelf("page", "--output", str(tmp_path / "none" / "x.html"), "--open", "no")
    assert missing.returncode == 5 and missing.stderr.startswith("jobshelf: No such file")
