"""The page of the shelf as a static Space."""

from __future__ import annotations

import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from huggingface_hub import CommitOperationAdd, HfApi

from jobshelf.errors import InputError, NotPersisted, TokenError
from jobshelf.index import load_index
from jobshelf.publish import page_files, publish, publish_page
from support import READ_TOKEN

REPO, SPACE = "jobshelf/scripts", "jobshelf/shelf"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The texts of a page by element; raises when an element is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.attributes = [], {}, {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes.setdefault(tag, []).append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def shelf(make_shelf, client):
    shelf = make_shelf({"a": "1", "b": "1"})
    publish(shelf, client)
    return shelf


def head(client):
    return client.repo_info(SPACE, repo_type="space").sha


def commits(hub):
    return [entry for entry in hub.journal() if "/commit/" in entry.path and entry.method == "POST"]


def text(client, path):
    return Path(client.hf_hub_download(SPACE, path, repo_type="space")).read_text()


def test_it_is_a_static_space_with_every_command(shelf, hub, client):
    hub.clear_journal()
    done = publish_page(client, REPO, SPACE)
    assert done.written == ("README.md", "SHA256SUMS", "index.html") and len(commits(hub)) == 1
    assert client.repo_info(SPACE, repo_type="space").sdk == "static"
    assert yaml.safe_load(text(client, "README.md").split("---")[1])["sdk"] == "static"
    with urllib.request.urlopen(f"{hub.endpoint}/spaces/{SPACE}/resolve/main/index.html") as answer:
        page = Page(answer.read().decode())
    shown = set(page.texts["code"])
    for entry in load_index(shelf).entries:
        assert {entry.commands["jobs"]["text"], entry.commands["local"]["text"]} <= shown
        assert f"/{entry.id}" in {article["id"] for article in page.attributes["article"]}
    assert page.attributes["html"] == [{"lang": "en"}] and len(page.attributes["h1"]) == 1


def test_unchanged_is_no_commit_and_a_new_version_is_one(shelf, make_shelf, hub, client):
    first = publish_page(client, REPO, SPACE)
    hub.clear_journal()
    assert publish_page(client, REPO, SPACE) == type(first)(
        space=SPACE, page=first.page, commit=first.commit, written=(), removed=()
    )
    assert commits(hub) == []
    make_shelf.put(shelf, "a", "1.1")
    publish(make_shelf.index(shelf), client)
    assert publish_page(client, REPO, SPACE).written == ("SHA256SUMS", "index.html")
    assert "<code>a</code> 1.1 · stable" in text(client, "index.html")


def test_a_file_of_somebody_else_stays_and_one_in_the_way_is_refused(shelf, client):
    publish_page(client, REPO, SPACE)
    client.create_commit(SPACE, [CommitOperationAdd("own.css", b"x")], commit_message="mine", repo_type="space")
    publish_page(client, REPO, SPACE)
    assert text(client, "own.css") == "x"
    client.create_repo("jobshelf/other", repo_type="space", space_sdk="static")
    theirs = [CommitOperationAdd("index.html", b"<p>theirs")]
    client.create_commit("jobshelf/other", theirs, commit_message="mine", repo_type="space")
    with pytest.raises(InputError, match=r"already holds index.html, which no shelf published"):
        publish_page(client, REPO, "jobshelf/other")


def test_what_the_hub_itself_puts_into_a_new_space_is_nobodys(shelf, client):
    """As the real Hub does: its first commit holds a README.md and a page to begin with."""
    client.create_repo(SPACE, repo_type="space", space_sdk="static")
    begun = [CommitOperationAdd("README.md", b"---\nsdk: static\n---\n"), CommitOperationAdd("index.html", b"<p>hello")]
    client.create_commit(SPACE, begun, commit_message="begun", repo_type="space")
    client.super_squash_history(SPACE, repo_type="space", commit_message="initial commit")
    publish_page(client, REPO, SPACE)
    assert "<h1>" in text(client, "index.html")


def test_a_space_of_another_kind_is_refused(shelf, client):
    client.create_repo(SPACE, repo_type="space", space_sdk="gradio")
    before = head(client)
    with pytest.raises(InputError, match="is a Space of the kind 'gradio', and the page is a static one"):
        publish_page(client, REPO, SPACE)
    assert head(client) == before


def test_it_needs_a_published_shelf_and_a_token_that_may_write(make_shelf, hub, client):
    with pytest.raises(NotPersisted, match="holds no index to make a page of"):
        publish_page(client, REPO, SPACE)
    publish(make_shelf({"a": "1"}), client)
    with pytest.raises(TokenError, match="read-only"):
        publish_page(HfApi(endpoint=hub.endpoint, token=READ_TOKEN), REPO, SPACE)
    assert not client.repo_exists(SPACE, repo_type="space")


def test_text_of_scripts_is_text_on_the_page(make_shelf):
    shelf = make_shelf({"a": "1"})
    make_shelf.put(shelf, "a", "1", word="<script>alert(1)</script>")
    page = page_files(load_index(make_shelf.index(shelf)))["index.html"].decode()
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    Page(page)


def test_the_command_publishes_both(make_shelf, client, hub_environment, jobshelf):
    shelf = make_shelf({"a": "1"})
    done = jobshelf("publish", "--space", env=hub_environment, cwd=shelf.root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == f"published 3 files to {client.endpoint}/spaces/{SPACE}"
    other = jobshelf("publish", "--space", "alice/page", env=hub_environment, cwd=shelf.root)
    assert other.stdout.splitlines()[0].startswith("unchanged: ") and "/spaces/alice/page" in other.stdout


def test_a_dry_run_shows_the_page_as_it_would_be_and_writes_nothing(make_shelf, hub, client, hub_environment, jobshelf):
    shelf = make_shelf({"a": "1"})
    dry = ("publish", "--dry-run", "--space")
    before_all = jobshelf(*dry, env=hub_environment, cwd=shelf.root)
    assert before_all.returncode == 0, before_all.stderr
    page = before_all.stdout.partition(f"{client.endpoint}/spaces/{SPACE}:\n")[2]
    assert page.splitlines()[:3] and all(f"add {name} (" in page for name in ("README.md", "SHA256SUMS", "index.html"))
    assert not client.repo_exists(REPO, repo_type="dataset") and not client.repo_exists(SPACE, repo_type="space")
    assert jobshelf("publish", "--space", env=hub_environment, cwd=shelf.root).returncode == 0
    assert jobshelf(*dry, env=hub_environment, cwd=shelf.root).stdout == (
        f"unchanged\n{client.endpoint}/spaces/{SPACE}:\nunchanged\n"
    )
    make_shelf.put(shelf, "a", "2", word="quokka")
    make_shelf.index(shelf)
    at = head(client)
    page = jobshelf(*dry, env=hub_environment, cwd=shelf.root).stdout.partition(f"/spaces/{SPACE}:\n")[2]
    assert "change index.html (" in page and any(line[:1] == "+" and "quokka" in line for line in page.splitlines())
    assert head(client) == at
    client.create_repo("jobshelf/app", repo_type="space", space_sdk="gradio")
    refused = jobshelf(*dry, "jobshelf/app", env=hub_environment, cwd=shelf.root)
    assert (refused.returncode, "the page is a static one" in refused.stderr) == (4, True)
