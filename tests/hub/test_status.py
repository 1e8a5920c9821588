"""The page for people."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from hub.contract import ADA, Ask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Cells(HTMLParser):
    """The tags of a page and the text of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag in {"td", "th"}:
            self.cells.append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.cells[-1] += data


def test_an_empty_hub_says_so(ask: Ask):
    answer = ask("GET", "/")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert Cells(answer.body.decode()).cells.count("none") == 2


def test_public_repos_and_jobs(ada: HfApi, ask: Ask):
    ada.create_repo("ada/data", repo_type="dataset")
    ada.create_repo("acme/model")
    job = ada.run_job(image="x", command=["sh", "-c", "exit 3"], namespace="ada")
    ada.wait_for_job(job.id, namespace="ada", poll_interval=0.05)
    cells = [cell.strip() for cell in Cells(ask("GET", "/").body.decode()).cells]
    place = cells.index("ada/data")
    assert cells[place - 1 : place + 3] == ["dataset", "ada/data", "public", ada.dataset_info("ada/data").sha[:12]]
    assert cells[cells.index(job.id) + 2] == "ERROR"


def test_nothing_private_is_shown(ada: HfApi, ask: Ask):
    ada.create_repo("ada/hidden", repo_type="dataset", private=True)
    added = [CommitOperationAdd("hidden.txt", b"hidden")]
    ada.create_commit("ada/hidden", added, commit_message="hidden", repo_type="dataset")
    job = ada.run_job(image="x", command=["false", "hidden"], labels={"name": "hidden"}, namespace="ada")
    ada.wait_for_job(job.id, namespace="ada", poll_interval=0.05)
    answer = ask("GET", "/")
    page = Cells(answer.body.decode())
    assert page.tags.isdisjoint({"script", "a", "img", "form"})
    assert job.id in page.cells
    assert "hidden" not in answer.body.decode()
    assert ADA.token not in answer.body.decode()
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_static_space_is_shown_by_a_link(ada: HfApi, ask: Ask):
    for name, private in (("shown", False), ("empty", False), ("hidden", True)):
        ada.create_repo(f"ada/{name}", repo_type="space", space_sdk="static", private=private)
    for name in ("shown", "hidden"):
        added = [CommitOperationAdd("index.html", b"<p>hello")]
        ada.create_commit(f"ada/{name}", added, commit_message="page", repo_type="space")
    page = ask("GET", "/").body.decode()
    (address,) = re.findall(r'href="(.*?)"', page)
    assert address == "/spaces/ada/shown/resolve/main/index.html"
    answer = ask("GET", address)
    assert (answer.body, answer.headers["content-type"]) == (b"<p>hello", "text/html; charset=utf-8")
