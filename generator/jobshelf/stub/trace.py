"""The ordered record of what a script did: one line an event, written as it happens so that a kill loses nothing.

Each line begins with a token that only the recorder knows, so that what a script writes to the pipe is told from what was recorded.
The script shares the process with its recorder: one that digs it up can forge the record. The record judges scripts; what protects
the machine are the fences. `jobshelf.recording` reads it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from jobshelf.recording import MAX_ARGUMENTS, MAX_EVENTS, MAX_NAME, MAX_TEXT, STOPPED

MAX_BYTES = 1 << 19
CHECK = "jobshelf.check"
_exit = os._exit


class Trace:
    """Writes events to a pipe, in order, at most MAX_EVENTS of them; `clean` takes this machine's paths out of texts.

    A run with a canary sets `script`, whose lines the events then have, `on_call`, which is told of every call and what it was given,
    and `on_end`, which is called before the last message.
    """

    def __init__(self, handle: int, token: str, clean: Callable[[str], str]) -> None:
        self._handle = handle
        self._token = token
        self._clean = clean
        self._count = 0
        self._bytes = 0
        self._guessed: set[str] = set()
        self._lock = threading.RLock()
        self._ended = False
        self._checked = False
        self.script: str | None = None
        self.on_call: Callable[[str, tuple[object, ...], dict[str, object]], None] | None = None
        self.on_end: Callable[[], None] | None = None

    def call(self, name: str, /, *arguments: object, **keywords: object) -> None:
        """A stubbed function was called."""
        if self.on_call:
            self.on_call(name, arguments, keywords)
        given = [shown(value) for value in arguments[:MAX_ARGUMENTS]]
        given += [f"{key}={shown(value)}" for key, value in list(keywords.items())[:MAX_ARGUMENTS]]
        self._event("call", name, [self._clean(text)[:MAX_NAME] for text in given])

    def guess(self, name: str) -> None:
        """The script asked a stubbed value for its truth, size or order, and was given an answer that may be wrong."""
        self._count += 1
        if self._count > MAX_EVENTS:
            self.stop(f"it asked stubbed values such as {name} more than {MAX_EVENTS} times")
        if name not in self._guessed:
            self._guessed.add(name)
            self._event("guess", name)

    def touch(self, kind: str, name: str) -> None:
        """The script did something to the machine: `write`, `remove`, `process`, `network`, `signal`, `native` or `evasion`."""
        self._event(kind, self._clean(name))

    def leak(self, where: str, excerpt: str, line: int | None = None) -> None:
        """The canary came out: `where`, in what text, and on which line if not on the one that runs now."""
        self._event("leak", where, [excerpt[:MAX_NAME]], line)

    def line(self) -> int:
        """Return the line of the script that runs now; 0 when it is not known."""
        frame = sys._getframe(1) if self.script else None
        while frame is not None and frame.f_code.co_filename != self.script:
            frame = frame.f_back
        return frame.f_lineno if frame is not None else 0

    def record(self, kind: str, value: object) -> None:
        """Write anything else that the parent reads: the command line, or why it cannot be read."""
        self._send([kind, value])

    def check(self) -> None:
        """The audit hook still answers."""
        self._checked = True

    def end(self, error: str | None = None) -> None:
        """Write the last message, once; what is recorded after it is dropped."""
        with self._lock:
            if not self._ended:
                if self.on_end:
                    self.on_end()
                sys.audit(CHECK)
                if not self._checked:
                    self._event("evasion", "Python's audit hook was switched off")
                self._send(["end", None if error is None else self._clean(error)[:MAX_TEXT]])
                self._ended = True

    def stop(self, reason: str) -> NoReturn:
        """End the process here: the run cannot decide anything."""
        with self._lock:
            if not self._ended:
                self._send(["stop", self._clean(reason)[:MAX_TEXT]])
            _exit(STOPPED)

    def _event(self, kind: str, name: str, arguments: list[str] | None = None, line: int | None = None) -> None:
        self._count += 1
        if self._count > MAX_EVENTS:
            self.stop(f"it did more than {MAX_EVENTS} things that a stub run records")
        place = [self.line() if line is None else line] if self.script else []
        self._send(["event", [kind, name[:MAX_NAME], arguments or [], *place]])

    def _send(self, message: list[object]) -> None:
        data = f"{self._token}{json.dumps(message)}\n".encode()
        with self._lock:
            if self._ended:
                return
            self._bytes += len(data)
            if self._bytes > MAX_BYTES and message[0] not in {"end", "stop"}:
                self.stop(f"a stub run records at most {MAX_BYTES} bytes")
            try:
                while data:
                    data = data[os.write(self._handle, data) :]
            except OSError:  # the script closed what it does not own: without a record there is nothing to judge
                _exit(STOPPED)


def shown(value: object) -> str:
    """Return a short text for a value that is the same in every run (no addresses)."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)[:MAX_NAME]
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return f"<{type(value).__name__} of {len(value)}>"
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))[:MAX_NAME]
    return getattr(value, "stub_name", None) or f"<{type(value).__name__}>"
