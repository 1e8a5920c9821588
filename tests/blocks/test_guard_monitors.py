"""`guard_monitors`: a service that fails or does not answer ends its own work, never a training."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from blocks.shared import block

guards = block("guard_monitors")


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


class Monitor:
    """A callback as transformers has them for services."""

    __module__ = "transformers.integrations.integration_utils"

    def __init__(self, failure: Any = None) -> None:
        self.calls, self.failure = list[str](), failure

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.calls.append("begin")
        if self.failure:
            self.failure()

    def on_log(self, *_: Any, **__: Any) -> None:
        self.calls.append("log")


class Own(Monitor):
    __module__ = "script"


def trainer(*callbacks: Any, **config: Any) -> Any:
    args = {"run_name": None, "trackio_static_space_id": None, "trackio_space_id": None, **config}
    model = SimpleNamespace(config=SimpleNamespace(_name_or_path="alice/tiny"))
    handler = SimpleNamespace(callbacks=list(callbacks))
    return SimpleNamespace(args=SimpleNamespace(**args), model=model, callback_handler=handler)


def refuse() -> None:
    raise ConnectionError("the service is away")


def test_what_fails_is_named_and_asked_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    away, well = Monitor(refuse), Monitor()
    failed = guards.guard_monitors(trainer(away, well), {})
    for one in (away, well):
        one.on_train_begin("args")
        one.on_log("args", logs={})
    assert away.calls == ["begin"]
    assert well.calls == ["begin", "log"]
    assert failed == [away]
    assert capsys.readouterr().err == "Monitor: the service is away; training goes on without it\n"


def hang_and_hide_it() -> None:
    """What a client does that catches every failure and tries again, three times here."""
    for _ in range(3):
        try:
            time.sleep(60)
        except TimeoutError:
            continue
    raise ConnectionError("given up")


def test_what_does_not_answer_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = signal.setitimer
    monkeypatch.setattr(signal, "setitimer", lambda which, first, *then: real(which, first / 600, *(0.1 for _ in then)))
    silent = Monitor(hang_and_hide_it)
    failed = guards.guard_monitors(trainer(silent), {})
    began = time.monotonic()
    silent.on_train_begin("args")
    assert time.monotonic() - began < 10
    assert failed == [silent]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_callback_of_the_script_may_end_the_training() -> None:
    own = Own(refuse)
    guards.guard_monitors(trainer(own), {})
    with pytest.raises(ConnectionError):
        own.on_train_begin("args")


def test_trackio_gets_a_name_and_on_a_job_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOB_ID", raising=False)
    here = trainer()
    guards.guard_monitors(here, {"input": "a"})
    assert here.args.run_name.startswith("tiny-")
    assert (here.args.trackio_space_id, here.args.trackio_static_space_id) == (None, False)
    monkeypatch.setenv("JOB_ID", "1")
    job, named = trainer(), trainer(run_name="mine", trackio_space_id="alice/board", trackio_static_space_id="alice/s")
    guards.guard_monitors(job, {"input": "b"})
    guards.guard_monitors(named, {})
    assert job.args.trackio_space_id == "trackio"
    assert job.args.run_name != here.args.run_name
    assert vars(named.args) == {
        "run_name": "mine",
        "trackio_space_id": "alice/board",
        "trackio_static_space_id": "alice/s",
    }
