"""Gated repos, fine-grained tokens, organisations with roles, rate limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from hub.contract import ACCOUNTS, ADA, BOB, FINE
from jobshelf.hub import Account, Hub, serve

ROLES = ("read", "contributor", "write", "admin")
MEMBERS = tuple(
    Account(name=role, token=f"token-of-{role}", orgs=("team",), org_roles={"team": role})  # type: ignore[dict-item]
    for role in ROLES
)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub with an organisation `team` that has one member of each role."""
    with serve(tmp_path / "hub", accounts=(*ACCOUNTS, *MEMBERS)) as running:
        yield running


def member(hub: Hub, role: str) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=f"token-of-{role}")


def put(api: HfApi, repo: str, content: bytes = b"1") -> str:
    return api.upload_file(path_or_fileobj=content, path_in_repo="a.txt", repo_id=repo, repo_type="dataset").oid


def fetch(api: HfApi, repo: str, folder: Path) -> bytes:
    fresh = folder / str(len(list(folder.iterdir())))
    return Path(api.hf_hub_download(repo, "a.txt", repo_type="dataset", local_dir=fresh)).read_bytes()


@pytest.fixture
def gated(ada: HfApi) -> str:
    ada.create_repo("ada/gated", repo_type="dataset")
    put(ada, "ada/gated")
    ada.update_repo_settings("ada/gated", repo_type="dataset", gated="manual")
    return "ada/gated"


def test_a_gated_repo_shows_itself_and_not_its_files(
    ada: HfApi, bob: HfApi, anonymous: HfApi, gated: str, tmp_path: Path
):
    for api, status in ((bob, 403), (anonymous, 401)):
        assert api.dataset_info(gated).gated == "manual"
        assert "a.txt" in api.list_repo_files(gated, repo_type="dataset")
        with pytest.raises(GatedRepoError) as error:
            fetch(api, gated, tmp_path)
        assert error.value.response.status_code == status
        with pytest.raises(GatedRepoError):
            api.auth_check(gated, repo_type="dataset")
    assert fetch(ada, gated, tmp_path) == b"1"
    ada.auth_check(gated, repo_type="dataset")


def test_access_is_asked_for_and_given(ada: HfApi, bob: HfApi, hub: Hub, gated: str, tmp_path: Path, ask):
    asked = ask("POST", f"/datasets/{gated}/ask-access", token="token-of-bob")
    assert (asked.status, asked.json["status"]) == (200, "pending")
    (request,) = ada.list_pending_access_requests(gated, repo_type="dataset")
    assert (request.username, request.status) == ("bob", "pending")
    ada.accept_access_request(gated, "bob", repo_type="dataset")
    assert fetch(bob, gated, tmp_path) == b"1"
    ada.reject_access_request(gated, request_id=request.request_id, repo_type="dataset", rejection_reason="no")
    with pytest.raises(GatedRepoError):
        fetch(bob, gated, tmp_path)
    assert [each.username for each in ada.list_rejected_access_requests(gated, repo_type="dataset")] == ["bob"]
    ada.grant_access(gated, "bob", repo_type="dataset")
    assert [each.username for each in ada.list_accepted_access_requests(gated, repo_type="dataset")] == ["bob"]
    assert fetch(bob, gated, tmp_path) == b"1"


def test_errors_of_access_requests(ada: HfApi, bob: HfApi, gated: str):
    with pytest.raises(HfHubHTTPError, match="404"):
        ada.accept_access_request(gated, "bob", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="404"):
        ada.grant_access(gated, "nobody", repo_type="dataset")
    ada.grant_access(gated, "bob", repo_type="dataset")
    with pytest.raises(BadRequestError, match="bob already has access"):
        ada.grant_access(gated, "bob", repo_type="dataset")
    with pytest.raises(BadRequestError, match="is already accepted"):
        ada.accept_access_request(gated, "bob", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="403"):
        list(bob.list_pending_access_requests(gated, repo_type="dataset"))
    ada.create_repo("ada/open", repo_type="dataset")
    with pytest.raises(BadRequestError, match="ada/open is not gated"):
        ada.grant_access("ada/open", "bob", repo_type="dataset")


def test_an_automatic_gate_opens_on_asking(ada: HfApi, bob: HfApi, gated: str, tmp_path: Path, ask):
    ada.update_repo_settings(gated, repo_type="dataset", gated="auto")
    assert ask("POST", f"/datasets/{gated}/ask-access", token="token-of-bob").json["status"] == "accepted"
    assert fetch(bob, gated, tmp_path) == b"1"
    ada.update_repo_settings(gated, repo_type="dataset", gated=False)
    assert ada.dataset_info(gated).gated is False


def test_whoami_shows_what_a_fine_grained_token_may_do(hub: Hub):
    mine = HfApi(endpoint=hub.endpoint, token=FINE.token).whoami()
    access = mine["auth"]["accessToken"]
    assert (mine["name"], access["role"]) == ("ada", "fineGrained")
    (scope,) = access["fineGrained"]["scoped"]
    assert (scope["entity"]["type"], scope["entity"]["name"]) == ("dataset", "ada/one")
    assert scope["permissions"] == ["repo.content.read", "repo.write"]


def test_a_fine_grained_token_reaches_as_far_as_its_scopes(ada: HfApi, hub: Hub, tmp_path: Path):
    fine = HfApi(endpoint=hub.endpoint, token=FINE.token)
    for name in ("one", "two"):
        ada.create_repo(f"ada/{name}", repo_type="dataset", private=True)
        put(ada, f"ada/{name}")
    put(fine, "ada/one", b"2")
    assert fetch(fine, "ada/one", tmp_path) == b"2"
    with pytest.raises(RepositoryNotFoundError):
        fine.dataset_info("ada/two")
    ada.update_repo_settings("ada/two", repo_type="dataset", private=False)
    with pytest.raises(HfHubHTTPError, match=r"lacks 'repo\.write' on dataset/ada/two"):
        put(fine, "ada/two", b"2")
    with pytest.raises(HfHubHTTPError, match=r"lacks 'repo\.write' on ada"):
        fine.create_repo("ada/three", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match=r"lacks 'job\.write' on ada"):
        fine.run_job(image="x", command=["true"], namespace="ada")


def test_roles_in_an_organisation(hub: Hub, ask):
    admin, writer, contributor, reader = (member(hub, role) for role in reversed(ROLES))
    orgs = reader.whoami()["orgs"]
    assert [(org["name"], org["roleInOrg"]) for org in orgs] == [("team", "read")]
    writer.create_repo("team/data", repo_type="dataset", private=True)
    contributor.create_repo("team/mine", repo_type="dataset", private=True)
    for api in (admin, writer, contributor, reader):
        assert api.dataset_info("team/data").id == "team/data"
    for api, content in ((admin, b"1"), (writer, b"2")):
        put(api, "team/data", content)
        put(api, "team/mine", content)
    put(contributor, "team/mine", b"3")
    for api, role in ((contributor, "contributor"), (reader, "read")):
        with pytest.raises(HfHubHTTPError, match=f"Your role '{role}' in the organisation 'team'"):
            put(api, "team/data", b"4")
    with pytest.raises(HfHubHTTPError, match="Your role 'read'"):
        reader.create_repo("team/new", repo_type="dataset")
    assert sorted(user.username for user in reader.list_organization_members("team")) == sorted(ROLES)
    assert reader.get_organization_overview("team").num_users == 4


def test_too_many_commits_to_a_repo(ada: HfApi, hub: Hub):
    for name in ("a", "b"):
        ada.create_repo(f"ada/{name}", repo_type="dataset")
    hub.limit_commits(2)
    put(ada, "ada/a", b"1")
    head = put(ada, "ada/a", b"2")
    with pytest.raises(HfHubHTTPError, match="Too many commits: the limit is 2 in 3600 seconds") as error:
        put(ada, "ada/a", b"3")
    response = error.value.response
    assert (response.status_code, response.headers["Retry-After"]) == (429, "3600")
    assert ada.dataset_info("ada/a").sha == head
    put(ada, "ada/b", b"1")
    hub.limit_commits(None)
    put(ada, "ada/a", b"3")


def test_the_client_waits_until_the_limit_allows(ada: HfApi, hub: Hub):
    ada.create_repo("ada/a", repo_type="dataset")
    hub.limit_requests(3, seconds=1)
    start = time.monotonic()
    for _ in range(4):
        ada.list_repo_files("ada/a", repo_type="dataset")
    assert time.monotonic() - start > 1
    assert [entry.status for entry in hub.journal() if "/tree/" in entry.path].count(429) >= 1


def test_a_limit_counts_each_user_by_themselves(hub: Hub, ask):
    hub.limit_requests(1)
    for token in (ADA.token, BOB.token, None):
        answers = [ask("GET", "/api/agent-harnesses", token=token) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].headers["ratelimit"] == '"requests";r=0;t=300'
