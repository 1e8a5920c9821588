"""Block `retry`: what is tried again, after how long, how often."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import close_session, get_session

from jobshelf import blocks

retry, exits = blocks.load("retry"), blocks.load("exits")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were slept, without sleeping."""
    slept: list[float] = []
    # the block's own name alone: threads that earlier tests left behind sleep, too
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=slept.append))
    return slept


def answer(status: int, headers: dict[str, str] | None = None) -> HfHubHTTPError:
    request = httpx2.Request("GET", "http://127.0.0.1/x")
    return HfHubHTTPError("said no", response=httpx2.Response(status, headers=headers, request=request))


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [error] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    return call


@pytest.mark.parametrize(
    "error",
    [answer(500), answer(429), answer(503), httpx2.ConnectError("refused"), ConnectionResetError(), TimeoutError()],
)
def test_transient_errors_are_tried_again(error: Exception, pauses: list[float]) -> None:
    assert retry.retry(failing(4, error), what="reading x") == "done"
    assert pauses == [0.5, 1, 2, 4]


def test_at_most_five_attempts_then_exit_5(pauses: list[float]) -> None:
    with pytest.raises(exits.Stop) as stop:
        retry.retry(failing(5, answer(500)), what="reading x")
    assert stop.value.code == 5
    assert "reading x: the server answered 500" in stop.value.message


@pytest.mark.parametrize("error", [answer(404), answer(401), answer(412), ValueError("no"), FileNotFoundError("x")])
def test_other_errors_pass_at_once(error: Exception, pauses: list[float]) -> None:
    with pytest.raises(type(error)):
        retry.retry(failing(1, error), what="reading x")
    assert pauses == []


def test_retry_after_is_honoured_within_a_bound(pauses: list[float]) -> None:
    retry.retry(failing(1, answer(429, {"Retry-After": "17"})), what="x")
    retry.retry(failing(1, answer(429, {"Retry-After": "99999"})), what="x")
    assert pauses == [17, retry.RETRY_LONGEST_PAUSE_S]


def test_the_cause_counts(pauses: list[float]) -> None:
    error = LocalEntryNotFoundError("not in the cache")
    error.__cause__ = httpx2.ConnectError("refused")
    assert retry.retry(failing(1, error), what="x") == "done"


def test_offline_mode_is_not_tried_again(pauses: list[float]) -> None:
    with pytest.raises(exits.Stop):
        retry.retry(failing(9, OfflineModeIsEnabled("offline")), what="x")
    assert pauses == []


@pytest.mark.timeout(60)
def test_a_server_that_says_nothing_does_not_hold_the_script(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client itself would wait for ever: its calls have no timeout."""
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    close_session()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = HfApi(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", token=False)
        with pytest.raises(exits.Stop, match=r"looking: .*(attempt 5 of 5)") as stop:
            retry.retry(lambda: api.dataset_info("a/b"), what="looking")
    close_session()
    assert stop.value.code == 5
    assert len(pauses) == 4


def test_a_call_with_a_timeout_of_its_own_keeps_it() -> None:
    retry.retry(lambda: "done", what="looking")
    own, none = (
        httpx2.Request("GET", "http://127.0.0.1/x", extensions={"timeout": {"read": read}}) for read in (7, None)
    )
    for hook in get_session().event_hooks["request"]:
        hook(own)
        hook(none)
    assert own.extensions["timeout"]["read"] == 7
    assert none.extensions["timeout"]["read"] == retry.RETRY_SILENCE_S
    close_session()
