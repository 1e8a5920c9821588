"""Lists across repos, and moving one."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from hub.contract import ADA, BOB, Ask
from jobshelf.hub import Hub

CARD = b"---\ntags: [uv-script, %s]\n---\n# A card\n"


@pytest.fixture(scope="module")
def hub(shared_hub: Hub) -> Hub:
    return shared_hub


@pytest.fixture(scope="module", autouse=True)
def repos(hub: Hub) -> None:
    """Three datasets of Ada's (one private, one with a card), one of Bob's, a model."""
    ada, bob = (HfApi(endpoint=hub.endpoint, token=account.token) for account in (ADA, BOB))
    for name in ("first", "second", "hidden"):
        ada.create_repo(f"ada/{name}", repo_type="dataset", private=name == "hidden")
    ada.upload_file(path_or_fileobj=CARD % b"ocr", path_in_repo="README.md", repo_id="ada/first", repo_type="dataset")
    bob.create_repo("bob/second", repo_type="dataset")
    ada.create_repo("acme/model")


def names(found) -> list[str]:
    return [item.id for item in found]


def test_everybody_sees_the_public_ones_newest_first(ada: HfApi, bob: HfApi, anonymous: HfApi):
    public = ["bob/second", "ada/second", "ada/first"]
    assert names(anonymous.list_datasets()) == names(bob.list_datasets()) == public
    assert names(ada.list_datasets()) == ["bob/second", "ada/hidden", "ada/second", "ada/first"]
    assert names(anonymous.list_models()) == ["acme/model"]
    assert names(anonymous.list_spaces()) == []


def test_search_filter_sort_and_limit(anonymous: HfApi):
    assert names(anonymous.list_datasets(author="ada")) == ["ada/second", "ada/first"]
    assert names(anonymous.list_datasets(search="Second")) == ["bob/second", "ada/second"]
    assert names(anonymous.list_datasets(filter=["uv-script", "ocr"])) == ["ada/first"]
    assert names(anonymous.list_datasets(filter="none")) == []
    assert names(anonymous.list_datasets(sort="last_modified"))[0] in {"bob/second", "ada/first"}
    assert names(anonymous.list_datasets(limit=2)) == ["bob/second", "ada/second"]
    assert names(anonymous.list_datasets(gated=True)) == []
    (found,) = anonymous.list_datasets(filter="ocr", full=True)
    assert (found.card_data["tags"], found.sha is not None) == (["uv-script", "ocr"], True)


def test_pages(hub: Hub, ask: Ask):
    first = ask("GET", "/api/datasets?limit=2")
    assert [item["id"] for item in first.json] == ["bob/second", "ada/second"]
    following = first.headers["link"].partition("<")[2].partition(">")[0].removeprefix(hub.endpoint)
    assert [item["id"] for item in ask("GET", following).json] == ["ada/first"]


def test_what_somebody_owns(ada: HfApi, bob: HfApi):
    ada.create_bucket("ada/bucket")
    mine = {(item.type, item.id): item for item in ada.list_user_repos()}
    assert set(mine) == {
        ("dataset", "ada/first"),
        ("dataset", "ada/second"),
        ("dataset", "ada/hidden"),
        ("bucket", "ada/bucket"),
    }
    assert mine[("dataset", "ada/hidden")].visibility == "private"
    assert sum(item.storage_percent for item in mine.values()) == pytest.approx(100)
    assert names(ada.list_user_repos(namespace="acme")) == ["acme/model"]
    with pytest.raises(HfHubHTTPError, match="403"):
        list(bob.list_user_repos(namespace="acme"))


def test_overviews(anonymous: HfApi):
    assert anonymous.get_user_overview("ada").num_datasets == 3
    assert anonymous.get_organization_overview("acme").num_models == 1
    for call in (anonymous.get_user_overview, anonymous.get_organization_overview):
        with pytest.raises(HfHubHTTPError, match="404"):
            call("nobody")


def test_move(ada: HfApi, bob: HfApi):
    sha = ada.dataset_info("ada/first").sha
    ada.move_repo("ada/first", "acme/renamed", repo_type="dataset")
    assert ada.dataset_info("acme/renamed").sha == sha
    assert not ada.repo_exists("ada/first", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="409"):
        ada.move_repo("acme/renamed", "ada/second", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="403"):
        ada.move_repo("acme/renamed", "bob/renamed", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.move_repo("ada/second", "bob/taken", repo_type="dataset")
    ada.move_repo("acme/renamed", "ada/first", repo_type="dataset")
