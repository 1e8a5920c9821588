"""Block `token`: every refusal has its own message and fix, and none shows a part of a token."""

from __future__ import annotations

from typing import Any

import pytest

from jobshelf import blocks

token, exits = blocks.load("token"), blocks.load("exits")
SECRET = "hf_canary" + "x7Qz" * 7


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = str(tmp_path_factory.mktemp("home") / "token")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", empty)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "JOB_ID", "CI", *token.TOKEN_MISTAKEN_NAMES):
        monkeypatch.delenv(name, raising=False)


def account(role: str = "write", **more: Any) -> dict[str, Any]:
    orgs = [{"name": "acme", "roleInOrg": "write"}, {"name": "museum", "roleInOrg": "read"}]
    return {"name": "alice", "orgs": orgs, "auth": {"accessToken": {"role": role, **more}}}


def scoped(name: str, *permissions: str) -> dict[str, Any]:
    return {"scoped": [{"entity": {"name": name}, "permissions": list(permissions)}]}


@pytest.mark.parametrize(
    ("who", "target", "said"),
    [
        (account(), "alice/x", None),
        (account(), "acme/x", None),
        (account(role="read"), "alice/x", "can only read"),
        (account(), "other/x", "no member"),
        (account(), "museum/x", "can only read in museum"),
        (account(role="fineGrained", fineGrained=scoped("alice", "repo.write")), "alice/x", None),
        (account(role="fineGrained", fineGrained=scoped("alice/x", "repo.write")), "alice/x", None),
        (account(role="fineGrained", fineGrained=scoped("alice", "repo.content.read")), "alice/x", "does not cover"),
        (account(role="fineGrained", fineGrained=scoped("acme", "repo.write")), "alice/x", "does not cover"),
        (account(role="fineGrained"), "alice/x", None),
        ({"name": "alice", "orgs": []}, "alice/x", None),
    ],
)
def test_write_refusal(who: dict[str, Any], target: str, said: str | None) -> None:
    refusal = token.write_refusal(who, target)
    assert (refusal is None) == (said is None)
    assert refusal is None or said in refusal[0]


@pytest.mark.parametrize(
    ("variable", "advice"),
    [("JOB_ID", "--secrets HF_TOKEN"), ("CI", "secret of the CI"), ("TERM_PROGRAM", "hf auth login")],
)
def test_missing_token_names_the_fix_of_the_place(monkeypatch: pytest.MonkeyPatch, variable: str, advice: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(exits.Stop) as stop:
        token.require_token("write to a/b")
    assert stop.value.code == 3
    assert "needed to write to a/b" in stop.value.message
    assert advice in stop.value.fix


def test_mistaken_variable_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGGINGFACE_TOKEN", SECRET)
    with pytest.raises(exits.Stop, match="the name that counts is HF_TOKEN") as stop:
        token.require_token("read")
    assert SECRET not in str(stop.value)


@pytest.mark.parametrize("value", ["$HF_TOKEN", f"'{SECRET}'", f"{SECRET} {SECRET}", f"{SECRET}é"])
def test_malformed_token_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HF_TOKEN", value)
    with pytest.raises(exits.Stop) as stop:
        token.find_token()
    assert stop.value.code == 3
    assert SECRET[:8] not in str(stop.value)


def test_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert token.find_token() is None
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert token.require_token("read") == SECRET


def test_failed_exchange_in_ci_is_exit_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_OIDC_RESOURCE", "datasets/alice/x")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(exits.Stop) as stop:
        token.find_token()
    assert stop.value.code == 3
