"""Repos, refs and listings through the real client."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, RepoFolder
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError, RevisionNotFoundError

from hub.contract import ADA, Ask
from jobshelf.hub import Hub

DATA = {"repo_id": "ada/data", "repo_type": "dataset"}


def put(api: HfApi, files: dict[str, bytes], message: str = "put", **where: str) -> str:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(**{**DATA, **where}, operations=operations, commit_message=message).oid


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_a_repo_of_each_kind_begins_with_one_commit(ada: HfApi, hub: Hub, tmp_path: Path, kind: str):
    sdk = {"space_sdk": "static"} if kind == "space" else {}
    url = ada.create_repo("ada/new", repo_type=kind, **sdk)
    prefix = "" if kind == "model" else f"{kind}s/"
    assert url == f"{hub.endpoint}/{prefix}ada/new"
    assert ada.list_repo_files("ada/new", repo_type=kind) == [".gitattributes"]
    assert [commit.title for commit in ada.list_repo_commits("ada/new", repo_type=kind)] == ["initial commit"]
    assert put(ada, {"a.txt": b"1"}, repo_id="ada/new", repo_type=kind) == ada.repo_info("ada/new", repo_type=kind).sha
    assert (
        Path(ada.hf_hub_download("ada/new", "a.txt", repo_type=kind, local_dir=tmp_path / "out")).read_bytes() == b"1"
    )


def test_the_kinds_do_not_share_names(ada: HfApi):
    ada.create_repo("ada/same", repo_type="dataset")
    assert not ada.repo_exists("ada/same", repo_type="model")


def test_creating_twice_is_a_conflict_unless_it_may_exist(ada: HfApi):
    ada.create_repo(**DATA)
    with pytest.raises(HfHubHTTPError, match="already created") as error:
        ada.create_repo(**DATA)
    assert status_of(error) == 409
    assert ada.create_repo(**DATA, exist_ok=True).repo_id == "ada/data"


@pytest.mark.parametrize("name", ["a--b", "a..b", "-a", "a.git", "a b", "a" * 97])
def test_bad_names_are_refused(ask: Ask, name: str):
    answer = ask("POST", "/api/repos/create", token=ADA.token, body={"name": name, "type": "dataset"})
    assert answer.status == 400


def test_what_is_not_done_is_not_passed_over(ask: Ask, ada: HfApi):
    body = {"name": "x", "type": "space", "sdk": "static", "hardware": "t4-small"}
    answer = ask("POST", "/api/repos/create", token=ADA.token, body=body)
    assert answer.status == 501
    assert answer.json["error"] == "The embedded Hub does not implement creating a repo with 'hardware'"
    ada.create_repo(**DATA)
    answer = ask("PUT", "/api/datasets/ada/data/settings", token=ADA.token, body={"discussionsDisabled": True})
    assert answer.json["error"] == "The embedded Hub does not implement the repo setting 'discussionsDisabled'"


def test_deleting_a_repo(ada: HfApi):
    ada.create_repo(**DATA)
    ada.delete_repo(**DATA)
    assert not ada.repo_exists(**DATA)
    ada.create_repo(**DATA)
    assert ada.list_repo_files(**DATA) == [".gitattributes"]


def test_info_describes_the_card_and_the_files(ada: HfApi):
    ada.create_repo(**DATA)
    oid = put(ada, {"README.md": b"---\ntags: [one, two]\nsince: 2026-01-01\n---\n# Hi\n", "a.txt": b"hello\n"})
    info = ada.dataset_info("ada/data", files_metadata=True)
    assert (info.sha, info.author, info.private, info.tags) == (oid, "ada", False, ["one", "two"])
    assert info.card_data["since"] == "2026-01-01"
    siblings = {file.rfilename: (file.size, file.blob_id) for file in info.siblings}
    assert siblings["a.txt"] == (6, "ce013625030ba8dba906f756967f9e9ca394464a")


def test_the_tree_is_listed_flat_deep_and_from_a_folder(ada: HfApi):
    ada.create_repo(**DATA)
    put(ada, {"a/b/c.txt": b"1", "a/d.txt": b"2", "e.txt": b"3"})
    flat = ada.list_repo_tree(**DATA)
    assert [(item.path, type(item)) for item in flat] == [
        (".gitattributes", RepoFile),
        ("a", RepoFolder),
        ("e.txt", RepoFile),
    ]
    deep = [item.path for item in ada.list_repo_tree(**DATA, recursive=True)]
    assert deep == [".gitattributes", "a", "a/b", "a/b/c.txt", "a/d.txt", "e.txt"]
    assert [item.path for item in ada.list_repo_tree(**DATA, path_in_repo="a/b")] == ["a/b/c.txt"]
    with pytest.raises(RemoteEntryNotFoundError):
        list(ada.list_repo_tree(**DATA, path_in_repo="nothing"))


def test_a_long_tree_comes_in_pages(ada: HfApi, hub: Hub):
    ada.create_repo(**DATA)
    put(ada, {f"f{number:04}.txt": b"x" for number in range(1100)})
    hub.clear_journal()
    assert len(ada.list_repo_files(**DATA)) == 1101
    assert sum("/tree/" in entry.path for entry in hub.journal()) == 2


def test_expanded_items_name_the_commit_that_made_them(ada: HfApi):
    ada.create_repo(**DATA)
    first = put(ada, {"a/old.txt": b"1", "b/new.txt": b"1"}, "first")
    second = put(ada, {"b/new.txt": b"2"}, "second")
    items = {item.path: item.last_commit.oid for item in ada.list_repo_tree(**DATA, recursive=True, expand=True)}
    assert items["a/old.txt"] == items["a"] == first
    assert items["b/new.txt"] == items["b"] == second


def test_paths_info_leaves_out_what_is_not_there(ada: HfApi):
    ada.create_repo(**DATA)
    put(ada, {"a b/ä.txt": b"1"})
    found = ada.get_paths_info("ada/data", ["a b/ä.txt", "a b", "gone.txt"], repo_type="dataset")
    assert [item.path for item in found] == ["a b/ä.txt", "a b"]


def test_branches(ada: HfApi):
    ada.create_repo(**DATA)
    start = put(ada, {"a.txt": b"1"})
    ada.create_branch(**DATA, branch="feat/x")
    ada.create_branch(**DATA, branch="feat/x", exist_ok=True)
    with pytest.raises(HfHubHTTPError) as error:
        ada.create_branch(**DATA, branch="feat/x")
    assert status_of(error) == 409
    moved = put(ada, {"b.txt": b"2"}, revision="feat/x")
    heads = {ref.name: ref.target_commit for ref in ada.list_repo_refs(**DATA).branches}
    assert heads == {"main": start, "feat/x": moved}
    assert ada.list_repo_files(**DATA, revision="feat/x") == [".gitattributes", "a.txt", "b.txt"]
    assert ada.list_repo_files(**DATA) == [".gitattributes", "a.txt"]
    ada.delete_branch(**DATA, branch="feat/x")
    with pytest.raises(RevisionNotFoundError):
        ada.list_repo_files(**DATA, revision="feat/x")


def test_main_cannot_be_deleted(ada: HfApi):
    ada.create_repo(**DATA)
    with pytest.raises(HfHubHTTPError, match="Cannot delete the default branch"):
        ada.delete_branch(**DATA, branch="main")


@pytest.mark.parametrize("name", ["refs/pr/5", "a..b", "a//b", "-a", "a.lock", "a@{b", "0" * 40])
def test_bad_references_are_refused(ask: Ask, ada: HfApi, name: str):
    ada.create_repo(**DATA)
    answer = ask("POST", "/api/datasets/ada/data/tag/main", token=ADA.token, body={"tag": name})
    assert (answer.status, answer.json["error"]) == (400, f"Invalid reference '{name}'")


def test_tags_do_not_move(ada: HfApi):
    ada.create_repo(**DATA)
    first = put(ada, {"a.txt": b"1"})
    ada.create_tag(**DATA, tag="v1")
    put(ada, {"a.txt": b"2"})
    with pytest.raises(HfHubHTTPError, match="exists already") as error:
        ada.create_tag(**DATA, tag="v1")
    assert status_of(error) == 409
    ada.create_tag(**DATA, tag="v1", exist_ok=True)
    assert ada.dataset_info("ada/data", revision="v1").sha == first
    ada.create_tag(**DATA, tag="by-commit", revision=first)
    assert {ref.name: ref.target_commit for ref in ada.list_repo_refs(**DATA).tags} == {"v1": first, "by-commit": first}
    ada.delete_tag(**DATA, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        ada.delete_tag(**DATA, tag="v1")


def test_a_revision_is_a_branch_a_tag_a_ref_or_a_commit(ada: HfApi):
    ada.create_repo(**DATA)
    oid = put(ada, {"a.txt": b"1"})
    ada.create_tag(**DATA, tag="v1")
    for revision in ("main", "v1", "refs/heads/main", oid, oid[:8]):
        assert ada.dataset_info("ada/data", revision=revision).sha == oid
    for revision in ("nope", oid[:6], "0" * 40, "%"):
        with pytest.raises(RevisionNotFoundError):
            ada.dataset_info("ada/data", revision=revision)


def test_commits_are_listed_newest_first(ada: HfApi):
    ada.create_repo(**DATA)
    oids = [put(ada, {"a.txt": str(number).encode()}, f"commit {number}") for number in range(3)]
    commits = ada.list_repo_commits(**DATA)
    assert [commit.title for commit in commits] == ["commit 2", "commit 1", "commit 0", "initial commit"]
    assert [commit.commit_id for commit in commits[:3]] == oids[::-1]
    assert commits[0].authors == ["ada"]


def test_a_deleted_file_stays_in_history(ada: HfApi):
    ada.create_repo(**DATA)
    before = put(ada, {"a.txt": b"1"})
    ada.create_commit(**DATA, operations=[CommitOperationDelete("a.txt")], commit_message="rm")
    assert ada.list_repo_files(**DATA) == [".gitattributes"]
    assert ada.list_repo_files(**DATA, revision=before) == [".gitattributes", "a.txt"]
