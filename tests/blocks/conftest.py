"""Fixtures for the shared functions: a clock that does not wait, and this process logged in to the embedded Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import tenacity
from datasets import disable_progress_bars
from huggingface_hub import HfFileSystem, constants, get_session, set_client_factory
from huggingface_hub.utils import close_session

from blocks.places import gcs, moto, place  # noqa: F401 -- fixtures
from blocks.shared import Stopped
from jobshelf.hub import Hub
from support import TOKEN


@pytest.fixture(autouse=True, scope="session")
def quiet() -> None:
    disable_progress_bars()


@pytest.fixture
def stopped(capsys: pytest.CaptureFixture[str]) -> Stopped:
    return Stopped(capsys)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds between attempts, by a clock that goes on at once."""
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(tenacity, "time", clock)
    monkeypatch.setattr(tenacity.nap, "time", clock)
    return slept


@pytest.fixture(autouse=True)
def own_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what a test does to the Hub's client of this process, which tests of other folders share."""
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "60")  # as `require_write` leaves it
    hooks = list(get_session().event_hooks["request"])
    yield
    set_client_factory(lambda: httpx2.Client(event_hooks={"request": list(hooks)}, follow_redirects=True, timeout=None))


@pytest.fixture
def here(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The embedded Hub, and this process its writer."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", hub.endpoint)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    HfFileSystem.clear_instance_cache()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    close_session()
    yield hub
    close_session()
