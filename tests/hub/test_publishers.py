"""Keyless publishing: the real client in a CI job without a token."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub._oidc import exchange_oidc_token
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from hub.contract import Ask
from jobshelf.hub import Hub
from support import BIN

RESOURCE = "datasets/acme/scripts"


def id_token(hub: Hub, **claims: object) -> str:
    """What a CI provider would give to a workflow; the Hub does not check the signature."""
    told = {"aud": hub.endpoint, "exp": time.time() + 60, "repository": "acme/scripts", "ref": "refs/tags/v1", **claims}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, told, ""))


@pytest.fixture(autouse=True)
def trusted(hub: Hub, ada: HfApi) -> None:
    """The datasets `acme/scripts`, which trusts a workflow, and `acme/other`, both private."""
    for name in ("scripts", "other"):
        ada.create_repo(f"acme/{name}", repo_type="dataset", private=True)
    hub.trust_publisher(RESOURCE, repository="acme/scripts")


def exchanged(hub: Hub, **claims: object) -> HfApi:
    answer = exchange_oidc_token(subject_token=id_token(hub, **claims), resource=RESOURCE, endpoint=hub.endpoint)
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 3600)
    return HfApi(endpoint=hub.endpoint, token=answer["access_token"])


def test_hf_upload_without_a_token(hub: Hub, ada: HfApi, environment: dict[str, str], tmp_path: Path):
    (tmp_path / "x.py").write_text("print('published')\n")
    env = environment | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_OIDC_RESOURCE": RESOURCE,
        "HF_OIDC_ID_TOKEN": id_token(hub),
    }
    argv = [BIN / "hf", "upload", "acme/scripts", str(tmp_path / "x.py"), "x.py", "--repo-type", "dataset"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "x.py" in ada.list_repo_files("acme/scripts", repo_type="dataset")
    assert ada.list_repo_commits("acme/scripts", repo_type="dataset")[0].authors == ["acme"]


def test_the_token_is_for_one_repo(hub: Hub):
    api = exchanged(hub)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="acme/scripts", repo_type="dataset")
    assert not api.repo_exists("acme/other", repo_type="dataset")
    for call in (
        lambda: api.create_repo("acme/new", repo_type="dataset"),
        lambda: api.run_job(image="x", command=["true"], namespace="acme"),
    ):
        with pytest.raises(HfHubHTTPError, match="403"):
            call()
    assert api.token not in repr(hub.journal())


@pytest.mark.parametrize(
    ("claims", "status", "message"),
    [
        ({"repository": "evil/fork"}, 403, "No trusted publisher of 'datasets/acme/scripts'"),
        ({"aud": "https://elsewhere.test"}, 401, "The id token is not for this Hub"),
        ({"aud": None}, 401, "The id token is not for this Hub"),
        ({"exp": 1}, 401, "The id token has expired"),
        ({"exp": None}, 401, "The id token has expired"),
    ],
)
def test_who_is_not_trusted(hub: Hub, claims: dict, status: int, message: str):
    with pytest.raises(HfHubHTTPError, match=message) as error:
        exchanged(hub, **claims)
    assert error.value.response.status_code == status


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.!.c", "a.W10.c", "ä.ö.ü"])
def test_what_is_no_id_token(hub: Hub, token: str):
    with pytest.raises(BadRequestError, match="is not a JSON web token"):
        exchange_oidc_token(subject_token=token, resource=RESOURCE, endpoint=hub.endpoint)


def test_other_grants_are_not_implemented(ask: Ask):
    body = {"grant_type": "password", "subject_token_type": "x", "subject_token": "y", "resource": "z"}
    assert ask("POST", "/oauth/token", body=body).status == 501
