"""The files that are derived from the index: whole, linked with each other, and safe whatever a script says of itself."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from jobshelf.emit import EMITTERS, emit
from jobshelf.forms import script_url
from jobshelf.index import Entry, Index, build_index, load_index, schema_text
from jobshelf.render import one_line
from jobshelf.shelf import find_shelf
from jobshelf.vet.rules import all_rules
from support import ROOT

# What somebody could write into a title, a help text or a docstring to be more than text.
HOSTILE = (
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![](https://evil.example/x.png)",
    "x | y | z",
    "```\n# Not a heading\n```sh\nrm -rf /\n```",
    "\n\n# Heading\n\n- [here](https://evil.example)",
    "- a list",
    "1. a list",
    "12) a list",
    "+ a list",
    "=====",
    "> a quote",
    "# a heading",
    "`code` **bold** _em_ ~~gone~~ <!-- -->",
    "</td></tr></table>",
    "{{ 7 * 7 }} {% raw %} ${HOME} \\ \\\\",
    "&lt;img src=x&gt; &#60;b&#62;",
    "\x1b[31mred\x00\u202egnp\u2028line",
    "---\nlicense: gpl\n---",
    '"],"entries":[{"id":"evil"}],"x":["',
)


ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def index() -> Index:
    return load_index(find_shelf(ROOT))


def test_every_file_is_there(index):
    files = emit(index)
    names = {path for path in files if not path.startswith("scripts/")}
    assert names >= {
        "README.md",
        "ai-catalog.json",
        "index.json",
        "index.min.json",
        "index.schema.json",
        "llms.txt",
        "rules.json",
    }
    pages = {f"scripts/{entry.id}.{form}" for entry in index.entries for form in ("json", "md")}
    assert pages <= files.keys()
    assert files["index.json"] == (ROOT / "index.json").read_bytes()
    assert files["index.schema.json"].decode() == schema_text()
    assert all(data.endswith(b"\n") and not data.endswith(b"\n\n\n") for data in files.values())


def test_emitting_twice_gives_the_same_bytes(index):
    def digest():
        return [(path, hashlib.sha256(data).hexdigest()) for path, data in emit(index).items()]

    assert digest() == digest()


def test_each_entry_by_itself_is_the_entry_of_the_index(index):
    files = emit(index)
    for number, entry in enumerate(index.entries):
        alone = json.loads(files[f"scripts/{entry.id}.json"])
        assert alone == json.loads(files["index.json"])["entries"][number]
        urls = alone["source"]["urls"]
        assert urls["json"] == script_url(index.dataset, f"scripts/{entry.id}.json")
        assert urls["markdown"] == script_url(index.dataset, f"scripts/{entry.id}.md")


def test_the_short_index_has_a_line_a_script(index):
    text = emit(index)["index.min.json"].decode()
    short = json.loads(text)
    assert [entry["id"] for entry in short["entries"]] == [entry.id for entry in index.entries]
    assert len(text.splitlines()) == len(index.entries) + 2
    assert len(text) < len(index.to_text()) / 8
    first, entry = short["entries"][0], index.entries[0]
    assert (first["url"], first["jobs"]) == (entry.url, entry.commands["jobs"]["text"])
    assert (first["rehearsed"], first["vetted"]) == (entry.rehearsed, entry.vetting["passed"])


def test_the_page_of_a_script_says_what_the_index_says(index):
    entry = index.find("finepdfs-stats")
    page = emit(index)["scripts/finepdfs-stats.md"].decode()
    for form in ("jobs", "local", "python", "mcp"):
        assert f"\n{entry.commands[form]['text']}\n```" in page
    assert all(flag in page for argument in entry.interface["arguments"] for flag in argument.get("flags", []))
    assert all(f"| {step['name']} | {step['verdict']} |" in page for step in entry.rehearsal["steps"])
    assert entry.sha256 in page


def test_a_script_without_record_interface_or_successor_has_a_page(make_shelf):
    shelf = make_shelf({"plain": "1"})
    for record in (shelf.catalog / "records").glob("*.json"):
        record.unlink()
    page = emit(build_index(shelf))["scripts/plain.md"].decode()
    assert "could not be captured: no argparse" in page
    assert "never rehearsed" in page


def test_a_retired_script_leaves_the_lists_and_points_to_its_successor(index):
    data = {**index.entries[0].data, "status": "deprecated", "replaced_by": index.entries[1].id}
    old, new = index.entries[0].id, index.entries[1].id
    files = emit(replace(index, entries=(Entry(data=data), *index.entries[1:])))
    assert f"**This script is deprecated.** Use [{new}]({new}.md) instead." in files[f"scripts/{old}.md"].decode()
    scripts, _, optional = files["llms.txt"].decode().partition("## Optional")
    assert f"[{old}]" not in scripts and f"/{old}.md): deprecated, use {new}" in optional
    identifiers = [entry["identifier"] for entry in json.loads(files["ai-catalog.json"])["entries"]]
    assert not any(name.endswith(f"/{old}") for name in identifiers) and identifiers


def test_llms_txt_has_the_form_of_llmstxt_org(index):
    text = emit(index)["llms.txt"].decode()
    lines = text.splitlines()
    assert lines[0] == f"# {index.name}" and lines[2].startswith("> ")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == ["Scripts", "Guides", "For programs", "Optional"]
    files = {*emit(index), "SHA256SUMS"}
    for url in re.findall(r"\]\((.*?)\)", text):
        assert url.startswith("https://github.com/") or url.removeprefix(script_url(index.dataset, "")) in files


def test_the_ai_catalog_has_the_fields_of_its_specification(index):
    catalog = json.loads(emit(index)["ai-catalog.json"])
    assert catalog["specVersion"] == "1.0" and catalog["host"]["displayName"]
    for artifact, entry in zip(catalog["entries"], index.entries, strict=True):
        assert artifact["identifier"] == f"urn:air:huggingface.co:{index.dataset}/{entry.id}"
        assert artifact["type"] == artifact["mediaType"] == "text/x-python"
        assert "url" in artifact and "data" not in artifact
        assert artifact["metadata"]["sha256"] == entry.sha256
        assert isinstance(artifact["displayName"], str) and isinstance(artifact["tags"], list)


def test_rules_json_has_every_rule(index):
    assert [rule["code"] for rule in json.loads(emit(index)["rules.json"])] == list(all_rules())


def dated(entry, date, *, stale=False, **changed) -> Entry:
    record = load_index(find_shelf(ROOT)).find("finepdfs-stats").rehearsal | {"date": date, "stale": stale}
    return Entry(data={**entry.data, "rehearsal": record, **changed})


def test_the_feed_has_what_was_rehearsed_newest_first(index):
    first, second, third = index.entries[:3]
    days = (dated(first, "2026-11-02"), dated(second, "2026-11-19"), Entry(data={**third.data, "rehearsal": None}))
    feed = ElementTree.fromstring(emit(replace(index, entries=days))["feed.xml"])
    entries = feed.findall(f"{ATOM}entry")
    assert [one.findtext(f"{ATOM}title") for one in entries] == [
        f"{entry.title} {entry.version}" for entry in (second, first)
    ]
    assert [one.findtext(f"{ATOM}updated") for one in entries] == ["2026-11-19T00:00:00Z", "2026-11-02T00:00:00Z"]
    assert feed.findtext(f"{ATOM}updated") == "2026-11-19T00:00:00Z"
    assert entries[0].findtext(f"{ATOM}id") == f"{second.url}#{second.sha256}"
    links = [one.find(f"{ATOM}link").get("href") for one in entries]
    assert links == [entry.data["source"]["urls"]["markdown"] for entry in (second, first)]
    assert feed.findtext(f"{ATOM}id") == script_url(index.dataset, "feed.xml")
    # RFC 4287: each feed and entry has exactly one id, title and updated; ids differ
    for one in (feed, *entries):
        assert [len(one.findall(f"{ATOM}{name}")) for name in ("id", "title", "updated")] == [1, 1, 1]


def test_without_a_rehearsal_of_these_bytes_there_is_no_feed(index):
    entries = tuple(dated(entry, "2026-11-02", stale=True) for entry in index.entries)
    made = emit(replace(index, entries=entries))
    assert "feed.xml" not in made
    assert b"feed.xml" not in made["llms.txt"]
    assert b"/feed.xml): what was rehearsed last" in emit(index)["llms.txt"]


@pytest.mark.parametrize("text", HOSTILE)
def test_the_feed_is_xml_whatever_a_script_says(index, text):
    entry = dated(index.entries[0], "2026-11-02", title=text, summary=text)
    made = emit(replace(index, name=text, description=text, entries=(entry,)))["feed.xml"].decode()
    feed = ElementTree.fromstring(made)
    assert [child.tag for child in feed.find(f"{ATOM}entry")] == [
        f"{ATOM}{name}" for name in ("title", "id", "link", "updated", "summary")
    ]
    assert feed.find(f"{ATOM}entry").findtext(f"{ATOM}title") == one_line(f"{text} {entry.version}")
    assert "\x1b" not in made and "\u202e" not in made


def test_two_emitters_of_one_path_are_refused(index, monkeypatch):
    monkeypatch.setattr("jobshelf.emit.EMITTERS", (*EMITTERS, lambda _: {"llms.txt": b""}))
    with pytest.raises(ValueError, match=r"two emitters write llms\.txt"):
        emit(index)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_script_says_of_itself_stays_text(index, text):
    """A parser of Markdown finds the same elements as for harmless words; one of JSON, the text."""
    hostile, harmless = (emit(renamed(index, words)) for words in (text, "plain words"))
    for path in hostile:
        if path.endswith(".json"):
            json.loads(hostile[path])
    assert json.loads(hostile["index.json"])["entries"][0]["title"] == text
    skill = [f"skills/jobshelf/{name}" for name in ("SKILL.md", "references/scripts.md")]
    for path in ("README.md", "llms.txt", f"scripts/{index.entries[0].id}.md", *skill):
        assert elements(hostile[path].decode()) == elements(harmless[path].decode()), path
        assert "\x1b" not in hostile[path].decode() and "\u202e" not in hostile[path].decode()


def renamed(index, text) -> Index:
    """Return the index with `text` wherever the first script speaks of itself."""
    data = json.loads(json.dumps(index.entries[0].data))
    data |= {"title": text, "summary": text, "description": text, "license": text, "aliases": [text], "authors": [text]}
    data["classification"] = {"task": text, "tags": [text]}
    data["io"] |= {"inputs": [text], "outputs": [text]}
    data["runtime"] |= {"requires_python": text, "dependencies": [text]}
    data["cost"] = None
    data["needs"]["hardware"] = {"flavor": text, "timeout": text, "image": text}
    data["interface"] |= {"usage": text, "description": text}
    for argument in data["interface"]["arguments"]:
        argument |= {"help": text, "default": text, "choices": [text], "metavar": text, "flags": [text]}
    for step in data["rehearsal"]["steps"] if data["rehearsal"] else ():
        step |= {"name": text, "reason": text, "figures": {text: text}}
    for form in ("local", "jobs", "python", "mcp"):
        data["commands"][form]["text"] = text
    data["commands"]["notes"] = [{"form": "mcp", "note": text}]
    return replace(index, entries=(Entry(data=data), *index.entries[1:]))


def elements(text: str) -> list[tuple[str, ...]]:
    """Return the structure of a Markdown text: what opens and closes, links and images with their targets, no words."""
    body = text.split("---\n", 2)[2] if text.startswith("---\n") else text
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    found = []
    for token in parser.parse(body):
        found.append((token.type,))
        for inner in token.children or ():
            if inner.type not in ("text", "softbreak", "code_inline", "text_special"):
                found.append((inner.type, str(inner.attrs.get("href", inner.attrs.get("src", "")))))
    return found
