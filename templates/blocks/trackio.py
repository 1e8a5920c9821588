# block: trackio 1
"""The figures of a training in Trackio: a project, a run, a Space on Jobs, and nothing that could end the training.

Promises: everything is done in a thread of its own, so a Space that does not answer holds nothing up; a failure becomes
one line and the figures stay local; the same run, started again, goes on in Trackio, and no other one shares its name.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .exits import note, one_line

TRACKIO_CLOSE_S = 60.0
TRACKIO_FAILURES = 5  # in a row: then it is left alone
_TrackioCall = Callable[[Any], object]


def new_run_name(words: str) -> str:
    """Return a name that no other run has. It belongs to the training, not the attempt: keep it in the checkpoints."""
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', words).strip('-')[:60]}-{secrets.token_hex(3)}"


def trackio_space(asked: str | None, user: str | None) -> str | None:
    """Return the Space that shows the figures: the one asked for ("none" for none), on Jobs that of the user, else none."""
    if asked:
        return None if asked == "none" else asked
    return f"{user}/trackio" if user and os.environ.get("JOB_ID") else None


class TrackioRun:
    """One run in Trackio. `log` and `finish` return at once, or after TRACKIO_CLOSE_S seconds at the most."""

    def __init__(self, project: str, name: str, *, space: str | None, private: bool, config: Mapping[str, Any]) -> None:
        self._calls: queue.SimpleQueue[_TrackioCall | None] = queue.SimpleQueue()
        self._failures = 0
        self.where = f"Space {space}" if space else "local"
        self._calls.put(
            lambda trackio: trackio.init(
                project=project,
                name=name,
                space_id=space,
                private=private or None,
                resume="allow",
                config=dict(config),
                embed=False,
            )
        )
        self._thread = threading.Thread(target=self._work, args=(space,), name="trackio", daemon=True)
        self._thread.start()

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Add the figures of one step."""
        self._calls.put(lambda trackio: trackio.log(dict(figures), step=step))

    def finish(self) -> None:
        """End the run; what is not through after TRACKIO_CLOSE_S seconds is left behind."""
        self._calls.put(lambda trackio: trackio.finish())
        self._calls.put(None)
        self._thread.join(TRACKIO_CLOSE_S)
        if self._thread.is_alive():
            note(f"Trackio did not answer for {TRACKIO_CLOSE_S:g} s: its last figures may be missing")

    def _work(self, space: str | None) -> None:
        if space is None:
            os.environ.pop("TRACKIO_SPACE_ID", None)  # it would be taken although it was not asked for
        while (call := self._calls.get()) is not None:
            if self._failures < TRACKIO_FAILURES:
                self._try(call)

    def _try(self, call: _TrackioCall) -> None:
        try:
            import trackio

            call(trackio)
            self._failures = 0
        except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more than its figures
            self._failures += 1
            note(f"Trackio: {one_line(error) or type(error).__name__}; the training goes on")
