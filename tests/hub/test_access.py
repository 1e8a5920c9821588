"""Who may do what, as the client tells its user: anonymous, a stranger, a read-only token, a bad one."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

from hub.contract import ADA, BOB, READER, Ask
from jobshelf.hub import Account, Hub

PUBLIC, PRIVATE, MISSING = "ada/public", "ada/private", "ada/missing"
BAD = "not-a-token"


@pytest.fixture(scope="module")
def hub(shared_hub: Hub) -> Hub:
    return shared_hub


@pytest.fixture(scope="module", autouse=True)
def repos(hub: Hub) -> None:
    """A public and a private dataset of Ada's, each with `a.txt`, and a private bucket."""
    ada = HfApi(endpoint=hub.endpoint, token=ADA.token)
    for name, private in ((PUBLIC, False), (PRIVATE, True)):
        ada.create_repo(name, repo_type="dataset", private=private)
        upload(ada, name)
    ada.create_bucket("ada/bucket", private=True)


def upload(api: HfApi, name: str, content: bytes = b"1") -> None:
    api.upload_file(path_or_fileobj=content, path_in_repo="a.txt", repo_id=name, repo_type="dataset")


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_whoami(ada: HfApi, reader: HfApi):
    mine = ada.whoami()
    assert (mine["name"], [org["name"] for org in mine["orgs"]]) == ("ada", ["acme"])
    assert mine["auth"]["accessToken"]["role"] == "write"
    assert reader.whoami()["auth"]["accessToken"]["role"] == "read"


def test_whoami_needs_a_token(anonymous: HfApi, ask: Ask):
    with pytest.raises(LocalTokenNotFoundError):
        anonymous.whoami(token=True)
    assert ask("GET", "/api/whoami-v2").status == 401


@pytest.mark.parametrize("name", [PRIVATE, MISSING])
@pytest.mark.parametrize(("who", "status"), [("anonymous", 401), ("bob", 404)])
def test_private_and_missing_look_the_same(request: pytest.FixtureRequest, name: str, who: str, status: int):
    api: HfApi = request.getfixturevalue(who)
    for call in (api.repo_info, api.list_repo_files, api.list_repo_refs):
        with pytest.raises(RepositoryNotFoundError) as error:
            call(name, repo_type="dataset")
        assert status_of(error) == status
    with pytest.raises(RepositoryNotFoundError):
        api.hf_hub_download(name, "a.txt", repo_type="dataset", local_dir="unused")


def test_everybody_reads_public_and_members_read_private(ada: HfApi, reader: HfApi, bob: HfApi, anonymous: HfApi):
    for api in (ada, reader, bob, anonymous):
        assert "a.txt" in api.list_repo_files(PUBLIC, repo_type="dataset")
    for api in (ada, reader):
        assert "a.txt" in api.list_repo_files(PRIVATE, repo_type="dataset")


@pytest.mark.parametrize(
    "path", ["/api/datasets/ada/public", "/datasets/ada/public/resolve/main/a.txt", "/api/whoami-v2"]
)
def test_a_bad_token_is_refused_even_where_none_is_needed(ask: Ask, path: str):
    answer = ask("GET", path, token=BAD)
    assert (answer.status, answer.headers["x-error-message"]) == (401, "Invalid credentials in Authorization header")
    assert BAD not in answer.body.decode()
    assert ask("GET", path, Authorization=f"Basic {ADA.token}").status == 401


def test_a_bad_token_is_not_taken_for_a_missing_repo(hub: Hub):
    with pytest.raises(HfHubHTTPError, match="Invalid credentials") as error:
        HfApi(endpoint=hub.endpoint, token=BAD).dataset_info(PUBLIC)
    assert not isinstance(error.value, RepositoryNotFoundError)
    assert status_of(error) == 401


def test_a_stranger_is_refused_before_any_data_is_sent(bob: HfApi, hub: Hub):
    hub.clear_journal()
    with pytest.raises(HfHubHTTPError, match="403 Forbidden: You don't have the rights to write to a repo"):
        upload(bob, PUBLIC, b"2")
    assert [entry.path for entry in hub.journal() if entry.method == "POST"] == [
        "/api/datasets/ada/public/preupload/main"
    ]


def test_a_read_only_token_is_told_so(reader: HfApi):
    with pytest.raises(HfHubHTTPError, match="403 Forbidden: This token is read-only") as error:
        upload(reader, PUBLIC, b"2")
    assert status_of(error) == 403
    with pytest.raises(HfHubHTTPError, match="read-only"):
        reader.create_repo("ada/new", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="read-only"):
        reader.run_job(image="python:3.12", command=["true"], namespace="ada")


def test_an_anonymous_caller_changes_nothing(anonymous: HfApi):
    with pytest.raises(RepositoryNotFoundError):
        upload(anonymous, PUBLIC, b"2")
    with pytest.raises(HfHubHTTPError) as error:
        anonymous.create_repo("ada/new", repo_type="dataset")
    assert status_of(error) == 401


def test_namespaces(ada: HfApi, bob: HfApi):
    assert ada.create_repo("acme/ours", repo_type="dataset", private=True).repo_id == "acme/ours"
    with pytest.raises(HfHubHTTPError, match='under the namespace "acme"') as error:
        bob.create_repo("acme/theirs", repo_type="dataset")
    assert status_of(error) == 403


def test_auth_check(ada: HfApi, bob: HfApi, reader: HfApi):
    ada.auth_check(PRIVATE, repo_type="dataset", write=True)
    reader.auth_check(PRIVATE, repo_type="dataset")
    bob.auth_check(PUBLIC, repo_type="dataset")
    for api in (reader, bob):
        with pytest.raises(HfHubHTTPError) as error:
            api.auth_check(PUBLIC, repo_type="dataset", write=True)
        assert status_of(error) == 403
    with pytest.raises(RepositoryNotFoundError):
        bob.auth_check(PRIVATE, repo_type="dataset")


def test_visibility_can_change(ada: HfApi, anonymous: HfApi):
    ada.update_repo_settings(PRIVATE, repo_type="dataset", private=False)
    assert "a.txt" in anonymous.list_repo_files(PRIVATE, repo_type="dataset")
    ada.update_repo_settings(PRIVATE, repo_type="dataset", private=True)
    assert not anonymous.repo_exists(PRIVATE, repo_type="dataset")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/datasets/ada/public/settings"),
        ("POST", "/api/datasets/ada/public/commit/main"),
        ("POST", "/api/datasets/ada/public/branch/b"),
        ("DELETE", "/api/datasets/ada/public/branch/b"),
        ("POST", "/api/datasets/ada/public/tag/main"),
        ("DELETE", "/api/datasets/ada/public/tag/v1"),
        ("GET", "/api/datasets/ada/public/xet-write-token/main"),
        ("POST", "/api/jobs/ada"),
        ("POST", "/api/buckets/ada/other"),
    ],
)
def test_every_way_to_write_asks_for_the_right(ask: Ask, method: str, path: str):
    statuses = [ask(method, path, token=token, body={}).status for token in (None, BOB.token, READER.token)]
    assert statuses == [401, 403, 403]


def test_a_private_bucket_and_the_jobs_of_others_are_hidden(ask: Ask):
    for path in ("/api/buckets/ada/bucket", "/api/buckets/ada/bucket/tree", "/api/jobs/ada"):
        assert [ask("GET", path, token=token).status for token in (None, BOB.token, READER.token)] == [401, 404, 200]


def test_a_token_is_not_shown():
    assert "secret" not in repr(Account(name="ada", token="secret"))
