"""Pull requests and discussions, as the client opens, fills, reads and merges them."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError

from hub.contract import Ask
from jobshelf.hub import Hub

DATA = {"repo_id": "ada/data", "repo_type": "dataset"}


@pytest.fixture(autouse=True)
def head(ada: HfApi) -> str:
    """A public dataset `ada/data` with `a.txt` and `b.txt`; the commit it is at."""
    ada.create_repo(**DATA)
    operations = [CommitOperationAdd("a.txt", b"a"), CommitOperationAdd("b.txt", b"b")]
    return ada.create_commit(**DATA, operations=operations, commit_message="start").oid


def propose(api: HfApi, path: str, content: bytes, **options: object) -> int:
    operations = [CommitOperationAdd(path, content)]
    made = api.create_commit(**DATA, operations=operations, commit_message="a change", create_pr=True, **options)
    return made.pr_num


def read(api: HfApi, path: str, revision: str = "main", *, folder: Path) -> bytes:
    return Path(
        api.hf_hub_download("ada/data", path, repo_type="dataset", revision=revision, local_dir=folder / revision)
    ).read_bytes()


def test_a_stranger_proposes_and_the_owner_merges(ada: HfApi, bob: HfApi, hub: Hub, head: str, tmp_path: Path):
    made = bob.create_commit(
        **DATA,
        operations=[CommitOperationAdd("new.bin", b"\x00\x01"), CommitOperationDelete("b.txt")],
        commit_message="From outside",
        create_pr=True,
    )
    assert (made.pr_num, made.pr_revision) == (1, "refs/pr/1")
    assert made.pr_url == f"{hub.endpoint}/datasets/ada/data/discussions/1"
    assert ada.dataset_info("ada/data").sha == head
    assert read(ada, "new.bin", "refs/pr/1", folder=tmp_path) == b"\x00\x01"
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.merge_pull_request(**DATA, discussion_num=1)
    ada.merge_pull_request(**DATA, discussion_num=1, comment="Thanks")
    found = ada.get_discussion_details(**DATA, discussion_num=1)
    assert (found.status, found.author, found.target_branch, found.conflicting_files) == ("merged", "bob", "main", [])
    assert found.merge_commit_oid == ada.dataset_info("ada/data").sha
    assert [event.type for event in found.events] == ["comment", "commit", "status-change", "comment"]
    assert sorted(ada.list_repo_files(**DATA)) == [".gitattributes", "a.txt", "new.bin"]
    assert ada.list_repo_commits(**DATA)[0].title == "From outside (#1)"


def test_a_merge_keeps_what_main_got_meanwhile(ada: HfApi, tmp_path: Path):
    num = propose(ada, "a.txt", b"changed")
    ada.create_commit(**DATA, operations=[CommitOperationAdd("b.txt", b"meanwhile")], commit_message="on main")
    ada.merge_pull_request(**DATA, discussion_num=num)
    assert (read(ada, "a.txt", folder=tmp_path), read(ada, "b.txt", folder=tmp_path)) == (b"changed", b"meanwhile")


def test_what_both_sides_did_alike_is_no_conflict(ada: HfApi):
    for options in ({"create_pr": True}, {}):
        both = [CommitOperationDelete("b.txt"), CommitOperationAdd("c.txt", b"same")]
        ada.create_commit(**DATA, operations=both, commit_message="a change", **options)
    ada.merge_pull_request(**DATA, discussion_num=1)
    assert sorted(ada.list_repo_files(**DATA)) == [".gitattributes", "a.txt", "c.txt"]


def test_a_conflict_is_named_and_not_merged(ada: HfApi, tmp_path: Path):
    num = propose(ada, "a.txt", b"theirs")
    ada.create_commit(**DATA, operations=[CommitOperationAdd("a.txt", b"ours")], commit_message="on main")
    assert ada.get_discussion_details(**DATA, discussion_num=num).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError, match=r"409.*conflicts with main: a\.txt|conflicts with main: a\.txt"):
        ada.merge_pull_request(**DATA, discussion_num=num)
    assert read(ada, "a.txt", folder=tmp_path) == b"ours"


def test_upload_folder_opens_one_draft_and_fills_it(bob: HfApi, ada: HfApi, hub: Hub, head: str, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    for number in range(3):
        (tmp_path / "folder" / f"{number}.bin").write_bytes(bytes([0, number]))
    made = bob.upload_folder(**DATA, folder_path=tmp_path / "folder", create_pr=True, commit_message="Three files")
    assert made.pr_url == f"{hub.endpoint}/datasets/ada/data/discussions/1"
    (found,) = ada.get_repo_discussions("ada/data", repo_type="dataset")
    assert (found.title, found.status, found.is_pull_request) == ("Three files", "draft", True)
    files = ada.list_repo_files(**DATA, revision="refs/pr/1")
    assert {"0.bin", "1.bin", "2.bin"} <= set(files)
    assert ada.dataset_info("ada/data").sha == head
    # a second round goes into the same one
    (tmp_path / "folder" / "3.bin").write_bytes(b"\x00")
    bob.upload_folder(**DATA, folder_path=tmp_path / "folder", revision="refs/pr/1")
    assert "3.bin" in ada.list_repo_files(**DATA, revision="refs/pr/1")


def test_a_pull_request_belongs_to_its_author_and_the_owner(ada: HfApi, bob: HfApi):
    num = propose(ada, "a.txt", b"mine")
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.upload_file(path_or_fileobj=b"x", path_in_repo="x", revision=f"refs/pr/{num}", **DATA)
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.change_discussion_status(**DATA, discussion_num=num, new_status="closed")
    theirs = propose(bob, "a.txt", b"theirs")
    ada.upload_file(path_or_fileobj=b"x", path_in_repo="x", revision=f"refs/pr/{theirs}", **DATA)
    assert "x" in bob.list_repo_files(**DATA, revision=f"refs/pr/{theirs}")


def test_a_read_token_and_an_anonymous_caller_propose_nothing(reader: HfApi, anonymous: HfApi):
    with pytest.raises(HfHubHTTPError, match="read-only"):
        propose(reader, "a.txt", b"x")
    with pytest.raises(RepositoryNotFoundError):
        propose(anonymous, "a.txt", b"x")


def test_a_pull_request_stands_on_the_commit_asked_for(ada: HfApi, head: str):
    ada.create_commit(**DATA, operations=[CommitOperationAdd("a.txt", b"2")], commit_message="later")
    num = propose(ada, "c.txt", b"c", parent_commit=head)
    commits = ada.list_repo_commits(**DATA, revision=f"refs/pr/{num}")
    assert [commit.title for commit in commits] == ["a change", "start", "initial commit"]


def test_refs_of_pull_requests_are_listed_on_request(ada: HfApi):
    propose(ada, "a.txt", b"x")
    assert ada.list_repo_refs(**DATA).pull_requests is None
    (ref,) = ada.list_repo_refs(**DATA, include_pull_requests=True).pull_requests
    assert (ref.name, ref.ref) == ("1", "refs/pr/1")
    assert [branch.name for branch in ada.list_repo_refs(**DATA).branches] == ["main"]


def test_talk(ada: HfApi, bob: HfApi):
    opened = bob.create_discussion(**DATA, title="A question", description="Why?")
    assert (opened.num, opened.status, opened.is_pull_request, opened.events[0].content) == (1, "open", False, "Why?")
    assert ada.comment_discussion(**DATA, discussion_num=1, comment="Because").content == "Because"
    renamed = bob.rename_discussion(**DATA, discussion_num=1, new_title="An answer")
    assert (renamed.old_title, renamed.new_title) == ("A question", "An answer")
    assert ada.change_discussion_status(**DATA, discussion_num=1, new_status="closed").new_status == "closed"
    found = ada.get_discussion_details(**DATA, discussion_num=1)
    assert (found.title, found.status, found.merge_commit_oid) == ("An answer", "closed", None)
    assert [event.author for event in found.events] == ["bob", "ada", "bob", "ada"]
    with pytest.raises(BadRequestError, match="not an open pull request"):
        ada.merge_pull_request(**DATA, discussion_num=1)
    with pytest.raises(BadRequestError, match="A title has 3 to 200 letters"):
        ada.create_discussion(**DATA, title="no")
    with pytest.raises(HfHubHTTPError, match="404"):
        ada.get_discussion_details(**DATA, discussion_num=9)


def test_lists_come_in_pages_and_by_kind(ada: HfApi, bob: HfApi, ask: Ask):
    for number in range(52):
        bob.create_discussion(**DATA, title=f"Number {number}")
    propose(ada, "a.txt", b"x")
    listed = list(ada.get_repo_discussions(**DATA))
    assert [item.num for item in listed] == list(range(53, 0, -1))
    found = ada.get_repo_discussions(**DATA, discussion_type="pull_request", discussion_status="open", author="ada")
    assert [item.num for item in found] == [53]
    assert list(ada.get_repo_discussions(**DATA, discussion_status="closed")) == []
    assert ask("GET", "/api/datasets/ada/data/discussions?p=x").status == 400
