"""`require_write`: what the embedded Hub says of a token, against where a script wants to write."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, constants

from blocks.shared import Stopped, block
from jobshelf.hub import Account, Hub, Scope, serve
from support import READ_TOKEN, TOKEN

require_write = block("require_write").require_write
FINE, NARROW, OTHER, BLIND = (f"hf_{name}" + "x7Qz" * 7 for name in ("fine", "narrow", "other", "blind"))
PROGRAM = """
import sys
from blocks.shared import block
block("require_write").require_write(sys.argv[1])
"""

pytestmark = pytest.mark.usefixtures("own_client")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """The Hub with every sort of token; alice reads in `museum`, and bob owns `bob/theirs`."""
    alice = {"name": "alice", "orgs": ("acme", "museum"), "org_roles": {"museum": "read"}}
    fine = {"role": "fineGrained", **alice}
    accounts = (
        Account(token=TOKEN, **alice),
        Account(token=READ_TOKEN, role="read", **alice),
        Account(token=FINE, scopes=(Scope(entity="user/alice", permissions=("repo.write",)),), **fine),
        Account(token=NARROW, scopes=(Scope(entity="dataset/alice/rows", permissions=("repo.write",)),), **fine),
        Account(token=OTHER, scopes=(Scope(entity="user/alice", permissions=("repo.content.read",)),), **fine),
        Account(token=BLIND, **fine),
        Account(name="bob", token="hf_bob"),
    )
    with serve(tmp_path / "hub", accounts=accounts) as running:
        HfApi(endpoint=running.endpoint, token=TOKEN).create_repo("alice/rows", repo_type="dataset")
        HfApi(endpoint=running.endpoint, token=TOKEN).create_repo("alice/model")
        HfApi(endpoint=running.endpoint, token=TOKEN).create_repo("acme/rows", repo_type="dataset", private=True)
        HfApi(endpoint=running.endpoint, token="hf_bob").create_repo("bob/theirs", repo_type="dataset")
        running.clear_journal()
        yield running


@pytest.mark.parametrize(
    ("token", "target"),
    [
        (TOKEN, "alice/rows"),
        (TOKEN, "alice/missing"),
        (TOKEN, "acme/rows"),
        (TOKEN, "acme/missing"),
        (TOKEN, "hf://buckets/alice/results"),
        (TOKEN, "hf://buckets/acme/results/deep/folder"),
        (FINE, "alice/rows"),
        (FINE, "alice/missing"),
        (FINE, "hf://buckets/alice/results/run"),
        (NARROW, "alice/rows"),
        (f" {TOKEN}\n", "alice/rows"),
    ],
)
def test_allowed(token: str, target: str, here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    require_write(target)
    assert {request.method for request in here.journal()} == {"GET"}


def test_a_model(here: Hub) -> None:
    require_write("alice/model", "model")
    require_write("alice/rows", "model")  # a dataset has that name, and a model would be created


@pytest.mark.parametrize(
    ("token", "target"),
    [
        (READ_TOKEN, "alice/rows"),
        (READ_TOKEN, "alice/missing"),
        (READ_TOKEN, "hf://buckets/alice/results"),
        (TOKEN, "bob/theirs"),
        (TOKEN, "bob/missing"),
        (TOKEN, "hf://buckets/bob/results"),
        (TOKEN, "museum/rows"),
        (FINE, "acme/rows"),
        (NARROW, "alice/other"),
        (NARROW, "hf://buckets/alice/rows2"),
        (OTHER, "alice/rows"),
        (BLIND, "alice/rows"),
    ],
)
def test_may_not(token: str, target: str, here: Hub, stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    said = stopped(lambda: require_write(target), 3)
    assert f"the token may not write to {target}" in said
    assert "https://huggingface.co/settings/tokens" in said


@pytest.mark.parametrize("token", ["hf_wrong", f"{TOKEN}é", f"{TOKEN} {TOKEN}", "数据", "$HF_TOKEN", "hf_\x7f"])
def test_not_accepted(
    token: str, here: Hub, stopped: Stopped, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    said = stopped(lambda: require_write("alice/rows"), 3)
    assert "the Hub does not accept the token to write to alice/rows" in said
    assert token not in said
    assert pauses == []


@pytest.mark.parametrize("token", ["", "  ", "\n", None])
def test_no_token(token: str | None, here: Hub, stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    for target in ("alice/rows", "hf://buckets/alice/results/run"):
        said = stopped(lambda target=target: require_write(target), 3)
        assert f"no Hub token, needed to write to {target}" in said
        assert "--secrets HF_TOKEN" in said
    assert here.journal() == ()


@pytest.mark.parametrize(
    "target", ["s3://bucket/x", "gs://bucket/x", "./out", "~/x", "/tmp/a/b", "out", "a/b/c", "../x/y"]
)
def test_other_places_need_no_token(target: str, here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    require_write(target)
    assert here.journal() == ()


def test_an_answer_without_the_rights_of_the_token(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a token of OAuth: then the Hub decides when it is asked to write."""
    monkeypatch.setattr(HfApi, "whoami", lambda self: {"name": "alice", "orgs": []})
    require_write("alice/rows")


def test_a_hub_out_of_order_is_no_matter_of_the_token(here: Hub, pauses: list[float]) -> None:
    here.fail(path="/whoami", status=503, times=99)
    with pytest.raises(ConnectionError, match="503"):
        require_write("alice/rows")
    here.clear_faults()
    here.fail(path="/whoami", kind="reset", times=2)
    require_write("alice/rows")


def test_nobody_listens(here: Hub, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match="no success within two minutes"):
        require_write("alice/rows")


def test_a_silent_hub(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(ConnectionError, match="timed out"):
            require_write("alice/rows")
        with pytest.raises(httpx2.ReadTimeout):
            HfApi().dataset_info("alice/rows")  # asks for no timeout
    assert time.monotonic() - begun < 30


def test_the_hooks_of_the_client_stay(here: Hub, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    require_write("./out")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="offline mode is enabled"):
        require_write("alice/rows")
    assert pauses == []


@pytest.mark.parametrize(("value", "code"), [("soon", 0), ("", 0), ("-1", 0), ("0", 0), ("5", 0)])
def test_the_timeout_of_the_environment(value: str, code: int, hub: Hub, hub_environment: dict[str, str]) -> None:
    environment = hub_environment | {"HF_HUB_DOWNLOAD_TIMEOUT": value, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", PROGRAM, "alice/rows"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
