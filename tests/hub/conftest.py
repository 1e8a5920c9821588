"""Fixtures for the contract tests: a Hub with four callers, raw requests, and clients in processes of their own."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from hub.contract import ACCOUNTS, ADA, BOB, READER, Answer, Ask, Python
from jobshelf.hub import Hub, serve


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the shared Hub's root `hub` lies, and nothing else."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shared_hub(shared_folder: Path) -> Iterator[Hub]:
    """One Hub for all tests of a module: for those that leave it as they found it."""
    with serve(shared_folder / "hub", accounts=ACCOUNTS) as running:
        yield running


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub with `ada` (may write to `ada` and `acme`), her read-only token, and the stranger `bob`."""
    with serve(tmp_path / "hub", accounts=ACCOUNTS) as running:
        yield running


@pytest.fixture
def ada(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=ADA.token)


@pytest.fixture
def reader(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=READER.token)


@pytest.fixture
def bob(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=BOB.token)


@pytest.fixture
def anonymous(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)


@pytest.fixture
def ask(hub: Hub) -> Ask:
    """`ask("GET", "/api/whoami-v2", token=ADA.token)`: one request exactly as written, no redirect followed."""

    def request(
        method: str, path: str, *, token: str | None = None, body: bytes | dict | None = None, **headers: str
    ) -> Answer:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=30)
        connection.request(method, path, body=content, headers=headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(status=response.status, headers=found, body=response.read())
        connection.close()
        return answer

    return request


@pytest.fixture
def instrument(ask: Ask, hub: Hub) -> Ask:
    """`instrument("GET", "/_hub/journal")`: what another process that knows the secret asks."""

    def request(method: str, path: str, *, body: bytes | dict | None = None) -> Answer:
        return ask(method, path, token=hub.instruments_secret, body=body, **{"Content-Type": "application/json"})

    return request


@pytest.fixture
def login(environment: dict[str, str], hub: Hub) -> dict[str, str]:
    """The environment of a user with an empty home who is logged in as `ada`."""
    return environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": ADA.token}


@pytest.fixture
def python(login: dict[str, str], tmp_path: Path) -> Python:
    """Run Python code in a fresh process as `ada` (or in the environment given) and return what it prints."""

    def run(code: str, *arguments: str, env: dict[str, str] | None = None) -> str:
        argv = [sys.executable, "-c", textwrap.dedent(code), *arguments]
        done = subprocess.run(
            argv, env=env or login, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
