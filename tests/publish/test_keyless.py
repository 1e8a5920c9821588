"""Publishing from CI without a token of anybody: the identity of the workflow is exchanged for one that lasts an hour."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from jobshelf.publish import verify

REPO = "jobshelf/scripts"


def id_token(hub, **claims):
    told = {"aud": hub.endpoint, "exp": time.time() + 60, "repository": "jobshelf/jobshelf", **claims}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, told, ""))


@pytest.fixture
def shelf(make_shelf, client, hub):
    """A shelf whose workflow the Hub trusts for its dataset and its Space, which are there."""
    client.create_repo(REPO, repo_type="dataset")
    client.create_repo("jobshelf/shelf", repo_type="space", space_sdk="static")
    for resource in (f"datasets/{REPO}", "spaces/jobshelf/shelf"):
        hub.trust_publisher(resource, repository="jobshelf/jobshelf")
    return make_shelf({"a": "1"}, version="1.0.0")


@pytest.fixture
def keyless(environment, hub):
    return environment | {"HF_ENDPOINT": hub.endpoint, "HF_OIDC_RESOURCE": f"datasets/{REPO}"}


def test_a_release_and_the_page(shelf, hub, client, keyless, jobshelf):
    env = keyless | {"HF_OIDC_ID_TOKEN": id_token(hub)}
    done = jobshelf("publish", "--release", "--space", env=env, cwd=shelf.root)
    assert done.returncode == 0, done.stderr
    assert "tagged v1.0.0" in done.stdout and "/spaces/jobshelf/shelf" in done.stdout
    assert not verify(client, REPO).findings
    assert "hf_jwt_" not in done.stdout + done.stderr + repr(hub.journal())


def test_in_github_actions_the_identity_is_asked_for(shelf, hub, client, keyless, jobshelf):
    asked = []

    class Provider(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            body = json.dumps({"value": id_token(hub)}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Provider) as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        env = keyless | {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{provider.server_port}/token?v=1",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner",
        }
        done = jobshelf("publish", env=env, cwd=shelf.root)
        provider.shutdown()
    assert done.returncode == 0, done.stderr
    assert [authorization for _, authorization in asked] == ["Bearer runner"]
    assert not verify(client, REPO).findings


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"repository": "evil/fork"}, "gives this workflow no right to datasets/jobshelf/scripts"),
        ({"exp": 1}, "The id token has expired"),
    ],
)
def test_a_workflow_that_nobody_trusts(shelf, hub, client, keyless, jobshelf, claims, said):
    before = client.repo_info(REPO, repo_type="dataset").sha
    done = jobshelf("publish", env=keyless | {"HF_OIDC_ID_TOKEN": id_token(hub, **claims)}, cwd=shelf.root)
    assert done.returncode == 3 and said in done.stderr and "trusted-publishers" in done.stderr
    assert client.repo_info(REPO, repo_type="dataset").sha == before


def test_without_an_identity(shelf, keyless, jobshelf):
    done = jobshelf("publish", env=keyless, cwd=shelf.root)
    assert done.returncode == 3 and "permissions: id-token: write" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_repository_than_the_one_that_is_trusted(shelf, hub, client, keyless, jobshelf):
    client.create_repo("jobshelf/other", repo_type="dataset")
    env = keyless | {"HF_OIDC_ID_TOKEN": id_token(hub)}
    done = jobshelf("publish", "--repo", "jobshelf/other", env=env, cwd=shelf.root)
    assert done.returncode == 3 and "no right to" in done.stderr


def test_a_repository_that_does_not_exist_yet(shelf, hub, client, keyless, jobshelf):
    client.delete_repo(REPO, repo_type="dataset")
    done = jobshelf("publish", env=keyless | {"HF_OIDC_ID_TOKEN": id_token(hub)}, cwd=shelf.root)
    assert done.returncode == 4 and "a keyless token cannot create it. Fix: hf repos create" in done.stderr
