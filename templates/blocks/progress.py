# block: progress 1
"""How far the work is: a tqdm bar on a terminal, one plain line a minute everywhere else (Job logs), on stderr only.

Promises: stdout is never touched; the line comes each minute even while one step takes longer; the last line says how
many were done; a bar that cannot be drawn (no tqdm) becomes lines.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from .exits import note

if TYPE_CHECKING:
    from tqdm import tqdm

PROGRESS_EVERY_S = 60.0


class Progress:
    """A count up to `total` (None: not known) of things called `what`. Use it as a context manager; threads may add.

    `start` of them were done by an earlier attempt: they count as done, but not for the speed.
    """

    def __init__(self, total: int | None, what: str, *, start: int = 0) -> None:
        self._total, self._what, self._start, self._done = total, what, start, start
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._bar: tqdm | None = None
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._begun = time.monotonic()
        self._bar = _progress_bar(self._total, self._what, self._start) if sys.stderr.isatty() else None
        if self._bar is None:
            note(self.line())
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.close()
            return
        self._ticker.join()
        note(self.line())

    def add(self, count: int = 1) -> None:
        """Count `count` more as done."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.update(count)

    def line(self) -> str:
        """Return where the work stands: `rows: 120 of 500 (24 %), 2.0 a second, about 3 min 10 s left`."""
        done, seconds = self._done, time.monotonic() - self._begun
        speed = (done - self._start) / seconds if seconds > 0 else 0.0
        share = f" of {self._total} ({100 * done // self._total} %)" if self._total else ""
        text = f"{self._what}: {done}{share}"
        if speed > 0:
            text += f", {speed:.1f} a second" if speed >= 0.1 else f", {speed * 3600:.1f} an hour"
            if self._total and done < self._total:
                text += f", about {progress_duration((self._total - done) / speed)} left"
        return text

    def _tick(self) -> None:
        while not self._ended.wait(PROGRESS_EVERY_S):
            note(self.line())


def progress_duration(seconds: float) -> str:
    """Return a span of time in its two largest units: `2 h 5 min`, `3 min 10 s`, `7 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    largest = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    shown = units[largest : largest + 2]
    return " ".join(f"{count} {unit}" for count, unit in shown if count) or "0 s"


def _progress_bar(total: int | None, what: str, start: int) -> tqdm | None:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=start, desc=what, unit="", file=sys.stderr, dynamic_ncols=True)
